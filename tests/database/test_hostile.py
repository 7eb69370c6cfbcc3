"""Attacks over HTTP on every RPC and every table, by all kinds of callers without access."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest

from tests.database.arguments import arguments_of
from tests.database.attacks import ID_KINDS, NOBODYS, OTHER_KINDS, Catalog
from tests.database.metering import reserves, sets
from tests.database.support import Caller, Connection, Http, Refused, new_user, owner, request_id
from tests.database.surface import ANYONE, RPCS, TABLES, USER, Victim
from tests.support import ROOT, Stack, asks_again, key_for, next_arguments, unique

# What an administrator may change or compute about any user. It is left out where one of them attacks.
ADMINISTRATORS = {
    "llm_private.user_groups": "false",
    "llm_private.project_totals": "false",
    "llm_private.quotas": "t.set_by = 'user'",
    "llm_private.quota_counters": "t.quota_id in (select id from llm_private.quotas where set_by = 'user')",
}


@dataclass(frozen=True)
class Scene:
    """A victim with data in every table, and the attackers."""

    http: Http
    owner: Connection
    catalog: Catalog
    user: Caller
    victim: Victim
    attacker: Caller
    runtime: Caller
    other_runtime: Caller
    revoked_runtime: Caller

    def intruders(self) -> dict[str, Caller]:
        """Return the attackers by name; none is the victim or an ordinary administrator."""
        anon, user = self.http.anon, self.attacker
        return {
            "anon": anon,
            "anon with a made-up runtime secret": anon.through("slr_made-up"),
            "runtime without a user": self.runtime,
            "revoked runtime without a user": self.revoked_runtime,
            "administrator's key with a runtime secret": self.http.admin.through(self.runtime.runtime),
            "other user": user,
            "other user with a made-up runtime secret": user.through("slr_made-up"),
            "other user through a runtime": user.through(self.runtime.runtime),
            "other user who claims another session": user.with_claims(session_id=self.user.id),
            "other user who claims to be an administrator": user.with_claims(
                app_metadata={"role": "service_role"}, user_metadata={"sub": self.user.id}
            ),
        }

    def belongings(self, but_administrators: bool = False) -> dict[str, list[str]]:
        """Return all stored rows of the victim, by table."""
        return {
            table: sorted(
                json.dumps(row["whole"])
                for row in self.owner.execute(
                    f"select to_jsonb(t) as whole from {table} as t"
                    f" where ({' or '.join(f'{column} = %s' for column in columns)}) and"
                    f" {ADMINISTRATORS.get(table, 'true') if but_administrators else 'true'}",
                    [getattr(self.victim, it) for it in columns.values()],
                )
            )
            for table, columns in self.catalog.owned().items()
        }

    def strangers(self) -> dict[str, Caller]:
        """Return new callers without access to anything of the victim's, by name."""
        users = [new_user(self.http) for _ in range(3)]
        for user in users:
            user.holds_key("groq", 3)
            user.records()
        return {
            "anon": self.http.anon,
            "anon through the victim's runtime": self.runtime,
            "other user": users[0],
            "other user through the victim's runtime": users[1].through(self.runtime.runtime),
            "other user through another runtime": users[2].through(self.other_runtime.runtime),
        }

    def secrets(self, intruder: Caller, function: str) -> list[str]:
        """Return values that the intruder must not see; administrators may see usage and masked keys."""
        victim = self.victim
        secrets = [VICTIMS_KEY]
        if intruder.role != "service_role" or function not in SHOW_AUDIT_LOGS:
            secrets += [victim.audit_id, VICTIMS_RATE]
        if intruder.role != "service_role":
            shown = VICTIMS_KEY[-4:]
            secrets += [shown, victim.id, victim.key_id, VICTIMS_MODEL, VICTIMS_TEAM, "victims.example"]
        return secrets


#: RPCs that show an administrator a user's entries of the audit log, in which the user's own prices are.
SHOW_AUDIT_LOGS = ("get_llm_audit_log", "list_llm_audit_seals", "list_llm_audit_texts", "get_llm_user")

# Its hint shows four letters that stand in no UUID, time or number.
VICTIMS_KEY = key_for("groq", 1)[:-4] + "wxyz"
# A price that the victim set is private, and so is the model's name. It is new in each project and each run.
VICTIMS_RATE = "4242.125"
VICTIMS_MODEL = f"victims-{uuid.uuid4().hex[:12]}-own-model"
# Only members see the name of a team.
VICTIMS_TEAM = f"The team of {uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def scene(http: Http, stack: Stack) -> Iterator[Scene]:
    user, attacker = new_user(http), new_user(http)
    runtime = http.admin.rpc("register_llm_runtime", p_name=unique("app"))
    other = http.admin.rpc("register_llm_runtime", p_name=unique("other app"))
    revoked = http.admin.rpc("register_llm_runtime", p_name=unique("old app"))
    http.admin.rpc("revoke_llm_runtime", p_id=revoked["id"])
    key = user.rpc("set_llm_key", provider="groq", key=VICTIMS_KEY)
    assert key["hint"].endswith(VICTIMS_KEY[-4:])
    attacker.holds_key("openai", 2)
    user.rpc("set_llm_settings", p_changes={"provider_preferences": {"groq": {"model": VICTIMS_MODEL}}})
    user.rpc("resolve_llm_route", p_task="speed")
    user.once("reveal_llm_key", p_provider="groq")
    quota, event = sets(user, 2), request_id()
    user.records(request_id=event, model=VICTIMS_MODEL, key_id=key["id"])
    user.records(model=VICTIMS_MODEL, key_id=key["id"])
    http.admin.rpc("set_llm_price", p_provider="groq", p_model="everybodys-model", p_rates={"input": 1})
    # Everyone may see this price, but not that it applies to the victim's model.
    since = {"p_valid_from": "2025-01-01T00:00:00Z"}
    http.admin.rpc(
        "set_llm_price",
        p_provider="groq",
        p_model=VICTIMS_MODEL.replace("own-model", "*"),
        p_rates={"request": 1},
        **since,
    )
    assert http.admin.rpc("recalculate_llm_costs", p_batch=10_000)["done"]
    own = user.rpc(
        "set_llm_price",
        p_provider="groq",
        p_model=VICTIMS_MODEL,
        p_rates={"input": float(VICTIMS_RATE)},
    )
    sets(user, 99)
    reserves(user, event, attempt=2)
    belongs_to_a_runtime(user.through(runtime["secret"]))
    user.rpc("begin_llm_key_check", provider="groq")
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 3})
    alert = user.rpc("list_llm_alerts")[0]["id"]
    audit = user.rpc("get_llm_audit_log")[0]["id"]
    http.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="victims")
    team = user.rpc("create_llm_team", p_name=VICTIMS_TEAM)["id"]
    invitation = user.rpc("create_llm_team_invitation", p_team_id=team, p_email="somebody@victims.example")
    user.rpc("verify_llm_audit_log")
    with owner(stack) as connection:
        yield Scene(
            http,
            connection,
            Catalog.read(connection),
            user,
            Victim(
                id=user.id,
                key_id=key["id"],
                request_id=event,
                audit_id=audit,
                price_id=own["id"],
                quota_id=quota["id"],
                alert_id=alert,
                team_id=team,
                invitation_id=invitation["id"],
            ),
            attacker,
            http.anon.through(runtime["secret"]),
            http.anon.through(other["secret"]),
            http.anon.through(revoked["secret"]),
        )


def belongs_to_a_runtime(user: Caller) -> None:
    """Give a user what a runtime runs for them: a lease, a reservation, and usage."""
    user.rpc("resolve_llm_route", p_task="speed", p_request_id=request_id())
    user.records(model=VICTIMS_MODEL)
    reserves(user, request_id())


@pytest.mark.parametrize("function", RPCS)
def test_no_rpc_lets_an_intruder_read_or_change_a_users_data(scene: Scene, function: str) -> None:
    before = scene.belongings(but_administrators=True)
    for name, intruder in scene.intruders().items():
        arguments = dict(RPCS[function].attack(scene.victim))
        sent = json.dumps(arguments)
        # A response may repeat what the intruder sent or recorded.
        known = sent + json.dumps(dict(RPCS["record_llm_usage"].attack(scene.victim)))
        response = scene.http.send(intruder, "POST", f"rpc/{function}", content=sent)
        answer = response.text
        if response.content and asks_again(response.json()):
            again = json.dumps(next_arguments(response.json(), arguments))
            answer += scene.http.send(intruder, "POST", f"rpc/{function}", content=again).text
        assert [it for it in scene.secrets(intruder, function) if it in answer and it not in known] == [], (
            name
        )
        if intruder.role not in RPCS[function].roles:
            assert '"code"' in answer, f"{name} was let in: {answer}"
    assert scene.belongings(but_administrators=True) == before


#: Tables in which the victim has no rows. The totals of a project have hours that are over.
EMPTY = {
    "llm_private.audit_findings",
    "llm_private.suspended_users",
    "llm_private.key_reveals",
    "llm_private.project_totals",
}


def test_the_victim_has_a_row_in_every_table(scene: Scene) -> None:
    """Otherwise a change of that table would go unnoticed."""
    assert {table for table, stored in scene.belongings().items() if not stored} - EMPTY == set()


def test_every_table_names_the_owner_of_its_rows_or_has_none(scene: Scene) -> None:
    """Add a new owner's column to `OWNERS`, and a table of the operator's to `NOBODYS`."""
    assert set(scene.catalog.tables) - set(scene.catalog.owned()) == NOBODYS


def test_every_argument_is_of_a_kind_that_the_attacks_know(scene: Scene) -> None:
    """Add a new type to `ID_KINDS` and to what `attacks` sends, or to `OTHER_KINDS`."""
    unknown = {
        (function, name, kind)
        for function, parameters in scene.catalog.parameters.items()
        for name, kind in parameters.items()
        if kind not in ID_KINDS | OTHER_KINDS
    }
    assert unknown == set()


def test_every_json_argument_has_an_example(scene: Scene) -> None:
    """Attacks replace each value in it. Add a new one to `COMPLETE` in arguments.py."""
    missing = {
        (function, name)
        for function, parameters in scene.catalog.parameters.items()
        for name, kind in parameters.items()
        if kind in ("json", "jsonb")
        and not (arguments_of(function).get(name) if name else arguments_of(function))
    }
    assert missing == set()


@pytest.mark.parametrize("function", [name for name, rpc in RPCS.items() if rpc.roles & (USER | ANYONE)])
def test_no_id_of_another_user_in_any_argument_reads_or_changes_anything(scene: Scene, function: str) -> None:
    """The other functions are for administrators alone, and refuse these callers whatever they send."""
    before = scene.belongings()
    for name, stranger in scene.strangers().items():
        sent = ""
        for arguments in scene.catalog.attacks(function, scene.victim):
            content = json.dumps(arguments)
            sent += content
            response = scene.http.send(stranger, "POST", f"rpc/{function}", content=content)
            answer = response.text
            if response.content and asks_again(response.json()):
                again = json.dumps(next_arguments(response.json(), arguments))
                answer += scene.http.send(stranger, "POST", f"rpc/{function}", content=again).text
            leaked = [it for it in scene.secrets(stranger, function) if it in answer and it not in sent]
            assert leaked == [], (name, arguments)
            assert response.status_code < 500, (name, arguments, answer)
    assert scene.belongings() == before


@pytest.mark.parametrize("function", RPCS)
def test_an_rpc_is_refused_to_undeclared_roles(scene: Scene, function: str) -> None:
    callers = {"anon": scene.http.anon, "authenticated": scene.attacker, "service_role": scene.http.admin}
    for role in callers.keys() - RPCS[function].roles:
        with pytest.raises(Refused) as error:
            callers[role].rpc(function, **RPCS[function].attack(scene.victim))
        assert (error.value.code, error.value.status) == ("42501", 401 if role == "anon" else 403)


@pytest.mark.parametrize("function", [name for name, rpc in RPCS.items() if "authenticated" in rpc.roles])
def test_a_token_without_a_user_reads_no_user_data(scene: Scene, function: str) -> None:
    """The token is signed by the project and has the right role, but names no user."""
    anonymous = scene.attacker.with_claims(sub=None)
    answer = scene.http.send(
        anonymous, "POST", f"rpc/{function}", content=json.dumps(dict(RPCS[function].attack(scene.victim)))
    )
    # Without a user, reads return no rows. The catalog is open to every signed-in caller.
    assert answer.status_code == 401 or answer.text == "[]" or function == "list_llm_providers"


@pytest.mark.parametrize("function", [name for name, rpc in RPCS.items() if "authenticated" in rpc.roles])
def test_a_foreign_or_expired_token_is_refused(scene: Scene, function: str) -> None:
    expired = scene.user.with_claims(exp=int(time.time()) - 3600)
    assert scene.http.send(expired, "POST", f"rpc/{function}", content="{}").status_code == 401
    for algorithm, secret in (("none", None), ("HS256", "another project's secret, of thirty-two bytes")):
        token = jwt.encode(dict(scene.user.claims or {}), secret, algorithm)  # type: ignore[arg-type]
        forged = {"authorization": f"Bearer {token}"}
        assert scene.http.send(scene.http.anon, "POST", f"rpc/{function}", headers=forged).status_code == 401


def select(scene: Scene, caller: Caller, table: str, query: str = "select=*") -> tuple[int, Any]:
    response = scene.http.send(caller, "GET", f"{table}?{query}")
    return response.status_code, response.json()


@pytest.mark.parametrize("table", [table for table, owner in TABLES.items() if owner])
def test_a_user_reads_only_their_own_rows_of_a_table(scene: Scene, table: str) -> None:
    column = TABLES[table]
    aimed = f"{column}=eq.{scene.user.id}"
    assert select(scene, scene.http.anon, table)[0] == 401
    assert select(scene, scene.runtime, table)[0] == 401
    assert select(scene, scene.attacker, table, aimed) == (200, [])
    assert select(scene, scene.attacker.through(scene.runtime.runtime), table, aimed) == (200, [])
    _, own = select(scene, scene.user, table)
    assert own
    assert {row[column] for row in own} == {scene.user.id}
    status, seen = select(scene, scene.http.admin, table, aimed)
    assert status == 200
    # The order of rows is not specified.
    assert sorted(seen, key=str) == sorted(own, key=str)


@pytest.mark.parametrize("table", [table for table, owner in TABLES.items() if owner is None])
def test_every_signed_in_user_can_read_the_catalog(scene: Scene, table: str) -> None:
    assert select(scene, scene.http.anon, table)[0] == 401
    status, lines = select(scene, scene.attacker, table)
    assert status == 200
    assert lines


@pytest.mark.parametrize("table", TABLES)
def test_no_caller_can_write_to_a_table_directly(scene: Scene, table: str) -> None:
    """Not even the rows' owner or an administrator: events and audit entries are append-only."""
    callers = {
        "anon": scene.http.anon,
        "owner": scene.user,
        "other user": scene.attacker,
        "runtime": scene.user.through(scene.runtime.runtime),
        "administrator": scene.http.admin,
    }
    columns = {
        "llm_providers": "id",
        "llm_tasks": "task",
        "llm_usage_adjustments": "attempt",
        "llm_alerts": "kind",
        "user_llm_settings": "default_provider",
    }
    column = columns.get(table, "provider")
    row = json.dumps({column: "7"})
    before = scene.belongings()
    for name, caller in callers.items():
        for method, path in (
            ("POST", table),
            ("PATCH", f"{table}?{column}=neq.7"),
            ("DELETE", f"{table}?{column}=neq.7"),
        ):
            response = scene.http.send(caller, method, path, content=row)
            refusal = (response.status_code, response.json()["code"])
            assert refusal == (401 if name == "anon" else 403, "42501"), (name, method)
    assert scene.belongings() == before


def test_the_private_schema_is_not_exposed_over_http(scene: Scene) -> None:
    for caller in (scene.http.anon, scene.user, scene.http.admin):
        for path in ("key_secrets", "key_owners", "rpc/master_key", "rpc/data_key", "rpc/resolve_route"):
            response = scene.http.send(caller, "GET", path, headers={"accept-profile": "llm_private"})
            assert response.status_code == 406


# PostgreSQL raises the last two for truncating a sequence and for writing to a view of several tables.
REFUSED = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.WrongObjectType,
    psycopg.errors.ObjectNotInPrerequisiteState,
)


def test_api_roles_cannot_reach_private_data_by_sql(stack: Stack, scene: Scene) -> None:
    """Partitions matter most: they hold all users' rows, without the parent's row level security."""
    with owner(stack) as connection:
        relations = [
            row["name"]
            for row in connection.execute(
                "select c.oid::regclass::text as name from pg_class as c "
                "where c.relnamespace = 'llm_private'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')"
            )
        ]
        assert any("llm_usage_events_2" in name for name in relations)
        assert "llm_private.llm_usage_events_default" in relations
        for role in ("anon", "authenticated", "service_role"):
            for statement in ("select * from {}", "truncate {}", "delete from {}"):
                for relation in [
                    *relations,
                    *(f"public.{table}" for table in TABLES),
                    "vault.decrypted_secrets",
                ]:
                    if statement.startswith("select") and relation.startswith("public.") and role != "anon":
                        continue
                    # The service role may always read Vault, but a master key is useless without ciphertext.
                    if relation.startswith("vault.") and role == "service_role":
                        continue
                    with pytest.raises(REFUSED), connection.transaction():  # noqa: PT012 - one savepoint
                        connection.execute("select set_config('role', %s, true)", [role])
                        connection.execute(statement.format(relation))


def test_a_users_request_id_does_not_let_others_record_for_them(scene: Scene) -> None:
    before = scene.belongings()
    attacker = new_user(scene.http)
    assert attacker.records(request_id=scene.victim.request_id, model="cheap", input_tokens=1)
    assert scene.belongings() == before
    _, seen = select(scene, attacker, "llm_usage_events", f"request_id=eq.{scene.victim.request_id}")
    assert [event["model"] for event in seen] == ["cheap"]


# RPCs that return any user's data to an administrator, with arguments that request all of it.
OF_ANY_USER: Mapping[str, Mapping[str, Any]] = {
    "get_llm_usage": {"p_since": "2000-01-01", "p_bucket": None, "p_by": ["key_id"]},
    "list_llm_usage_events": {},
    "list_llm_quotas": {},
    "list_llm_refusals": {},
    "get_llm_audit_log": {},
    "verify_llm_audit_log": {"p_all": True},
}


@pytest.mark.parametrize("function", OF_ANY_USER)
def test_only_administrators_can_read_another_users_data(scene: Scene, function: str) -> None:
    """Other callers get their own data or an error for the victim's id, an unused id and no id."""
    arguments = OF_ANY_USER[function]
    own = new_user(scene.http)
    for user in (own, own.through(scene.runtime.runtime)):
        user.records(model="own-model")
    sets(own, 5)
    own.rpc("record_llm_refusals", p_refusals={"unknown_model": 1})
    for aimed in (scene.user.id, "00000000-0000-0000-0000-000000000000", None):
        for user in (
            own,
            own.through(scene.runtime.runtime),
            own.with_claims(app_metadata={"role": "service_role"}),
        ):
            assert user.rpc(function, **arguments, p_user_id=aimed) == own.rpc(function, **arguments)
        for anonymous in (scene.http.anon, scene.runtime, own.with_claims(sub=None)):
            with pytest.raises(Refused) as error:
                anonymous.rpc(function, **arguments, p_user_id=aimed)
            assert error.value.status == 401
    seen = scene.http.admin.rpc(function, **arguments, p_user_id=scene.user.id)
    assert seen
    assert seen != own.rpc(function, **arguments)


def test_only_administrators_can_group_a_report_by_user(scene: Scene) -> None:
    for user in (scene.attacker, scene.attacker.through(scene.runtime.runtime)):
        with pytest.raises(Refused) as error:
            user.rpc("get_llm_usage", p_by=["user"], p_user_id=scene.user.id)
        assert error.value.code == "invalid_argument"


def test_every_test_that_the_threat_model_names_exists() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text()
    named = re.findall(r"\[(test_\w+\.py)\]\(\.\./([\w/.]+)\)", page)
    assert len(named) > 15
    assert [path for name, path in named if Path(path).name != name or not (ROOT / path).is_file()] == []
