"""A row has the same fields in SQL, in Python and in the panel's TypeScript.

``SHAPES`` names all three for each row. Comparing real rows finds a field that is missing on one side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from psycopg.types.json import Json, Jsonb

from supa_llm.values.alerts import Alert
from supa_llm.values.audit import AuditEntry, AuditProblem, AuditVerification
from supa_llm.values.audit_seals import AuditSeal, AuditSealPage, AuditText
from supa_llm.values.configuration import ConfigurationChange
from supa_llm.values.key_checks import KeyCheck
from supa_llm.values.keys import Key
from supa_llm.values.maintenance import Maintenance
from supa_llm.values.prices import Price, PriceChange
from supa_llm.values.problems import InstalledVersion, Problem
from supa_llm.values.providers import KnownModel, Provider
from supa_llm.values.quotas import Quota
from supa_llm.values.reading import Row
from supa_llm.values.recalculations import Recalculation
from supa_llm.values.refusals import Refusal
from supa_llm.values.requests import RecordedAttempt, RecordedRequest
from supa_llm.values.routes import Candidate, Route, Skipped
from supa_llm.values.runtimes import Runtime, RuntimeSecret
from supa_llm.values.settings import Settings
from supa_llm.values.teams import Team, TeamDetails, TeamInvitation, TeamMember
from supa_llm.values.usage import Forecast, Recording, UsageCheck, UsageEvent, UsageHint, UsageLine
from supa_llm.values.users import FailedAttempt, TeamMembership, User, UserDataRemoval, UserDetails
from supa_llm.values.vault import MasterKey, TicketKey, Vault, VaultRotation
from tests.database.ledger import price
from tests.database.support import Caller, Transaction, new_user
from tests.database.surface import RPCS
from tests.shapes import row_classes
from tests.support import ROOT, unique


@dataclass(frozen=True)
class Scene:
    """A user with at least one row of each kind."""

    tx: Transaction
    user: Caller


@dataclass(frozen=True)
class Shape:
    """One kind of row: its source, its Python class, and its interface in panel/src/types.ts.

    Attributes:
        sql_only: fields that Python ignores on purpose.
        absent: fields that this RPC omits; the class has a default for each.
        never_null: fields that are never null in the panel's requests, though they may be in others.
    """

    row: Callable[[Scene], Mapping[str, Any]]
    python: type[Row] | None
    typescript: str | None
    sql_only: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    never_null: frozenset[str] = frozenset()


def first(function: str, **arguments: Any) -> Callable[[Scene], Mapping[str, Any]]:
    """Return a getter for the first row that an RPC returns to the user."""
    return lambda scene: _only(scene.user.rpc(function, **arguments))


def admins(function: str, **arguments: Any) -> Callable[[Scene], Mapping[str, Any]]:
    return lambda scene: _only(scene.tx.admin.rpc(function, **arguments))


def _only(answer: Any) -> Mapping[str, Any]:
    row = answer[0] if isinstance(answer, list) else answer
    assert isinstance(row, Mapping)
    return row


def explained(scene: Scene) -> Any:
    return scene.user.rpc("explain_llm_route", p_task="speed")


def set_quota(scene: Scene) -> Any:
    limits = {"limit": 5, "unit": "requests", "period": "day", "enforced": True}
    return scene.user.rpc("set_llm_quota", p_quota=limits)


def listed_quota(scene: Scene) -> Any:
    set_quota(scene)
    return scene.user.rpc("list_llm_quotas")[0]


def skipped_for_quota(scene: Scene) -> Any:
    nothing = {"limit": 0, "unit": "requests", "period": "day", "enforced": True}
    scene.user.rpc("set_llm_quota", p_quota=nothing)
    return next(it["quota"] for it in explained(scene)["skipped"] if it["quota"])


def price_change(scene: Scene) -> Any:
    rates = {
        "valid_from": None,
        "valid_until": None,
        "daily_from": None,
        "daily_until": None,
        "service_tier": None,
        "rates": {"input": 1},
    }
    entry = {"name": "new-model", "pattern": "^new-model$", "position": 0, "prices": [rates]}
    return scene.tx.admin.rpc("sync_llm_prices", p_provider="groq", p_entries=Jsonb([entry]))[0]


def of_user(function: str, argument: str = "p_user_id") -> Callable[[Scene], Mapping[str, Any]]:
    def row(scene: Scene) -> Mapping[str, Any]:
        user = scene.user.id if argument == "p_user_id" else [scene.user.id]
        return _only(scene.tx.admin.rpc(function, **{argument: user}))

    return row


def runtime(scene: Scene) -> Any:
    scene.tx.admin.rpc("register_llm_runtime", p_name=unique("app"))
    return scene.tx.admin.rpc("list_llm_runtimes")[0]


def task(scene: Scene) -> Any:
    return scene.tx.sql("select * from public.llm_tasks limit 1")[0]


CURSOR = frozenset({"cursor"})
OWNER = frozenset({"user_id"})
KEY = frozenset({"key"})
# Only administrators see teams that they do not belong to.
OWN_ROLE = frozenset({"role"})
TIMES = frozenset({"created_at", "updated_at"})
RESERVED = frozenset({"max_output_tokens", "reserved_requests", "reserved_until"})
EXPLAINED = RESERVED | {"expires_at", "ticket", "version"}


def problem(scene: Scene) -> Any:
    scene.tx.sql("grant select on llm_private.key_secrets to authenticated")
    return scene.tx.admin.rpc("list_llm_problems")[0]


def team(scene: Scene) -> Any:
    """A team with a policy, and without nulls where there need not be any."""
    made = scene.user.rpc("create_llm_team", p_name="A team")
    return scene.user.rpc("set_llm_team", p_team_id=made["id"], p_changes={"keys_first": "member"})


def member(scene: Scene) -> Any:
    return scene.user.rpc("list_llm_team_members", p_team_id=team(scene)["id"])[0]


def listed_team(scene: Scene) -> Any:
    team(scene)
    return scene.user.rpc("list_llm_teams")[0]


def membership(scene: Scene) -> Any:
    team(scene)
    return of_user("get_llm_user")(scene)["teams"][0]


def invitation(scene: Scene) -> Any:
    return scene.user.rpc("create_llm_team_invitation", p_team_id=team(scene)["id"])


def listed_invitation(scene: Scene) -> Any:
    made = invitation(scene)
    return scene.user.rpc("list_llm_team_invitations", p_team_id=made["team_id"])[0]


def refusal(scene: Scene) -> Any:
    scene.user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 1})
    return scene.user.rpc("list_llm_refusals")[0]


def audit_problem(scene: Scene) -> Any:
    scene.user.rpc("verify_llm_audit_log")
    scene.tx.sql("update public.llm_audit_log set actor = 'x' where user_id = %s", scene.user.id)
    return scene.user.rpc("verify_llm_audit_log")["first_problem"]


def audit_seals(scene: Scene) -> Any:
    scene.user.rpc("verify_llm_audit_log")
    return scene.tx.admin.rpc("list_llm_audit_seals", p_user_id=scene.user.id)


SHAPES: Mapping[str, Shape] = {
    "get_llm_settings": Shape(first("get_llm_settings"), Settings, "Settings"),
    "list_llm_teams": Shape(listed_team, Team, "Team", never_null=OWN_ROLE),
    "get_llm_team": Shape(team, TeamDetails, "TeamDetails", never_null=OWN_ROLE),
    "list_llm_team_members": Shape(member, TeamMember, "TeamMember"),
    "create_llm_team_invitation": Shape(invitation, TeamInvitation, None),
    "list_llm_team_invitations": Shape(
        listed_invitation, TeamInvitation, "TeamInvitation", absent=frozenset({"token"})
    ),
    "list_llm_providers": Shape(first("list_llm_providers"), Provider, "Provider", sql_only=TIMES),
    "list_llm_keys": Shape(first("list_llm_keys"), Key, "Key"),
    "list_llm_models": Shape(first("list_llm_models", p_provider="groq"), KnownModel, "KnownModel"),
    "begin_llm_key_check": Shape(
        first("begin_llm_key_check", provider="groq"), KeyCheck, None, sql_only=frozenset({"key_id"})
    ),
    "resolve_llm_route": Shape(
        first("resolve_llm_route", p_task="speed"),
        Route,
        None,
        absent=RESERVED | {"advice", "skipped"},
    ),
    "record_llm_usage_batch": Shape(
        first("record_llm_usage_batch", p_events=Json([{"request_id": "malformed"}])),
        Recording,
        None,
        sql_only=frozenset({"message"}),
        absent=frozenset({"version"}),
    ),
    "explain_llm_route": Shape(explained, Route, "Route", absent=EXPLAINED),
    "candidates": Shape(lambda scene: explained(scene)["candidates"][0], Candidate, "Candidate", absent=KEY),
    "skipped": Shape(lambda scene: explained(scene)["skipped"][0], Skipped, "Skipped"),
    "quota of skipped": Shape(skipped_for_quota, None, "QuotaFigures"),
    "get_llm_usage": Shape(
        first("get_llm_usage"), UsageLine, "UsageLine", never_null=frozenset({"starts_at"})
    ),
    "list_llm_requests": Shape(first("list_llm_requests"), RecordedRequest, "Receipt"),
    "attempts": Shape(
        lambda scene: scene.user.rpc("list_llm_requests")[0]["attempts"][0],
        RecordedAttempt,
        "ReceiptAttempt",
    ),
    "list_llm_usage_events": Shape(first("list_llm_usage_events"), UsageEvent, None, sql_only=CURSOR),
    "list_llm_refusals": Shape(refusal, Refusal, None),
    "get_llm_forecast": Shape(first("get_llm_forecast"), Forecast, "Forecast"),
    "list_llm_hints": Shape(first("list_llm_hints"), UsageHint, "Hint"),
    "set_llm_quota": Shape(set_quota, Quota, None),
    "list_llm_quotas": Shape(listed_quota, Quota, "Quota"),
    "list_llm_alerts": Shape(first("list_llm_alerts"), Alert, "Alert", sql_only=OWNER),
    "get_llm_audit_log": Shape(first("get_llm_audit_log"), AuditEntry, "AuditEntry", sql_only=OWNER),
    "verify_llm_audit_log": Shape(first("verify_llm_audit_log"), AuditVerification, "AuditVerification"),
    "first_problem": Shape(audit_problem, AuditProblem, "AuditProblem"),
    "list_llm_audit_seals": Shape(audit_seals, AuditSealPage, None),
    "seals": Shape(lambda scene: audit_seals(scene)["seals"][0], AuditSeal, None),
    "list_llm_audit_texts": Shape(of_user("list_llm_audit_texts"), AuditText, None),
    "list_llm_prices": Shape(first("list_llm_prices", p_provider="openai"), Price, None),
    "sync_llm_prices": Shape(price_change, PriceChange, None),
    "recalculate_llm_costs": Shape(admins("recalculate_llm_costs"), Recalculation, None),
    "run_llm_maintenance": Shape(admins("run_llm_maintenance"), Maintenance, None),
    "check_llm_usage": Shape(admins("check_llm_usage"), UsageCheck, None),
    "list_llm_problems": Shape(problem, Problem, None),
    "get_llm_version": Shape(admins("get_llm_version"), InstalledVersion, None),
    "list_llm_users": Shape(of_user("list_llm_users", "p_ids"), User, None),
    "get_llm_user": Shape(of_user("get_llm_user"), UserDetails, None),
    "errors": Shape(lambda scene: of_user("get_llm_user")(scene)["errors"][0], FailedAttempt, None),
    "teams": Shape(membership, TeamMembership, None),
    "remove_llm_user_data": Shape(of_user("remove_llm_user_data"), UserDataRemoval, None),
    "list_llm_runtimes": Shape(runtime, Runtime, None),
    "set_llm_configuration": Shape(
        admins("set_llm_configuration", p_configuration={"format": 1, "settings": {"lease_seconds": 77}}),
        ConfigurationChange,
        None,
    ),
    "register_llm_runtime": Shape(
        admins("register_llm_runtime", p_name=unique("app")),
        RuntimeSecret,
        None,
        absent=frozenset({"previous_until"}),
    ),
    "get_llm_vault": Shape(admins("get_llm_vault"), Vault, None),
    "master_keys": Shape(lambda scene: admins("get_llm_vault")(scene)["master_keys"][0], MasterKey, None),
    "ticket_keys": Shape(lambda scene: admins("get_llm_vault")(scene)["ticket_keys"][0], TicketKey, None),
    "rotate_llm_vault": Shape(admins("rotate_llm_vault"), VaultRotation, None),
    "llm_tasks": Shape(task, None, "Task"),
}

# Each returns the row of an RPC in SHAPES, a scalar, nothing, or an object without a class.
OTHER_RPCS = {
    "create_llm_team",
    "set_llm_team",
    "remove_llm_team",
    "set_llm_team_member",
    "remove_llm_team_member",
    "remove_llm_team_invitation",
    "accept_llm_team_invitation",
    "set_llm_settings",
    "set_llm_key",
    "record_llm_key_check",
    "set_llm_price",
    "end_llm_price",
    "reveal_llm_key",
    "remove_llm_key",
    "list_llm_team_keys",
    "set_llm_team_key",
    "remove_llm_team_key",
    "record_llm_usage",
    "record_llm_refusals",
    "reserve_llm_attempt",
    "release_llm_request",
    "remove_llm_quota",
    "set_llm_user_group",
    "dismiss_llm_alerts",
    "set_llm_provider",
    "get_llm_operator_settings",
    "set_llm_operator_settings",
    "get_llm_configuration",
    "remove_llm_provider",
    "set_llm_user_suspended",
    "explain_llm_user_route",
    "rotate_llm_runtime",
    "revoke_llm_runtime",
    "replace_llm_master_key",
    "rotate_llm_ticket_key",
}
# Interfaces for the panel's requests, for JSON inside a row, and for the endpoint's own response.
NO_ROWS = {"Preference", "Choice", "TaskOverride", "Preferences", "KeyCheck", "Policy"}


@pytest.fixture
def scene(tx: Transaction) -> Scene:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
    user = new_user(tx)
    for provider in ("groq", "openai"):
        user.holds_key(provider)
    key_id = next(key["id"] for key in user.rpc("list_llm_keys") if key["provider"] == "openai")
    price(tx, "gpt-5", "openai", input=8, output=8)
    price(tx, "gpt-5-nano", "openai", input=1, output=1)
    tokens = {"input_tokens": 10**5, "output_tokens": 10, "task": "speed"}
    user.records(provider="openai", model="gpt-5", **tokens)
    user.records(provider="openai", model="gpt-5-nano", **tokens)
    # The rejected key raises an alert and is skipped by the route.
    user.records(provider="openai", key_id=key_id, outcome="failed", error_class="auth", model="gpt-5")
    return Scene(tx, user)


@dataclass(frozen=True)
class Interface:
    """An interface in panel/src/types.ts: its fields, and those that may be null."""

    fields: frozenset[str]
    nullable: frozenset[str]


_INTERFACE = re.compile(r"^export interface (\w+)(?: extends (\w+))? \{\n(.*?)^\}", re.M | re.S)
_FIELD = re.compile(r"^  (\w+)(\??): (.+);$", re.M)


def interfaces() -> dict[str, Interface]:
    found: dict[str, Interface] = {}
    for name, parent, body in _INTERFACE.findall((ROOT / "panel" / "src" / "types.ts").read_text()):
        declared = {field: optional or "| null" in kind for field, optional, kind in _FIELD.findall(body)}
        inherited = found.get(parent, Interface(frozenset(), frozenset()))
        found[name] = Interface(
            inherited.fields | set(declared),
            inherited.nullable | {field for field, nullable in declared.items() if nullable},
        )
    return found


INTERFACES = interfaces()


def columns(shape: type[Row]) -> dict[str, bool]:
    """Return the column name of each field of a class, and whether the field may be None."""
    hints = get_type_hints(shape)
    described: Any = fields(shape)  # type: ignore[arg-type]
    return {it.metadata.get("column", it.name): NoneType in get_args(hints[it.name]) for it in described}


@pytest.mark.parametrize("name", SHAPES)
def test_a_row_has_the_fields_of_its_class_and_interface(scene: Scene, name: str) -> None:
    shape = SHAPES[name]
    row = shape.row(scene)
    nulls = {field for field, value in row.items() if value is None}
    if shape.python is UsageHint:
        assert {"kind", "message"} <= row.keys()
    elif shape.python is not None:
        known = columns(shape.python)
        assert set(row) - set(known) == shape.sql_only
        assert set(known) - set(row) == shape.absent
        assert nulls & set(known) <= {field for field, nullable in known.items() if nullable}
    if shape.python is not None:
        shape.python.from_json(json.loads(json.dumps(row, default=str)))
    if shape.typescript is not None:
        interface = INTERFACES[shape.typescript]
        assert interface.fields <= set(row)
        assert nulls & interface.fields <= interface.nullable


@pytest.mark.parametrize("name", [name for name, it in SHAPES.items() if it.python and it.typescript])
def test_class_and_interface_agree_on_nullable_fields(name: str) -> None:
    shape = SHAPES[name]
    assert shape.python
    assert shape.typescript
    known, interface = columns(shape.python), INTERFACES[shape.typescript]
    both = interface.fields & set(known)
    assert {field for field in both if known[field]} - shape.never_null == interface.nullable & both


@pytest.mark.parametrize(
    ("table", "python", "typescript"),
    [
        ("llm_providers", Provider, "Provider"),
        ("llm_alerts", Alert, "Alert"),
        ("llm_audit_log", AuditEntry, "AuditEntry"),
        ("llm_tasks", None, "Task"),
    ],
)
def test_class_and_interface_allow_null_exactly_for_nullable_columns(
    tx: Transaction, table: str, python: type[Row] | None, typescript: str
) -> None:
    described = tx.sql(
        "select attname, not attnotnull as nullable from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
        f"public.{table}",
    )
    nullable = {it["attname"] for it in described if it["nullable"]}
    interface = INTERFACES[typescript]
    assert interface.nullable == nullable & interface.fields
    if python is not None:
        known = columns(python)
        assert {field for field, optional in known.items() if optional} == nullable & set(known)


def test_every_rpc_class_and_interface_is_listed() -> None:
    rpcs = {name for name in SHAPES if "llm_" in name} - {"llm_tasks"}
    assert rpcs | OTHER_RPCS == set(RPCS)
    assert {it.python for it in SHAPES.values() if it.python} == set(row_classes())
    assert {it.typescript for it in SHAPES.values() if it.typescript} | NO_ROWS == set(INTERFACES)
