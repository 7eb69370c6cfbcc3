"""The limits of what callers can send and store, as in docs/limits.md, and how tests reach each limit.

``python -m tests.database.limits`` prints the tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.database.metering import sets
from tests.database.support import Caller, Transaction, request_id
from tests.support import key_for


@dataclass(frozen=True)
class Size:
    """The most that an argument can hold.

    Attributes:
        functions: the functions whose argument this is. An empty argument is the body.
        unit: what is counted: characters, bytes, kB (in memory), or entries of a list.
    """

    argument: str
    functions: tuple[str, ...]
    most: int
    unit: str
    code: str = "invalid_argument"

    def value(self, size: int) -> Any:
        """Return a value of this size. For kB, a few bytes smaller, because JSON needs some in memory."""
        match self.unit:
            case "characters" if not self.argument:
                return {"provider": "groq", "key": "gsk_".ljust(size, "a")}
            case "characters":
                return "a" * size
            case "bytes" if not self.argument:
                body = {"provider": "groq", "key": "gsk_"}
                return {**body, "key": "gsk_".ljust(size - len(json.dumps(body)) + 4, "a")}
            case "bytes":
                return [{"request_id": "a" * (size - len('[{"request_id": ""}]'))}]
            case "kB":
                return {"a": "a" * (size * 1024 - 64)}
        return _ENTRIES[self.unit](size)

    def row(self) -> str:
        name = f"`{self.argument}`" if self.argument else "the body" + ", key" * (self.unit == "characters")
        functions = ", ".join(f"`{it}`" for it in self.functions)
        return f"| {name} | {functions} | {self.most:,} {self.unit} | `{self.code}` |"


_NEEDS = ("chat", "streaming", "tools", "json_schema", "vision", "embeddings", "chat")
_ENTRIES: dict[str, Callable[[int], list[Any]]] = {
    "capabilities": lambda size: list(_NEEDS[:size]),
    "providers": lambda size: [f"{number:032d}" for number in range(size)],
    "names": lambda size: ["model"] * size,
    "events": lambda size: [{"attempt": 1}] * size,
    "IDs": lambda size: ["0198a000-0000-7000-8000-000000000001"] * size,
}

_ROUTES = ("resolve_llm_route", "explain_llm_route", "explain_llm_user_route")
_RESERVING = ("reserve_llm_attempt", "record_llm_usage")
_OWN_KEY = ("remove_llm_key", "reveal_llm_key", "remove_llm_team_key")
_KEY_BODIES = ("set_llm_key", "set_llm_team_key", "begin_llm_key_check")
_CATALOG = ("list_llm_models", "list_llm_prices", "set_llm_price", "sync_llm_prices", "remove_llm_provider")

SIZES = (
    Size("p_task", (*_ROUTES, *_RESERVING), 64, "characters"),
    Size("p_model", (*_ROUTES, *_RESERVING, "list_llm_prices"), 200, "characters"),
    Size("p_model", ("set_llm_price",), 200, "characters", "invalid_price"),
    Size("p_provider", (*_OWN_KEY, *_RESERVING, *_CATALOG, "get_llm_audit_log"), 32, "characters"),
    Size("p_team", _ROUTES, 36, "characters"),
    Size("p_needs", _ROUTES, 6, "capabilities"),
    Size("p_operator_providers", _ROUTES, 100, "providers"),
    Size("p_service_tier", ("resolve_llm_route", *_RESERVING), 32, "characters"),
    Size("p_service_tier", ("set_llm_price",), 32, "characters", "invalid_price"),
    Size("p_changes", ("set_llm_settings", "explain_llm_route", "set_llm_team"), 64, "kB", "invalid_setting"),
    Size("p_changes", ("set_llm_operator_settings",), 4, "kB"),
    Size("", _KEY_BODIES, 8192, "bytes", "key_malformed"),
    Size("", _KEY_BODIES, 512, "characters", "key_malformed"),
    Size("p_rates", ("set_llm_price",), 16, "kB", "invalid_price"),
    Size("p_quota", ("set_llm_quota",), 4, "kB", "invalid_quota"),
    Size("p_other_tokens", ("record_llm_usage",), 2, "kB"),
    Size("p_events", ("record_llm_usage_batch",), 500, "events"),
    Size("p_events", ("record_llm_usage_batch",), 1_000_000, "bytes"),
    Size("p_dropped", ("record_llm_usage_batch",), 4, "kB"),
    Size("p_refusals", ("record_llm_refusals",), 4, "kB"),
    Size("p_action", ("get_llm_audit_log",), 64, "characters"),
    Size("p_by", ("get_llm_audit_log",), 320, "characters"),
    Size("p_by", ("get_llm_usage",), 10, "names"),
    Size("p_time_zone", ("get_llm_usage",), 64, "characters"),
    Size("p_after", ("list_llm_usage_events",), 120, "characters"),
    Size("p_ids", ("dismiss_llm_alerts", "list_llm_users"), 1000, "IDs"),
    Size("p_configuration", ("set_llm_configuration",), 1024, "kB", "invalid_configuration"),
    Size("p_provider", ("set_llm_provider",), 16, "kB"),
    Size("p_entries", ("sync_llm_prices",), 4096, "kB", "invalid_price_list"),
    Size("p_group", ("set_llm_user_group", "list_llm_users"), 64, "characters"),
    Size("p_search", ("list_llm_users",), 320, "characters"),
    Size("p_reason", ("set_llm_user_suspended",), 200, "characters"),
    Size("p_name", ("register_llm_runtime", "create_llm_team"), 100, "characters"),
    Size("p_email", ("create_llm_team_invitation",), 320, "characters"),
    Size("p_invitation", ("accept_llm_team_invitation",), 100, "characters"),
)

#: Arguments that hold one of a few values, with the code of the error for any other value.
CHOICES = {
    ("create_llm_team_invitation", "p_role"): "invalid_argument",
    ("get_llm_usage", "p_bucket"): "invalid_argument",
    ("get_llm_usage", "p_order"): "invalid_argument",
    ("get_llm_usage", "p_recorded_by"): "invalid_argument",
    ("record_llm_key_check", "p_result"): "invalid_argument",
    ("record_llm_usage", "p_error_class"): "invalid_argument",
    ("record_llm_usage", "p_key_source"): "invalid_argument",
    ("record_llm_usage", "p_outcome"): "invalid_argument",
    ("reserve_llm_attempt", "p_key_source"): "invalid_argument",
    ("set_llm_price", "p_key_source"): "invalid_price",
    ("set_llm_team_member", "p_role"): "invalid_argument",
}


@dataclass(frozen=True)
class Amount:
    """How much a user can do or store.

    Attributes:
        most: the number, by default if an operator setting changes it.
        code: the error beyond it; None if the call succeeds, and `beyond` says what happens instead.
        setting: the operator setting that changes the number.
        do: does it for the nth time.
        stored: if no error tells the limit, how many are stored.
    """

    what: str
    most: int
    code: str | None
    do: Callable[[Caller, int], Any]
    setting: str | None = None
    beyond: str = ""
    stored: Callable[[Transaction, Caller], int] | None = None

    def row(self) -> str:
        error = f"`{self.code}`" if self.code else self.beyond
        who = f"the operator: `{self.setting}`" if self.setting else "nobody"
        return f"| {self.what} | {self.most:,} | {error} | {who} |"


def _changes_settings(user: Caller, number: int) -> Any:
    return user.rpc("set_llm_settings", p_changes={"provider_preferences": {"groq": {"priority": number}}})


def _sets_price(user: Caller, number: int) -> Any:
    return user.rpc("set_llm_price", p_provider="groq", p_model=f"m{number}", p_rates={"input": 1})


def _sets_quota(user: Caller, number: int) -> Any:
    return sets(user, 10, task=f"task {number}")


def _creates_team(user: Caller, number: int) -> Any:
    return user.rpc("create_llm_team", p_name=f"Team {number}")


def _creates_and_removes_team(user: Caller, number: int) -> Any:
    user.rpc("remove_llm_team", p_team_id=_creates_team(user, number)["id"])


def _invites(user: Caller, number: int) -> Any:
    (team, *_) = user.rpc("list_llm_teams") or (_creates_team(user, 0),)
    return user.rpc("create_llm_team_invitation", p_team_id=team["id"])


def _sets_team_quota(user: Caller, number: int) -> Any:
    (team, *_) = user.rpc("list_llm_teams") or (_creates_team(user, 0),)
    return sets(user, 10, task=f"task {number}", team_id=team["id"])


def _checks(user: Caller, number: int) -> Any:
    return user.once("begin_llm_key_check", provider="groq", key=key_for("groq", number))


def _overrides(user: Caller, number: int) -> Any:
    return user.rpc("set_llm_settings", p_changes={"task_overrides": {f"t{number}": {"provider": "groq"}}})


def _reserves(user: Caller, number: int, **changes: Any) -> Any:
    arguments = {
        "p_provider": "groq",
        "p_model": "m",
        "p_key_source": "user",
        "p_attempt": number + 1,
        **changes,
    }
    return user.rpc("reserve_llm_attempt", p_request_id=request_id(), **arguments)


def _falls_back(user: Caller, number: int) -> Any:
    task = {
        "provider": "groq",
        "fallbacks": [{"provider": "groq", "model": f"m{n}"} for n in range(number + 1)],
    }
    return user.rpc("set_llm_settings", p_changes={"task_overrides": {"t": task}})


def _rests(user: Caller, number: int) -> Any:
    (key,) = user.rpc("list_llm_keys") or (user.holds_key("groq"),)
    failed = {"outcome": "failed", "error_class": "rate_limited", "retry_after": 600}
    return user.records(model=f"m{number}", key_id=key["id"], **failed)


def _alerts(user: Caller, number: int) -> Any:
    """Raise an alert, as reaching a quota does."""
    assert isinstance(user.world, Transaction)
    user.world.sql("select llm_private.add_alert(%s, 'quota_reached', %s, '{}')", user.id, f"quota {number}")


AMOUNTS = (
    Amount("Changes of settings in 24 hours", 500, "too_many_changes", _changes_settings, "changes_per_day"),
    Amount(
        "Keys stored in 24 hours",
        500,
        "too_many_changes",
        lambda user, number: user.holds_key("groq", number),
        "changes_per_day",
    ),
    Amount("Own prices set in 24 hours", 500, "too_many_changes", _sets_price, "changes_per_day"),
    Amount("Own quotas set in 24 hours", 500, "too_many_changes", _sets_quota, "changes_per_day"),
    Amount("Current and future own prices", 500, "invalid_price", _sets_price, "own_prices_per_user"),
    Amount("Own quotas", 50, "invalid_quota", _sets_quota),
    Amount("Own teams", 10, "too_many_teams", _creates_team, "teams_per_user"),
    Amount(
        "Teams created in 24 hours", 500, "too_many_changes", _creates_and_removes_team, "changes_per_day"
    ),
    Amount("Open invitations of a team", 100, "too_many_invitations", _invites),
    Amount("Quotas of a team, set by its owners and admins", 50, "invalid_quota", _sets_team_quota),
    Amount("Tasks with an override", 200, "invalid_setting", _overrides),
    Amount("Fallbacks of a task", 20, "invalid_setting", _falls_back),
    Amount(
        "Reveals in an hour",
        5,
        "too_many_reveals",
        lambda user, _: user.rpc("reveal_llm_key", p_provider="groq"),
    ),
    Amount("Key checks in 10 minutes", 10, "too_many_key_checks", _checks),
    Amount(
        "Events of requests of one day (UTC), recorded without a runtime",
        100_000,
        "too_many_events",
        lambda user, _: user.records(),
        "own_events_per_day",
    ),
    Amount(
        "Models in the usage of one day (UTC), per recorder",
        200,
        None,
        lambda user, number: user.records(model=f"m{number}"),
        "usage_names_per_day",
        "recorded as `(other)`",
        lambda tx, user: tx.value(
            "select count(distinct model) from public.llm_usage_totals"
            " where user_id = %s and model <> '(other)'",
            user.id,
        ),
    ),
    Amount(
        "Tasks in the usage of one day (UTC), per recorder",
        200,
        None,
        lambda user, number: user.records(task=f"t{number}"),
        "usage_names_per_day",
        "recorded as `(other)`",
        lambda tx, user: tx.value(
            "select count(distinct task) from public.llm_usage_totals"
            " where user_id = %s and task <> '(other)'",
            user.id,
        ),
    ),
    Amount("Attempts of a request", 1000, "invalid_argument", _reserves),
    Amount(
        "Rate-limited models of a key",
        20,
        None,
        _rests,
        None,
        "those with the longest waits are kept",
        lambda tx, user: len(user.rpc("list_llm_keys")[0]["rate_limited_models"]),
    ),
    Amount(
        "Stored keys of a provider",
        1,
        None,
        lambda user, number: user.holds_key("groq", number),
        None,
        "the new key replaces the old one",
        lambda tx, user: len(user.rpc("list_llm_keys")),
    ),
    Amount(
        "Alerts of one kind in 24 hours",
        100,
        None,
        _alerts,
        None,
        "no further alerts until then",
        lambda tx, user: tx.value("select count(*) from public.llm_alerts where user_id = %s", user.id),
    ),
)

SIZES_HEAD = ("| argument | of | limit | error |", "|---|---|---|---|")
AMOUNTS_HEAD = ("| what | limit per user | beyond it | who can change it |", "|---|---|---|---|")


def tables() -> str:
    """Return the tables of docs/limits.md."""
    sizes = "\n".join([*SIZES_HEAD, *(it.row() for it in SIZES)])
    amounts = "\n".join([*AMOUNTS_HEAD, *(it.row() for it in AMOUNTS)])
    return f"{amounts}\n\n{sizes}"


if __name__ == "__main__":
    print(tables())
