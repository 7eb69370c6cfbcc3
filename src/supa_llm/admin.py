"""The administrator's view of a project: prices and what else is the operator's to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Self, TypeVar

from supa_llm import calls
from supa_llm.arguments import check
from supa_llm.errors import ConfigurationError
from supa_llm.ledger import Price, PriceChange, Rate
from supa_llm.models import KeySource, Provider
from supa_llm.rpc import Database, Project, is_header_value

if TYPE_CHECKING:
    from supa_llm.calls import Call

T = TypeVar("T")


class Admin:
    """What an administrator may do in a Supabase project that has supa-llm, by the project's secret key.

        with Admin(url, secret_key) as admin:
            admin.set_price("openai", "gpt-5*", {"input": 1.1, "output": 9})

    For a server or the command line: the secret key may do anything, so keep it from browsers. All methods
    raise :class:`~supa_llm.errors.SupaLLMError`. One object may be shared between threads.

    Args:
        url: the project's, such as ``https://<ref>.supabase.co``.
        secret_key: its secret key (``sb_secret_…``), or the service_role key of an older project.
        timeout: seconds that one call may take.

    Raises:
        ConfigurationError: the key cannot be one.
    """

    def __init__(self, url: str, secret_key: str, *, timeout: float = 30.0) -> None:
        import httpx

        check(timeout=timeout)
        if not is_header_value(secret_key):
            raise ConfigurationError(
                "The secret key holds a character that no key has.",
                hint="Copy it again from the project's API settings.",
            )
        self._http = httpx.Client(timeout=timeout)
        self._database = Database(Project(f"{url.rstrip('/')}/rest/v1", secret_key), self._http)

    def list_providers(self) -> list[Provider]:
        """The providers that users may choose from, in catalogue order."""
        return self._run(calls.list_providers())

    def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        """The catalogue's and the operator's prices that hold now or later.

            admin.list_prices("openai", "gpt-5-mini")[0].rates

        Args:
            model: only what is for this model; first, and ``in_force``, what the operator's key pays now.
        """
        return self._run(calls.list_prices(provider, model))

    def set_price(
        self,
        provider: str,
        model: str,
        rates: Mapping[str, Rate],
        *,
        valid_from: date | None = None,
        valid_until: date | None = None,
        key_source: KeySource | None = None,
        service_tier: str | None = None,
    ) -> Price:
        """Say what a model costs, before what the catalogue says.

            admin.set_price("openai", "gpt-5*", {"input": 1.1, "output": 9}, key_source="operator")

        Args:
            model: a model name; ``*`` at its end is any ending.
            rates: US dollars per million tokens (see :class:`~supa_llm.Price`); ``{"input": 0, "output": 0}``
                is free.
            valid_from: None is now. A date is midnight UTC; a datetime needs a time zone.
            valid_until: None is open.
            key_source: only for what such keys pay.
            service_tier: only for what the provider served in this tier.

        Raises:
            InvalidInputError: the rates cannot be; the message says what is allowed.
            NotFoundError: no such provider.
        """
        return self._run(
            calls.set_price(
                provider,
                model,
                rates,
                valid_from,
                valid_until,
                key_source=key_source,
                service_tier=service_tier,
            )
        )

    def end_price(self, price_id: int) -> Price:
        """End one of the operator's prices now. What was used until now keeps its cost.

        Raises:
            NotFoundError: the operator has no such price.
        """
        return self._run(calls.end_price(price_id))

    def sync_prices(
        self, provider: str, entries: Sequence[Mapping[str, Any]], *, apply: bool = False
    ) -> list[PriceChange]:
        """What a price list would change in the catalogue's prices of a provider; with ``apply``, change it.

            admin.sync_prices("openai", price_list("openai", base_url).entries)

        Args:
            entries: as :func:`supa_llm.prices.price_list` has them.

        Raises:
            InvalidInputError: an entry cannot be taken; nothing was changed.
        """
        return self._run(calls.sync_prices(provider, entries, apply))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        return self._database.run(call)
