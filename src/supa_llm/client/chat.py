"""A user's requests: chat, streams, embeddings, and the official openai client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from supa_llm.client import dropin
from supa_llm.client.answers import (
    AsyncChatStream,
    ChatAnswer,
    ChatStream,
    Embeddings,
    chat_body,
    embeddings_body,
)
from supa_llm.client.caller import documented_by
from supa_llm.client.dropin import OnReceipt
from supa_llm.engine import AsyncAccount, AsyncEngine, Engine, ModelCall, Retries, SyncAccount, Timeouts

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI


class Chat(ABC):
    """A user's requests."""

    @property
    @abstractmethod
    def _engine(self) -> Engine: ...

    @abstractmethod
    def _account(self, team: UUID | str | None = None) -> SyncAccount:
        """The account of one request."""

    @abstractmethod
    def _timeouts(self, total: float | None, attempt: float | None) -> Timeouts:
        """The timeouts of one request; None is the client's."""

    @property
    @abstractmethod
    def _retries(self) -> Retries: ...

    def chat(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        team: UUID | str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> ChatAnswer:
        """Run a prompt with the user's keys and fallbacks, and return the complete answer.

            answer = llm.chat("What is the capital of France?", task="speed")
            print(answer.text, answer.answered_by.key_source)

        Args:
            prompt: a string, or messages in the OpenAI format.
            task: any string, such as ``speed`` or ``code``; the user may have set a model for it.
            model: the requested model: ``provider/model`` or a bare model.
            team: ID of the team whose policy applies and whose keys may serve; ``"none"`` for no team; None
                is the user's default team.
            tools: tools in the OpenAI format.
            schema: a pydantic model class or a JSON schema that the answer must follow; see ``parsed``.
            max_tokens: most tokens that the answer may have.
            temperature: from 0 (deterministic) to 2 (random).
            timeout: seconds for the whole request; None is the client's ``timeout``.
            attempt_timeout: seconds for one candidate before the next one is tried; None is the client's.
            parameters: any other parameter of OpenAI's chat completions.

        Raises:
            NoCandidateError: no provider can serve the request; the hint says what the user can do.
            BadRequestError: the request is invalid, so it was not sent to another provider.
            TotalTimeoutError: ``timeout`` ran out.
            ProviderError: every candidate failed; ``receipt`` lists the attempts.
            InvalidInputError: an argument is invalid, or its name is mistyped (code ``unknown_argument``).
        """
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        call = ModelCall("chat", body, task, model, self._timeouts(timeout, attempt_timeout), self._retries)
        return ChatAnswer(self._engine.answer(self._account(team), call), schema)

    def stream(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        team: UUID | str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> ChatStream:
        """Stream an answer, with the arguments of :meth:`chat`. Leaving the block early cancels the request.

            with llm.stream("Tell me a story") as story:
                for piece in story:
                    print(piece, end="")
            print(story.answered_by.provider)

        It falls back before the first content, never after. Entering or iterating the stream sends the
        request and raises the errors of :meth:`chat`.

        Raises:
            StreamInterruptedError: the answer broke off while it was iterated.
        """
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        body["stream"] = True
        call = ModelCall("chat", body, task, model, self._timeouts(timeout, attempt_timeout), self._retries)
        return ChatStream(self._engine.items(self._account(team), call), schema)

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        model: str | None = None,
        team: UUID | str | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> Embeddings:
        """Embed texts as vectors.

            vectors = llm.embed(["one", "two"]).vectors

        Vectors of different models cannot be compared: set ``model``, or check ``answered_by.model``.

        Args:
            texts: one string or several.
            task: see :meth:`chat` for this and the other arguments.
            dimensions: length of the vectors, if the model supports it.

        Raises:
            SupaLLMError: the errors of :meth:`chat`.
        """
        body = embeddings_body(texts, dimensions=dimensions, **parameters)
        call = ModelCall(
            "embeddings", body, task, model, self._timeouts(timeout, attempt_timeout), self._retries
        )
        return Embeddings(self._engine.answer(self._account(team), call))

    def openai(
        self,
        *,
        task: str | None = None,
        team: UUID | str | None = None,
        on_receipt: OnReceipt | None = None,
        **options: Any,
    ) -> OpenAI:
        """The official ``openai`` client, running with the user's keys: code that uses it runs unchanged.

            client = llm.openai(task="code")
            client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello"}])

        It serves chat completions, responses, embeddings and models, with streams. ``model="auto"`` leaves
        the model to the route. Errors are those of the openai package.

        Args:
            task: task of the requests; the header ``x-llm-task`` overrides it for one request.
            team: team of the requests, as in :meth:`chat`; the header ``x-llm-team`` overrides it.
            on_receipt: called with the receipt of each request when it ends.
            options: arguments of ``openai.OpenAI``, such as ``timeout`` in seconds and ``max_retries``.

        ``async_openai()`` returns an ``openai.AsyncOpenAI``.

        Raises:
            ConfigurationError: the openai package is not installed (code ``missing_extra``).
        """
        return dropin.openai(
            self._account,
            self._engine,
            timeouts=self._timeouts(None, None),
            retries=self._retries,
            task=task,
            team=team,
            on_receipt=on_receipt,
            **options,
        )


@documented_by(Chat)
class AsyncChat(ABC):
    """The twin of :class:`Chat`."""

    @property
    @abstractmethod
    def _engine(self) -> AsyncEngine: ...

    @abstractmethod
    def _account(self, team: UUID | str | None = None) -> AsyncAccount: ...

    @abstractmethod
    def _timeouts(self, total: float | None, attempt: float | None) -> Timeouts: ...

    @property
    @abstractmethod
    def _retries(self) -> Retries: ...

    async def chat(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        team: UUID | str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> ChatAnswer:
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        call = ModelCall("chat", body, task, model, self._timeouts(timeout, attempt_timeout), self._retries)
        return ChatAnswer(await self._engine.answer(self._account(team), call), schema)

    def stream(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        team: UUID | str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> AsyncChatStream:
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        body["stream"] = True
        call = ModelCall("chat", body, task, model, self._timeouts(timeout, attempt_timeout), self._retries)
        return AsyncChatStream(self._engine.items(self._account(team), call), schema)

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        model: str | None = None,
        team: UUID | str | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> Embeddings:
        body = embeddings_body(texts, dimensions=dimensions, **parameters)
        call = ModelCall(
            "embeddings", body, task, model, self._timeouts(timeout, attempt_timeout), self._retries
        )
        return Embeddings(await self._engine.answer(self._account(team), call))

    def async_openai(
        self,
        *,
        task: str | None = None,
        team: UUID | str | None = None,
        on_receipt: OnReceipt | None = None,
        **options: Any,
    ) -> AsyncOpenAI:
        return dropin.async_openai(
            self._account,
            self._engine,
            timeouts=self._timeouts(None, None),
            retries=self._retries,
            task=task,
            team=team,
            on_receipt=on_receipt,
            **options,
        )
