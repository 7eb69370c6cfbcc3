"""A known key goes through every operation and failure, and must not be on the server's disk afterwards.

The test has its own stack, which logs as PostgreSQL does by default (failed statements, with details) and
tracks the statistics of every statement, including nested ones.
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

from tests.database.malformed import body, malformed_bodies
from tests.database.support import Caller, Http, Refused, logging_project, new_user
from tests.support import wait_until

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
    """The stack, a user with the canary key, and the server's directories."""

    http: Http
    admin: psycopg.Connection[Any]
    user: Caller
    directories: tuple[Path, ...]
    canary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def key(self) -> str:
        return f"gsk_{self.canary}0000"  # The hint shows the last characters.

    def call(self, function: str, /, **arguments: Any) -> None:
        tolerate_refusal(lambda: self.user.rpc(function, **arguments))

    def put(self, content: str | bytes, path: str = "rpc/set_llm_key", **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.send(self.user, "POST", path, content=content, headers=sent)


def tolerate_refusal(call: Callable[[], Any]) -> None:
    refusal = ""
    try:
        call()
    except Refused as error:
        refusal = error.raw
    assert "gsk_" not in refusal


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("canary")
    with logging_project(directory, LOGGING) as (http, admin):
        data = admin.execute("show data_directory").fetchone()
        assert data is not None
        yield Scene(http, admin, new_user(http), (Path(data[0]).parent, directory))


def send_malformed(scene: Scene) -> None:
    for content in malformed_bodies(scene.canary).values():
        assert scene.put(content).is_error


def send_in_other_ways(scene: Scene) -> None:
    """Send the key as a form, as text, in the URL, to a table, to another schema, and without access."""
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


def run_the_life_cycle_of_a_key(scene: Scene) -> None:
    """Set, replace, use, reveal, reject and remove the key."""
    first = scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    second = scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    assert first["id"] != second["id"]
    assert scene.user.rpc("resolve_llm_route")["candidates"][0]["key"] == scene.key
    assert scene.user.rpc("reveal_llm_key", p_provider="groq")["key"] == scene.key
    for outcome in ({}, {"outcome": "failed", "error_class": "auth"}):
        scene.user.records(key_id=second["id"], **outcome)
    for function in ("list_llm_keys", "get_llm_settings", "explain_llm_route", "get_llm_audit_log"):
        assert scene.canary not in json.dumps(scene.user.rpc(function))
    scene.user.rpc("remove_llm_key", p_provider="groq")


def request_a_cast(scene: Scene) -> None:
    """PostgREST casts a result on request, and PostgreSQL's error prints a value that it cannot cast.

    A first response holds no key. Users who cast a second response print their own key.
    """
    scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    for path, arguments in (
        ("rpc/reveal_llm_key?select=pgrst_scalar::int", {"p_provider": "groq"}),
        ("rpc/resolve_llm_route?select=pgrst_scalar:pgrst_scalar->>again::int", {}),
        ("rpc/begin_llm_key_check?select=pgrst_scalar::uuid", {"provider": "groq"}),
    ):
        answer = scene.http.send(scene.user, "POST", path, content=json.dumps(arguments))
        assert answer.is_client_error, answer.text


def break_the_cipher(scene: Scene) -> None:
    scene.user.rpc("set_llm_key", provider="groq", key=scene.key)
    thief = new_user(scene.http)
    thief.holds_key("groq")
    scene.admin.execute(
        "update llm_private.key_secrets as t set ciphertext = s.ciphertext from llm_private.key_secrets as s "
        "where t.owner_id = %s and s.owner_id = %s",
        [thief.id, scene.user.id],
    )
    tolerate_refusal(lambda: thief.rpc("reveal_llm_key", p_provider="groq"))
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
    assert scene.user.rpc("reveal_llm_key", p_provider="groq")["key"] == scene.key


def fail_half_way(scene: Scene) -> None:
    """Let the call wait for a lock, which is logged; view it as an administrator; then cancel it."""
    waiting = "from pg_stat_activity where wait_event_type = 'Lock'"
    with scene.http.stack.connect() as blocker, ThreadPoolExecutor(1) as pool, blocker.transaction():
        blocker.execute("select from llm_private.key_owners where id = %s for update", [scene.user.id])
        answer = pool.submit(lambda: scene.put(body(scene.key)))
        wait_until(lambda: scene.admin.execute(f"select {waiting}").fetchall())
        wait_until(lambda: any("still waiting" in log for log in logs(scene)))
        seen = scene.admin.execute("select pg_stat_activity::text from pg_stat_activity").fetchall()
        assert scene.canary not in repr(seen)
        scene.admin.execute(f"select pg_cancel_backend(pid) {waiting}")
        assert answer.result().status_code >= 500
    # The error detail of a violated constraint prints the row.
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
    """Return the tables and statistics views that contain this text."""
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
    """Return the server's files, including the WAL and service logs, that contain one of these."""
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
    """Return the text as is, in UTF-16, in hex as PostgreSQL prints bytes, and in base64 at each offset."""
    plain = text.encode()
    in_base64 = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, text.encode("utf-16-le"), plain.hex().encode(), *in_base64]


def test_no_operation_leaves_a_readable_key_on_the_server(scene: Scene) -> None:
    scene.user.rpc("get_llm_settings")
    send_malformed(scene)
    send_in_other_ways(scene)
    paste_into_the_wrong_field(scene)
    run_the_life_cycle_of_a_key(scene)
    request_a_cast(scene)
    break_the_cipher(scene)
    (data_key,) = scene.admin.execute("select llm_private.data_key(%s)", [scene.user.id]).fetchone() or ("",)
    fail_half_way(scene)

    # Prove that the search works: it must find a decoy in tables, statistics, logs and the WAL.
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

    # The master key and the user's data key, in base64 and as raw bytes.
    (master,) = scene.admin.execute(
        "select d.decrypted_secret from llm_private.master_keys as m "
        "inner join vault.decrypted_secrets as d on d.id = m.vault_secret_id"
    ).fetchone() or ("",)
    hidden = [*encodings(scene.canary)]
    for secret in (master, data_key):
        assert len(base64.b64decode(secret)) == 32
        hidden += [secret.encode(), base64.b64decode(secret)]
        assert found_in_tables(scene, secret) == []
    assert found_in_tables(scene, scene.canary) == []
    assert found_on_disk(scene, *hidden) == []


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({}, []),
        ({"log_statement": "all"}, ["log_statement"]),
        ({"log_statement": "mod"}, []),
        ({"log_min_duration_statement": "250"}, ["log_min_duration_statement"]),
        ({"log_min_duration_sample": "250"}, ["log_min_duration_sample"]),
        ({"log_transaction_sample_rate": "0.1"}, ["log_transaction_sample_rate"]),
        ({"log_statement": "all", "log_parameter_max_length": "0"}, []),
        ({"log_parameter_max_length_on_error": "-1"}, ["log_parameter_max_length_on_error"]),
        ({"auto_explain.log_min_duration": "1s"}, ["auto_explain.log_min_duration"]),
        ({"auto_explain.log_min_duration": "1s", "auto_explain.log_parameter_max_length": "0"}, []),
        ({"pgaudit.log": "all"}, []),
        ({"pgaudit.log": "all", "pgaudit.log_parameter": "on"}, ["pgaudit.log_parameter"]),
    ],
    ids=str,
)
def test_a_log_that_would_contain_keys_is_reported(
    scene: Scene, settings: dict[str, str], reported: list[str]
) -> None:
    with scene.admin.transaction(force_rollback=True):
        for name, value in settings.items():
            scene.admin.execute(f"set local {name} = '{value}'")
        found = scene.admin.execute("select code, subject from llm_private.logging_problems()").fetchall()
    assert found == [("keys_logged", f"setting {name}") for name in reported]
