"""A user's settings: provider preferences, tasks, fallbacks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import settings
from supa_llm.values.arguments import check
from supa_llm.values.settings import Settings


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return self.value


#: The default of arguments whose None resets the setting.
UNSET: Final = Unset.UNSET


class UserSettings(Caller):
    """A user's settings."""

    @abstractmethod
    def _settings(self) -> Settings:
        """The settings, from the cache if it has them."""

    def get_settings(self) -> Settings:
        """The user's settings, cached for ``settings_ttl`` seconds. The first call creates them.

            llm.get_settings().default_provider

        A change through the same :class:`SupaLLM` shows at once, any other change when the cache expires.
        """
        return self._settings()

    def set_settings(
        self,
        *,
        default_provider: str | Unset | None = UNSET,
        enable_fallbacks: bool | Unset = UNSET,
        allow_operator_keys: bool | Unset | None = UNSET,
        time_zone: str | Unset = UNSET,
        default_team: UUID | str | Unset | None = UNSET,
        provider_preferences: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        task_overrides: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        expected_version: int | None = None,
    ) -> Settings:
        """Change the given settings and keep the others; None resets a setting to its default.

        ``provider_preferences`` is merged by provider and field, ``task_overrides`` by task.

            llm.set_settings(default_provider="groq", provider_preferences={"openai": {"enabled": False}})

        Args:
            time_zone: time zone in which the user's days and months begin, such as ``Europe/Berlin``.
            default_team: the ID of the team of requests that name none; None: no team.
            expected_version: refuse the change if the settings have another version.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and the allowed values.
            ConflictError: the settings are not at ``expected_version``.
        """
        changes = given(
            default_provider=default_provider,
            enable_fallbacks=enable_fallbacks,
            allow_operator_keys=allow_operator_keys,
            time_zone=time_zone,
            default_team=str(default_team) if isinstance(default_team, UUID) else default_team,
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
        """Set whether a provider may be used, its priority (lower comes first) and its model.

            llm.set_preference("groq", priority=1, model="llama-3.1-8b-instant")

        Raises:
            InvalidInputError: the provider does not exist, or a value is not allowed.
        """
        changes = _preference_change(provider, given(enabled=enabled, priority=priority, model=model))
        return self._change(settings.set_settings(changes))

    def set_task(
        self, task: str, provider: str, model: str | None = None, fallbacks: Sequence[str] | None = None
    ) -> Settings:
        """Set the provider and model of a task.

            llm.set_task("code", "anthropic", "claude-sonnet-4-5", fallbacks=["openai/gpt-5", "groq"])

        Args:
            model: None is the provider's model for this task.
            fallbacks: alternatives in order, each ``provider`` or ``provider/model``. ``[]`` allows none;
                None allows the user's other providers in their usual order.

        Raises:
            InvalidInputError: the provider does not exist, or a value is not allowed.
        """
        return self._change(settings.set_settings(_task_change(task, provider, model, fallbacks)))

    def remove_task(self, task: str) -> Settings:
        """Reset a task to the default route."""
        return self._change(settings.set_settings({"task_overrides": {task: None}}))


@documented_by(UserSettings)
class AsyncUserSettings(AsyncCaller):
    """The twin of :class:`UserSettings`."""

    @abstractmethod
    async def _settings(self) -> Settings: ...

    async def get_settings(self) -> Settings:
        return await self._settings()

    async def set_settings(
        self,
        *,
        default_provider: str | Unset | None = UNSET,
        enable_fallbacks: bool | Unset = UNSET,
        allow_operator_keys: bool | Unset | None = UNSET,
        time_zone: str | Unset = UNSET,
        default_team: UUID | str | Unset | None = UNSET,
        provider_preferences: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        task_overrides: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        expected_version: int | None = None,
    ) -> Settings:
        changes = given(
            default_provider=default_provider,
            enable_fallbacks=enable_fallbacks,
            allow_operator_keys=allow_operator_keys,
            time_zone=time_zone,
            default_team=str(default_team) if isinstance(default_team, UUID) else default_team,
            provider_preferences=provider_preferences,
            task_overrides=task_overrides,
        )
        return await self._change(settings.set_settings(changes, expected_version))

    async def set_preference(
        self,
        provider: str,
        *,
        enabled: bool | Unset | None = UNSET,
        priority: int | Unset | None = UNSET,
        model: str | Unset | None = UNSET,
    ) -> Settings:
        changes = _preference_change(provider, given(enabled=enabled, priority=priority, model=model))
        return await self._change(settings.set_settings(changes))

    async def set_task(
        self, task: str, provider: str, model: str | None = None, fallbacks: Sequence[str] | None = None
    ) -> Settings:
        return await self._change(settings.set_settings(_task_change(task, provider, model, fallbacks)))

    async def remove_task(self, task: str) -> Settings:
        return await self._change(settings.set_settings({"task_overrides": {task: None}}))


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that the caller passed."""
    return {name: value for name, value in arguments.items() if value is not UNSET}


def _preference_change(provider: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    check(provider=provider)
    return {"provider_preferences": {provider: fields}}


def _task_change(
    task: str, provider: str, model: str | None, fallbacks: Sequence[str] | None
) -> dict[str, Any]:
    check(task=task, provider=provider, model=model, fallbacks=fallbacks)
    override: dict[str, Any] = {"provider": provider, "model": model}
    if fallbacks is not None:
        override["fallbacks"] = [_fallback(name) for name in fallbacks]
    return {"task_overrides": {task: override}}


def _fallback(name: str) -> dict[str, str | None]:
    provider, _, model = name.partition("/")
    return {"provider": provider, "model": model or None}
