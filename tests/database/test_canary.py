"""A known key is put through everything that can happen to one, and is then nowhere on the server's disk.

On a stack of its own, which logs as PostgreSQL does by default (a statement that fails is logged, with
details) and counts every statement, nested ones too.
"""

from __future__ import annotations

import base64
import json
import mmap
import secrets
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from supa_llm.local import LocalStack
from tests.database.malformed import body, malformed_bodies
from tests.database.support import Caller, Http, Refused, new_user
from tests.support import ROOT, Stack, wait_until

LOGGING = {
    "log_min_error_statement": "error",
    "log_error_verbosity": "default",
    "log_lock_waits": "on",
    "deadlock_timeout": "100ms",
    "pg_stat_statements.track": "all",
    "full_page_writes": "on",
}


@dataclass
class Scene:
    """The stack, who knows the canary, and what the server must not know of it."""

    http: Http
    admin: psycopg.Connection[Any]
    user: Caller
    directories: tuple[Path, ...]
    canary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def key(self) -> str:
        return f"gsk_{self.canary}0000"  # whose last characters are its hint

    def call(self, function: str, /, **arguments: Any) -> None:
        with_or_without_success(lambda: self.user.rpc(function, **arguments))

    def put(self, content: str | bytes, path: str = "rpc/set_llm_key", **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.send(self.user, "POST", path, content=content, headers=sent)


def with_or_without_success(call: Callable[[], Any]) -> None:
    refusal = ""
    try:
        call()
    except Refused as error:
        refusal = error.raw
    assert "gsk_" not in refusal


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("canary")
    local = LocalStack(directory, project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        stack = Stack.from_env(local.env())
        assert stack.jwt_secret is not None
        http = Http(stack, stack.jwt_secret)
        with http.client, psycopg.connect(local.superuser_url, autocommit=True) as admin:
            for name, value in LOGGING.items():
                admin.execute(f"alter system set {name} = '{value}'")
            admin.execute("select pg_reload_conf()")
            wait_until(lambda: admin.execute("show log_min_error_statement").fetchone() == ("error",))
            data = admin.execute("show data_directory").fetchone()
            assert data is not None
            yield Scene(http, admin, new_user(http), (Path(data[0]).parent, directory))
    finally:
        local.destroy()


def send_malformed(scene: Scene) -> None:
    for content in malformed_bodies(scene.canary).values():
        assert scene.put(content).is_error


def send_in_other_ways(scene: Scene) -> None:
    """As a form, as text, in the address, to a table, to other functions, to none."""
    good, form = body(scene.key), urllib.parse.urlencode({"provider": "groq", "key": scene.key})
    for content_type in ("text/plain", "text/csv", "application/octet-stream", "text/xml", "image/png"):
        scene.put(good, content_type=content_type)
    scene.put(form, content_type="application/x-www-form-urlencoded")
    scene.put(good, prefer="params=multiple-objects")
    scene.put(f"provider,key\ngroq,{scene.key}", content_type="text/csv")
    scene.put(good, "llm_keys")
    scene.put(good, "rpc/set_key", content_profile="llm_private")
    scene.put(good, f"rpc/set_llm_key?{form}")
    scene.http.send(scene.user, "GET", f"rpc/set_llm_key?{form}")
    scene.http.send(scene.user, "GET", f"llm_keys?provider=eq.{scene.key}")
    for caller in (
        scene.http.anon,
        scene.http.admin,
        scene.user.with_claims(exp=1),
        scene.user.through(scene.key),
    ):
        assert scene.http.send(caller, "POST", "rpc/set_llm_key", content=good).is_error


def paste_into_the_wrong_field(scene: Scene) -> None:
    key = scene.key
    scene.call("reveal_llm_key", p_provider=key)
    scene.call("remove_llm_key", p_provider=key)
    scene.call("resolve_llm_route", p_model=key)
    scene.call("explain_llm_route", p_needs=[key])
    wrong: list[dict[str, Any]] = [
        {"default_provider": key},
        {key: True},
        {"provider_preferences": {key: {}}},
        {"provider_preferences": {"groq": {key: 1}}},
        {"provider_preferences": {"groq": {"priority": key}}},
        {"task_overrides": {"speed": {"provider": key}}},
    ]
    for changes in wrong:
        scene.call("set_llm_settings", p_changes=changes)


def live_a_full_life(scene: Scene) -> None:
    """Set, read, used, rejected, replaced, revealed, revoked."""
    first = scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    second = scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    assert first["id"] != second["id"]
    assert scene.user.rpc("resolve_llm_route")["candidates"][0]["key"] == scene.key
    assert scene.user.rpc("reveal_llm_key", p_provider="groq") == scene.key
    for outcome in ({}, {"outcome": "failed", "error_class": "auth"}):
        scene.user.records(key_id=second["id"], **outcome)
    for function in ("list_llm_keys", "get_llm_settings", "explain_llm_route", "get_llm_audit_log"):
        assert scene.canary not in json.dumps(scene.user.rpc(function))
    scene.user.rpc("remove_llm_key", p_provider="groq")


def ask_for_a_cast(scene: Scene) -> None:
    """PostgREST casts a result where it is asked to, and PostgreSQL prints what it cannot cast."""
    scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    of_route = "pgrst_scalar:pgrst_scalar->candidates->0->>key::int"
    for path, arguments in (
        ("rpc/reveal_llm_key?select=pgrst_scalar::int", {"p_provider": "groq"}),
        ("rpc/reveal_llm_key?select=pgrst_scalar:pgrst_scalar::uuid", {"p_provider": "groq"}),
        (f"rpc/resolve_llm_route?select={of_route}", {}),
    ):
        answer = scene.http.send(scene.user, "POST", path, content=json.dumps(arguments))
        assert answer.json()["details"] == "invalid_argument", answer.text


def break_the_cipher(scene: Scene) -> None:
    scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    thief = new_user(scene.http)
    thief.holds_key("groq")
    scene.admin.execute(
        "update llm_private.key_secrets as t set ciphertext = s.ciphertext from llm_private.key_secrets as s "
        "where t.user_id = %s and s.user_id = %s",
        [thief.id, scene.user.id],
    )
    with_or_without_success(lambda: thief.rpc("reveal_llm_key", p_provider="groq"))
    entry = "select vault_secret_id from llm_private.master_keys"
    scene.admin.execute(f"create table public.entry as {entry}")
    other = "select vault.create_secret('another key', 'another')"
    scene.admin.execute(f"update llm_private.master_keys set vault_secret_id = ({other})")
    scene.call("reveal_llm_key", p_provider="groq")
    scene.call("resolve_llm_route")
    scene.admin.execute("update llm_private.master_keys set vault_secret_id = gen_random_uuid()")
    scene.call("reveal_llm_key", p_provider="groq")
    scene.call("set_llm_key", provider="groq", key=scene.key)
    restored = "select vault_secret_id from public.entry"
    scene.admin.execute(f"update llm_private.master_keys set vault_secret_id = ({restored})")
    assert scene.user.rpc("reveal_llm_key", p_provider="groq") == scene.key


def fail_half_way(scene: Scene) -> None:
    """The call waits for a lock, which is logged, is looked at by administrators, and is then cancelled."""
    waiting = "from pg_stat_activity where wait_event_type = 'Lock'"
    with scene.http.stack.connect() as blocker, ThreadPoolExecutor(1) as pool, blocker.transaction():
        blocker.execute("select from public.user_llm_settings where user_id = %s for update", [scene.user.id])
        answer = pool.submit(lambda: scene.put(body(scene.key)))
        wait_until(lambda: scene.admin.execute(f"select {waiting}").fetchall())
        wait_until(lambda: any("still waiting" in log for log in logs(scene)))
        seen = scene.admin.execute("select pg_stat_activity::text from pg_stat_activity").fetchall()
        assert scene.canary not in repr(seen)
        scene.admin.execute(f"select pg_cancel_backend(pid) {waiting}")
        assert answer.result().status_code >= 500
    # A violated constraint, whose detail prints the row.
    scene.admin.execute("alter table public.llm_keys add constraint none check (false) not valid")
    scene.admin.execute(
        "alter table llm_private.key_secrets add constraint none check (ciphertext is null) not valid"
    )
    assert scene.put(body(scene.key)).is_error
    scene.admin.execute("alter table public.llm_keys drop constraint none")
    assert scene.put(body(scene.key)).is_error
    scene.admin.execute("alter table llm_private.key_secrets drop constraint none")
    scene.http.delete_user(scene.user)
    assert scene.put(body(scene.key)).status_code == 401


def logs(scene: Scene) -> list[str]:
    return [path.read_text(errors="replace") for path in scene.directories[1].rglob("*.log")]


def found_in_tables(scene: Scene, text: str) -> list[str]:
    """The tables and statistics that hold this text."""
    relations = scene.admin.execute(
        "select oid::regclass::text from pg_class where relkind in ('r', 'p', 'm') "
        "union all select unnest(array['pg_stat_activity', 'extensions.pg_stat_statements', 'pg_stats', "
        "'pg_prepared_statements', 'pg_settings'])"
    ).fetchall()
    assert len(relations) > 60
    return [
        relation
        for (relation,) in relations
        if scene.admin.execute(
            f"select exists (select from {relation} as t where t::text like '%%' || %s || '%%')", [text]
        ).fetchone()
        == (True,)
    ]


def found_on_disk(scene: Scene, *needles: bytes) -> list[Path]:
    """The files of the server's, write-ahead log and service logs included, that hold one of these."""
    paths = {path for directory in scene.directories for path in directory.rglob("*") if path.is_file()}
    assert any("pg_wal" in path.parts for path in paths)
    assert any(path.suffix == ".log" for path in paths)
    found = []
    for path in sorted(paths):
        if path.stat().st_size == 0:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if any(content.find(needle) >= 0 for needle in needles):
                found.append(path)
    return found


def encodings(text: str) -> list[bytes]:
    """As it is, as UTF-16, as PostgreSQL prints bytes, and in base64 wherever it begins."""
    plain = text.encode()
    in_base64 = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, text.encode("utf-16-le"), plain.hex().encode(), *in_base64]


def test_a_key_is_nowhere_on_the_server_whatever_happened_to_it(scene: Scene) -> None:
    scene.user.rpc("get_llm_settings")
    send_malformed(scene)
    send_in_other_ways(scene)
    paste_into_the_wrong_field(scene)
    live_a_full_life(scene)
    ask_for_a_cast(scene)
    break_the_cipher(scene)
    fail_half_way(scene)

    # A search that finds nothing must be shown to find: tables, statistics, logs and the WAL hold this one.
    decoy = secrets.token_hex(16)
    scene.admin.execute(f"create table public.decoy as select '{decoy}'::text as \"{decoy}\"")
    with pytest.raises(psycopg.Error):
        scene.admin.execute(f"select '{decoy}'::integer")
    scene.admin.execute("analyze")
    scene.admin.execute("checkpoint")
    assert {"decoy", "extensions.pg_stat_statements"} <= set(found_in_tables(scene, decoy))
    decoys = found_on_disk(scene, decoy.encode())
    assert any("pg_wal" in path.parts for path in decoys)
    assert any("base" in path.parts for path in decoys)
    assert any(path.suffix == ".log" for path in decoys)

    # The master key, as it is and as the bytes that it stands for.
    (master,) = scene.admin.execute(
        "select d.decrypted_secret from llm_private.master_keys as m "
        "inner join vault.decrypted_secrets as d on d.id = m.vault_secret_id"
    ).fetchone() or ("",)
    assert len(base64.b64decode(master)) == 32
    hidden = [*encodings(scene.canary), master.encode(), base64.b64decode(master)]

    assert found_in_tables(scene, scene.canary) == found_in_tables(scene, master) == []
    assert found_on_disk(scene, *hidden) == []
