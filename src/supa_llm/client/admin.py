"""The administrator's view of a project: prices and what else is the operator's to say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from uuid import UUID

import httpx

from supa_llm.database import alerts, maintenance, operator, prices, providers, quotas, recalculations, usage
from supa_llm.database.transport import Database, Project, is_header_value
from supa_llm.errors import ConfigurationError
from supa_llm.values.alerts import Alert
from supa_llm.values.arguments import check
from supa_llm.values.maintenance import Maintenance
from supa_llm.values.prices import Price, PriceChange, Rate
from supa_llm.values.providers import Provider
from supa_llm.values.quotas import Quota, QuotaPeriod, QuotaUnit
from supa_llm.values.recalculations import Recalculation
from supa_llm.values.receipts import KeySource
from supa_llm.values.usage import Bucket, Dimension, Order, UsageCheck, UsageEvent, UsageLine

if TYPE_CHECKING:
    from supa_llm.database.call import Call

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
        ConfigurationError: the URL, or the key, cannot be one.
    """

    def __init__(self, url: str, secret_key: str, *, timeout: float = 30.0) -> None:
        check(timeout=timeout)
        if not re.match(r"https?://[^/\s]", url):
            raise ConfigurationError(
                "The URL of the project is not one.",
                hint="Such as https://<ref>.supabase.co, with its https://.",
            )
        if not is_header_value(secret_key):
            raise ConfigurationError(
                "The secret key holds a character that no key has.",
                hint="Copy it again from the project's API settings.",
            )
        self._http = httpx.Client(timeout=timeout)
        self._database = Database(Project(f"{url.rstrip('/')}/rest/v1", secret_key), self._http)

    def list_providers(self) -> list[Provider]:
        """The providers that users may choose from, in catalogue order."""
        return self._run(providers.list_providers())

    def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        """The catalogue's and the operator's prices that hold now or later.

            admin.list_prices("openai", "gpt-5-mini")[0].rates

        Args:
            model: only what is for this model; first, and ``in_force``, what the operator's key pays now.
        """
        return self._run(prices.list_prices(provider, model))

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
            prices.set_price(
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
        return self._run(prices.end_price(price_id))

    def sync_prices(
        self, provider: str, entries: Sequence[Mapping[str, Any]], *, apply: bool = False
    ) -> list[PriceChange]:
        """What a price list would change in the catalogue's prices of a provider; with ``apply``, change it.

            admin.sync_prices("openai", price_list("openai", base_url).entries)

        Args:
            entries: as :func:`supa_llm.client.price_lists.price_list` has them.

        Raises:
            InvalidInputError: an entry cannot be taken; nothing was changed.
        """
        return self._run(prices.sync_prices(provider, entries, apply))

    def list_quotas(self, user_id: UUID | None = None) -> list[Quota]:
        """All quotas as they were set; for one user those that bind them, with what is used of each.

        admin.list_quotas(user_id)
        """
        return self._run(quotas.list_quotas(user_id))

    def set_quota(
        self,
        limit: Decimal | float,
        unit: QuotaUnit,
        period: QuotaPeriod,
        *,
        user_id: UUID | None = None,
        group: str | None = None,
        shared: bool = False,
        provider: str | None = None,
        key_source: KeySource | None = None,
        task: str | None = None,
        enforced: bool = True,
        clock: Literal["utc", "user"] = "utc",
        unpriced: Literal["allow", "refuse"] = "refuse",
    ) -> Quota:
        """Set a quota for one user, for a group or for everybody, or change the one that counts the same.

            admin.set_quota(5, "cost", "month", key_source="operator")               # for each user
            admin.set_quota(500, "cost", "month", key_source="operator", shared=True)  # for all together

        Of quotas that differ only in whom they bind the closest holds: a user's, their group's, everybody's.

        Args:
            shared: all whom it binds use it up together.
            limit: and the other arguments: see :meth:`UserLLM.set_quota`.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and what is.
        """
        return self._run(
            quotas.set_quota(
                {
                    "limit": limit,
                    "unit": unit,
                    "period": period,
                    "user_id": str(user_id) if user_id else None,
                    "group": group,
                    "shared": shared,
                    "provider": provider,
                    "key_source": key_source,
                    "task": task,
                    "enforced": enforced,
                    "clock": clock,
                    "unpriced": unpriced,
                }
            )
        )

    def remove_quota(self, quota_id: int) -> None:
        """Remove one of the operator's quotas.

        Raises:
            NotFoundError: the operator set none with this id.
        """
        self._run(quotas.remove_quota(quota_id))

    def set_user_group(self, user_id: UUID, group: str | None) -> None:
        """Put a user into a group that quotas can be set for, or with None into none.

        admin.set_user_group(user_id, "students")
        """
        self._run(quotas.set_user_group(user_id, group))

    def get_operator_settings(self) -> Mapping[str, Any]:
        """The operator's switches, as set_llm_operator_settings() takes them."""
        return self._run(operator.get_operator_settings())

    def set_operator_settings(self, **changes: Any) -> Mapping[str, Any]:
        """Change the operator's switches that are named, and return all.

            admin.set_operator_settings(operator_keys_by_default=False)

        Raises:
            InvalidInputError: no such switch, or a value that is not allowed.
        """
        return self._run(operator.set_operator_settings(changes))

    def get_usage(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        bucket: Bucket | None = "day",
        by: Sequence[Dimension] = ("provider", "model", "task", "key_source"),
        time_zone: str | None = None,
        order: Order | None = None,
        limit: int | None = None,
    ) -> list[UsageLine]:
        """What all users together used and what it cost; as :meth:`UserLLM.usage`, and ``by`` user too.

            dearest = admin.get_usage(bucket=None, by=["user"], order="cost", limit=10)

        Args:
            time_zone: None is UTC.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and what is.
        """
        return self._run(
            usage.get_usage(
                since,
                until,
                bucket=bucket,
                by=by,
                time_zone=time_zone,
                order=order,
                limit=limit,
                project=True,
            )
        )

    def list_usage_events(self, since: date | None = None, until: date | None = None) -> Iterator[UsageEvent]:
        """Every recorded attempt of all users, by user and then the oldest first, read page by page.

            export_events(admin.list_usage_events(since=date(2027, 1, 1)), "usage.parquet")

        Args:
            since: None is the first one. A date is midnight UTC; a datetime needs a time zone.
            until: and no longer at that moment; None is now.
        """
        until = until or datetime.now(UTC)
        page = self._run(usage.list_events(since, until, project=True))
        while page.events:
            yield from page.events
            page = self._run(usage.list_events(since, until, page.cursor, project=True))

    def check_usage(self, since: date | None = None, until: date | None = None) -> UsageCheck:
        """Hold the totals against the events that they sum; of a large project, a few days at a time.

            assert admin.check_usage(since=date(2027, 1, 1)).differing == 0

        Args:
            since: first day (UTC); None is the first that there are events of.
            until: last day; None is today.
        """
        return self._run(usage.check_usage(since, until))

    def recalculate_costs(
        self, since: date | None = None, until: date | None = None
    ) -> Iterator[Recalculation]:
        """Work out recorded costs again at the prices known now, and yield how far it is, batch by batch.

            for state in admin.recalculate_costs(since=date(2027, 1, 1)):
                print(f"{state.events} of {state.expected}, {state.changed} changed")

        You can stop at any time and continue with the same call. Running it again changes nothing.
        An event that had a price never loses it.

        Args:
            since: requests that began from then on; None is all. A date is midnight UTC.
            until: and before then; None is now.
        """
        state = self._run(recalculations.recalculate_costs(since, until))
        yield state
        while not state.done:
            state = self._run(recalculations.recalculate_costs(since, until, state.id))
            yield state

    def run_maintenance(self) -> Maintenance:
        """Some seconds of what is to be done now and then, until ``done``: see ``run_llm_maintenance()``.

        while not admin.run_maintenance().done: ...
        """
        return self._run(maintenance.run_maintenance())

    def list_alerts(
        self, *, unread_only: bool = True, limit: int = 50, before: UUID | None = None
    ) -> list[Alert]:
        """What the operator should know, such as a model without a price; each once, the newest first.

            for alert in admin.list_alerts():
                print(alert.kind, alert.detail)

        Args:
            limit: alerts at most, and 500 whatever is asked for.
            before: id of the last alert of the page before.
        """
        return self._run(alerts.list_alerts(unread_only, limit, before))

    def dismiss_alerts(self, ids: Sequence[UUID] | None = None) -> int:
        """Mark these alerts as read, or all; returns how many were unread.

        admin.dismiss_alerts([alert.id])
        """
        return self._run(alerts.dismiss_alerts(ids))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        return self._database.run(call)
