"""One user's LLM settings, and requests with that user's keys. async_client.py has its twin for asyncio.

Every method is little more than one line over calls.py (the database) or the engine (the providers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from supa_llm.client import dropin
from supa_llm.client.answers import ChatAnswer, ChatStream, Embeddings, chat_body, embeddings_body
from supa_llm.client.dropin import OnReceipt
from supa_llm.client.resources import Core
from supa_llm.client.routes import UserPolicy
from supa_llm.client.session import Identity
from supa_llm.client.settings import UNSET, Unset, given, preference_change, task_change
from supa_llm.client.spending import Spending
from supa_llm.client.usage import Reports
from supa_llm.database import audit, keys, providers, routes, settings
from supa_llm.database.call import Call
from supa_llm.values.audit import AuditEntry
from supa_llm.values.keys import Key
from supa_llm.values.providers import KnownModel, Provider
from supa_llm.values.routes import Candidate, Route
from supa_llm.values.settings import Settings

if TYPE_CHECKING:
    from openai import OpenAI


T = TypeVar("T")


class UserLLM(Reports, Spending):
    """One user's LLM settings and requests; :meth:`SupaLLM.for_user` makes it. Nothing to be closed.

    All methods raise :class:`~supa_llm.errors.SupaLLMError`: ``NotSignedInError`` when the access token has
    expired, ``DatabaseUnavailableError`` when the Supabase project does not answer within its timeout.
    """

    def __init__(self, core: Core, identify: Callable[[], Identity]) -> None:
        self._shared = core
        self._identify = identify

    # Settings ----------------------------------------------------------------------------------------------

    def get_settings(self) -> Settings:
        """The user's settings, made at the first call; kept for ``settings_ttl`` seconds.

        A change through the same :class:`SupaLLM` is seen at once, one made elsewhere when they are read
        again.

            llm.get_settings().default_provider
        """
        return self._core.settings(self._user())

    def set_settings(
        self,
        *,
        default_provider: str | Unset | None = UNSET,
        enable_fallbacks: bool | Unset = UNSET,
        allow_operator_keys: bool | Unset | None = UNSET,
        time_zone: str | Unset = UNSET,
        provider_preferences: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        task_overrides: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        expected_version: int | None = None,
    ) -> Settings:
        """Change what is given and leave the rest as it is; None resets.

        ``provider_preferences`` is merged by provider and field, ``task_overrides`` by task.

            llm.set_settings(default_provider="groq", provider_preferences={"openai": {"enabled": False}})

        Args:
            time_zone: such as ``Europe/Berlin``: when the user's days and months begin.
            expected_version: refuse the change if the settings are at another version by now.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and what is.
            ConflictError: the settings are not at ``expected_version``.
        """
        changes = given(
            default_provider=default_provider,
            enable_fallbacks=enable_fallbacks,
            allow_operator_keys=allow_operator_keys,
            time_zone=time_zone,
            provider_preferences=provider_preferences,
            task_overrides=task_overrides,
        )
        return self._change(settings.set_settings(changes, expected_version))

    def set_preference(
        self,
        provider: str,
        *,
        enabled: bool | Unset | None = UNSET,
        priority: int | Unset | None = UNSET,
        model: str | Unset | None = UNSET,
    ) -> Settings:
        """Say whether a provider may be used, how early (lower ``priority`` first) and with which model.

            llm.set_preference("groq", priority=1, model="llama-3.1-8b-instant")

        Raises:
            InvalidInputError: no such provider, or a value is not allowed.
        """
        changes = preference_change(provider, given(enabled=enabled, priority=priority, model=model))
        return self._change(settings.set_settings(changes))

    def set_task(
        self, task: str, provider: str, model: str | None = None, fallbacks: Sequence[str] | None = None
    ) -> Settings:
        """Say who serves a task.

            llm.set_task("code", "anthropic", "claude-sonnet-4-5", fallbacks=["openai/gpt-5", "groq"])

        Args:
            model: None is the provider's model for this task.
            fallbacks: what else may serve it, each ``provider`` or ``provider/model``; ``[]`` is nothing
                else, None the user's other providers as usual.

        Raises:
            InvalidInputError: no such provider, or a value is not allowed.
        """
        return self._change(settings.set_settings(task_change(task, provider, model, fallbacks)))

    def remove_task(self, task: str) -> Settings:
        """Let a task be served as any other again."""
        return self._change(settings.set_settings({"task_overrides": {task: None}}))

    def list_providers(self) -> list[Provider]:
        """The providers that a user may choose from, in catalogue order."""
        return self._read(providers.list_providers())

    def list_models(self, provider: str) -> list[KnownModel]:
        """The models of a provider that are known by name, with prices; others may be named all the same.

            for known in llm.list_models("groq"):
                print(known.model, known.input_price)

        Raises:
            NotFoundError: no such provider.
        """
        return self._read(providers.list_models(provider))

    # Keys --------------------------------------------------------------------------------------------------

    def list_keys(self) -> list[Key]:
        """What one may know of the user's keys: provider, hint, status; never a key."""
        return self._read(keys.list_keys())

    def set_key(self, provider: str, key: str) -> Key:
        """Store the user's key for a provider, encrypted, in place of the one that is there.

            llm.set_key("openai", "sk-…").hint

        Raises:
            InvalidInputError: the key does not look like one of this provider's.
            NotFoundError: no such provider.
        """
        return self._change(keys.set_key(provider, key))

    def remove_key(self, provider: str) -> None:
        """Delete the user's key for a provider.

        Raises:
            NotFoundError: there is none.
        """
        self._change(keys.remove_key(provider))

    def reveal_key(self, provider: str) -> str:
        """The user's own key in plain text; each call is on the audit log.

        Raises:
            ForbiddenError: the operator has switched this off, or wants a more recent sign-in.
            NotFoundError: there is none.
        """
        return self._read(keys.reveal_key(provider))

    # What happened -----------------------------------------------------------------------------------------

    def get_audit_log(self, limit: int = 50, before: UUID | None = None) -> list[AuditEntry]:
        """What was done to the user's settings and keys, and who held the keys; the newest first.

        Args:
            limit: entries at most.
            before: id of the last entry of the page before.
        """
        return self._read(audit.get_audit_log(limit, before))

    # The route ---------------------------------------------------------------------------------------------

    def best_provider(self, task: str | None = None) -> Candidate:
        """Provider and model that a request for this task would go to first, without running it.

            llm.best_provider("speed").provider

        Raises:
            NoCandidateError: nothing can serve it; it says what the user can do.
        """
        return self._core.first_candidate(self.explain_route(task))

    def explain_route(
        self,
        task: str | None = None,
        *,
        model: str | None = None,
        needs: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
    ) -> Route:
        """The route that a request would take, with reasons, what was left out, and advice if it is empty.

            for candidate in llm.explain_route("code").candidates:
                print(candidate.provider, candidate.model, candidate.reason)

        Args:
            model: ``provider/model`` or a bare model, to ask for it.
            needs: of ``chat``, ``streaming``, ``tools``, ``json_schema``, ``vision``, ``embeddings``.
            changes: what :meth:`set_settings` might change: the route is as it would be after that.

        Raises:
            InvalidInputError: nobody is known to have that model, or a change is not allowed.
        """
        return self._read(
            routes.explain_route(task, model, needs, self._core.operator_keys.providers, changes)
        )

    # Requests -----------------------------------------------------------------------------------------------

    def chat(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> ChatAnswer:
        """Run a prompt with this user's keys, falling back as they allow, and wait for the answer.

            answer = llm.chat("What is the capital of France?", task="speed")
            print(answer.text, answer.answered_by.key_source)

        Args:
            prompt: a text, or messages in the OpenAI format.
            task: what it is for (``speed``, ``code``, any string); the user may have chosen a model for it.
            model: ``provider/model`` or a bare model, to ask for it.
            tools: tools in the OpenAI format.
            schema: what the answer must look like: a pydantic model class or a JSON schema; see ``parsed``.
            max_tokens: most tokens of the answer.
            temperature: 0 (steady) to 2 (wild).
            timeout: seconds until a provider must have answered; None is the client's ``timeout``.
            attempt_timeout: seconds for one candidate, after which the next is tried; None is the client's.
            parameters: any other parameter of OpenAI's chat completions.

        Raises:
            NoCandidateError: no provider can serve it; the hint says what this user can do.
            BadRequestError: the provider refused the request itself, so it was sent nowhere else.
            TotalTimeoutError: ``timeout`` ran out.
            ProviderError: all candidates failed; ``receipt`` says how.
            InvalidInputError: an argument is wrong.
        """
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        timeouts = self._core.timeouts(timeout, attempt_timeout)
        return self._core.engine.chat(
            self._policy(), body, task=task, model=model, timeouts=timeouts, schema=schema
        )

    def stream(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> ChatStream:
        """The same as :meth:`chat`, piece by piece. Leaving the block early cancels the request.

            with llm.stream("Tell me a story") as story:
                for piece in story:
                    print(piece, end="")
            print(story.answered_by.provider)

        It falls back before the first content, never after. The request is sent on entering (or iterating),
        and raises there what :meth:`chat` raises.

        Raises:
            StreamInterruptedError: while iterating: the answer broke off.
        """
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        timeouts = self._core.timeouts(timeout, attempt_timeout)
        return self._core.engine.stream(
            self._policy(), body, task=task, model=model, timeouts=timeouts, schema=schema
        )

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> Embeddings:
        """Vectors of texts.

            vectors = llm.embed(["one", "two"]).vectors

        Vectors of different models do not compare: name the model, or look at ``answered_by.model``.

        Args:
            texts: one text or several.
            task: as in :meth:`chat`, and so are the other arguments.
            dimensions: length of the vectors, where the model can choose.

        Raises:
            SupaLLMError: what :meth:`chat` raises.
        """
        body = embeddings_body(texts, dimensions=dimensions, **parameters)
        timeouts = self._core.timeouts(timeout, attempt_timeout)
        return self._core.engine.embed(self._policy(), body, task=task, model=model, timeouts=timeouts)

    def openai(
        self, *, task: str | None = None, on_receipt: OnReceipt | None = None, **options: Any
    ) -> OpenAI:
        """The official ``openai`` client, running with this user's keys: code that takes one works unchanged.

            client = llm.openai(task="code")
            client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello"}])

        Chat completions (streams too), embeddings and the list of models are served. ``model="auto"`` leaves
        the model to the route. Errors are those of the openai package.

        Args:
            task: what the requests are for; the header ``x-llm-task`` names another for one request.
            on_receipt: called with the receipt of each request when it has ended.
            options: anything else that ``openai.OpenAI`` takes, such as ``timeout`` in seconds.

        :class:`AsyncSupaLLM` has ``async_openai()``, which makes an ``openai.AsyncOpenAI``.

        Raises:
            ConfigurationError: the openai package is not installed.
        """
        return dropin.openai(self._policy, self._core.engine, task=task, on_receipt=on_receipt, **options)

    @property
    def _core(self) -> Core:
        """What is shared, for a call: every one of a closed client's ends here."""
        self._shared.require_open()
        return self._shared

    def _user(self) -> Identity:
        self._shared.require_open()
        return self._identify()

    def _policy(self) -> UserPolicy:
        return self._core.policy(self._user)

    def _read(self, call: Call[T]) -> T:
        return self._core.run(call, self._user())

    def _change(self, call: Call[T]) -> T:
        return self._core.change(call, self._user())
