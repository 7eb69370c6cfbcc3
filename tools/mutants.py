"""Weaken the policies one at a time, and check that supabase/tests catches each change.

    python -m tools.mutants          try all mutants, and write the list of them into docs/policies.md
    python -m tools.mutants TEXT     try those whose name contains TEXT, and print who catches them

A mutant is a small change to the database that loses one guard: a policy is dropped, a grant is widened, a
function no longer checks whose rows it reads. Each is made in a savepoint that is rolled back.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from supa_llm.local import LocalStack
from supa_llm.local.policies import policy_tests, prepared, run_file

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "policies.md"

Connection = psycopg.Connection[Any]

_ROLES = ("public", "anon", "authenticated", "service_role")
_TABLE_PRIVILEGES = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
_OURS = "in ('public'::regnamespace, 'llm_private'::regnamespace)"

#: What a function may lose: what it does then, the code of the guard, and what replaces it.
_GUARDS: Sequence[tuple[str, str, str]] = (
    (
        "serves every owner's rows",
        r"\b(?:\w+\.)?(?:user_id|owner|owner_id) = "
        r"(?:[pv]_(?:user|owner)(?:_id)?|p_(?:key|price)\.(?:user|owner)_id)\b(?!\.)",
        "true",
    ),
    (
        "does not require a user",
        r"llm_private\.require_user\(\)",
        "coalesce(llm_private.user_id(), llm_private.operator_id())",
    ),
    ("accepts an ended session", r"llm_private\.require_session\(\)", "llm_private.user_id()"),
    ("takes everyone for the operator", r"llm_private\.acting_owner\(\)", "llm_private.operator_id()"),
    ("takes everyone for the operator", r"v_owner = llm_private\.operator_id\(\)", "true"),
    (
        "takes everyone for a runtime",
        r"llm_private\.current_runtime\([^()]*\)",
        "(select r.id from llm_private.runtimes as r order by r.id desc limit 1)",
    ),
    ("serves every holder", r"\b\w+\.holder = (?:[pv]_holder|p_attempt\.recorder)\b", "true"),
    ("serves every runtime", r"c\.runtime_id is not distinct from v_runtime", "true"),
    (
        "does not wait for the commit",
        r"\b\w+\.granted_in is distinct from pg_current_xact_id_if_assigned\(\)",
        "true",
    ),
    (
        "does not wait for the commit",
        r"\b\w+\.granted_in is not distinct from pg_current_xact_id_if_assigned\(\)",
        "false",
    ),
    ("accepts an ended secret", r"(?<!\.)\b(?:revoked_at is null|previous_until > now\(\))", "true"),
    ("accepts a deleted account", r"u\.deleted_at is null", "true"),
    ("ignores the expiry", r"\b[rl]\.expires_at > now\(\)", "true"),
    (
        "does not refuse",
        r"perform llm_private\.(?:"
        r"fail\((?:401|403|404), [^\n]*\);"
        r"|fail\(\s*(?:401|403|404), '(?!unknown_provider).*?\n\s*\);"
        r"|(?:require_readable_keys|check_reveal|check_step_up|require_runtime)\([^;]*\);"
        r"|(?:refuse_user|require_user|current_runtime)\(\);)",
        "null;",
    ),
)

_KEY_ID = "The id of a key is unique, and was found among the caller's keys."
_FOREIGN_KEY = "The foreign key to auth.users refuses the row, with the same error."
_SPEED = "The condition only saves time; the result is the same."
_RESERVED = "take_reserved() checks the user and the holder again."
_BATCH = "The deletion checks the owner again."
_AT_ONCE = "It is for an account that is deleted at the same moment."
_ADMINISTRATORS = "Only administrators may call it, and they may act on every row."

#: Mutants that change nothing that a caller can observe, each with the reason.
EQUIVALENT: dict[str, str] = {
    "begin_reserving serves every holder": _RESERVED,
    "begin_reserving serves every owner's rows": _RESERVED,
    "charge serves every owner's rows": _SPEED,
    "change_settings does not refuse": _AT_ONCE,
    "check_own_events serves every owner's rows": "Only users themselves record as their own recorder.",
    "confirmed_email accepts a deleted account": "Its callers have refused a deleted account.",
    "delete_key serves every owner's rows": _KEY_ID,
    "ensure_settings does not refuse": _AT_ONCE,
    "explain_route does not require a user": _FOREIGN_KEY,
    "forget_counters serves every owner's rows": "A counter is made again from the recorded usage.",
    "get_settings does not require a user": _FOREIGN_KEY,
    "grant_reveal serves every owner's rows": _KEY_ID,
    "has_price_patterns serves every owner's rows": _SPEED,
    "has_quotas serves every owner's rows": _SPEED,
    "has_reservation serves every holder": _RESERVED,
    "keyed_route serves every owner's rows": _KEY_ID,
    "lease_keys serves every owner's rows": _KEY_ID,
    "recalculate_costs does not refuse": _ADMINISTRATORS,
    "lock_runtime does not refuse": _ADMINISTRATORS,
    "record_key_check (2) serves every owner's rows": _KEY_ID,
    "record_key_check (3) serves every owner's rows": _KEY_ID,
    "record_key_check (4) serves every owner's rows": _KEY_ID,
    "recover_key serves every owner's rows": _KEY_ID,
    "release serves every holder": _RESERVED,
    "release serves every owner's rows": _RESERVED,
    "remove_user_data (1) serves every owner's rows": _BATCH,
    "remove_user_data (3) serves every owner's rows": _BATCH,
    "remove_user_data (4) serves every owner's rows": "The id of an entry is unique.",
    "reveal_key serves every owner's rows": _KEY_ID,
    "rotate_runtime does not refuse": _ADMINISTRATORS,
    "set_key does not require a user": _FOREIGN_KEY,
    "set_settings does not require a user": _FOREIGN_KEY,
    "settle serves every holder": _RESERVED,
    "settle serves every owner's rows": _RESERVED,
    "stored_key serves every owner's rows": _KEY_ID,
}


@dataclass(frozen=True)
class Mutant:
    """A change that loses one guard of `subject`: a table, a grant or a function."""

    kind: str
    subject: str
    change: str
    statement: str

    @property
    def name(self) -> str:
        return f"{self.subject} {self.change}"


def mutants(connection: Connection) -> list[Mutant]:
    """Every mutant of the database's policies, grants and functions."""
    return [
        *_policies(connection),
        *_tables(connection),
        *_grants(connection),
        *_guards(connection),
    ]


def _policies(connection: Connection) -> Iterator[Mutant]:
    found = connection.execute(
        "select tablename, format('%I.%I', schemaname, tablename), quote_ident(policyname), qual"
        f" from pg_policies where schemaname::regnamespace {_OURS} and tablename like '%llm%'"
        # The helpers' own policies only give them access.
        " and not roles @> '{llm_definer}' order by 1"
    )
    for name, table, policy, condition in found.fetchall():
        yield Mutant("policy", name, "loses its policy", f"drop policy {policy} on {table}")
        if condition != "true":
            statement = f"alter policy {policy} on {table} using (true)"
            yield Mutant("policy", name, "has a policy that admits every row", statement)


def _tables(connection: Connection) -> Iterator[Mutant]:
    for table, kind in _relations(connection):
        if kind in "rp":
            statement = f"alter table {table} disable row level security"
            yield Mutant("row level security", table, "loses row level security", statement)


def _relations(connection: Connection) -> list[tuple[str, str]]:
    # Months are left out, because their names change; add_month_partition() treats all of them alike.
    return connection.execute(
        f"select oid::regclass::text, relkind::text from pg_class where relnamespace {_OURS}"
        r" and relkind in ('r', 'p', 'v', 'S') and relname !~ '_\d{4}_\d\d$' order by 1"
    ).fetchall()


def _grants(connection: Connection) -> Iterator[Mutant]:
    yield from _table_grants(connection)
    for role in _ROLES:
        statement = f"grant create on schema llm_private to {role}"
        yield Mutant("grant on the schema", "llm_private", f"lets {role} create", statement)
    functions = connection.execute(
        f"""
        select p.proname, p.oid::regprocedure::text, r.role
        from pg_proc as p
        cross join unnest(%s::text[]) with ordinality as r (role, place)
        where p.pronamespace {_OURS} and not exists (
          select from aclexplode(p.proacl) as a where a.grantee::regrole::text = r.role
        )
        -- Helpers have no grants at all, so that one role stands for all.
        and (p.pronamespace = 'public'::regnamespace or p.prosecdef or r.role = 'public')
        order by p.proname, r.place
        """,
        [list(_ROLES)],
    )
    for name, signature, role in functions.fetchall():
        statement = f"grant execute on function {signature} to {role}"
        yield Mutant("grant on a function", name, f"is granted to {role}", statement)


def _table_grants(connection: Connection) -> Iterator[Mutant]:
    for relation, kind in _relations(connection):
        what = "sequence" if kind == "S" else "table"
        private = kind == "S" or relation.startswith("llm_private.")
        for role in _ROLES:
            for privilege in ("all",) if private else _TABLE_PRIVILEGES:
                if not private and privilege == "select" and role in ("authenticated", "service_role"):
                    continue
                statement = f"grant {privilege} on {what} {relation} to {role}"
                yield Mutant(f"grant on a {what}", relation, f"grants {privilege} to {role}", statement)


def _guards(connection: Connection) -> Iterator[Mutant]:
    functions = connection.execute(
        "select proname, prosecdef, pg_get_functiondef(oid)"
        f" from pg_proc where pronamespace {_OURS} order by 1"
    )
    for name, definer, source in functions.fetchall():
        # After the header, which has the function's own name.
        head, start, body = source.partition("AS $function$")
        for change, guard, replacement in _GUARDS:
            found = list(re.finditer(guard, body, re.DOTALL))
            # The conditions of a helper often repeat each other, so it loses all of them at once.
            spans = (
                [[it.span()] for it in found] if definer else [[it.span() for it in found]] if found else []
            )
            for number, lost in enumerate(spans, 1):
                subject = f"{name} ({number})" if len(spans) > 1 else name
                changed = head + start + _replaced(body, lost, replacement)
                yield Mutant("definer function" if definer else "helper function", subject, change, changed)


def _replaced(text: str, spans: Iterable[tuple[int, int]], replacement: str) -> str:
    for begin, end in sorted(spans, reverse=True):
        text = text[:begin] + replacement + text[end:]
    return text


def catcher(connection: Connection, mutant: Mutant, tests: list[Path]) -> str | None:
    """The first of these test files that fails on a mutant; None: it survives."""
    with connection.transaction(force_rollback=True):
        connection.execute(mutant.statement.encode())
        return next((test.name for test in tests if run_file(connection, test).failures), None)


def try_all(connection: Connection, text: str = "") -> Iterator[tuple[Mutant, str | None]]:
    """Try the mutants whose name contains `text`, and yield who catches each; None: it survives.

    First runs the test that docs/policies.md names for the mutant, then the one that caught the last of its
    kind.
    """
    known = dict(re.findall(r"^\| (.+?) \| `(\w+)` \|$", DOCS.read_text(), re.MULTILINE))
    latest: dict[str, str] = defaultdict(str)
    for mutant in mutants(connection):
        if mutant.name in EQUIVALENT or text not in mutant.name:
            continue
        first = [f"{known.get(mutant.name)}.test.sql", latest[mutant.kind]]
        tests = sorted(policy_tests(), key=lambda test: first.index(test.name) if test.name in first else 2)
        latest[mutant.kind] = catcher(connection, mutant, tests) or ""
        yield mutant, latest[mutant.kind] or None


_MARKER = "<!-- Written by `make policies`. -->\n"


def documented(tried: Iterable[tuple[Mutant, str | None]]) -> str:
    """docs/policies.md with this list of mutants."""
    counts: dict[str, int] = defaultdict(int)
    rows = []
    for mutant, test in tried:
        counts[mutant.kind] += 1
        if not mutant.kind.startswith("grant"):
            rows.append(f"| {mutant.name} | `{(test or '').removesuffix('.test.sql')}` |")
    roles = ", ".join(f"`{role}`" for role in _ROLES)
    properties = [f"| {_property(test)} | {_about(test)} |" for test in policy_tests()]
    parts = [
        "## Properties\n",
        "| property | what it means |\n|---|---|",
        *properties,
        "\n## Mutants\n",
        f"The tests catch all of these {sum(counts.values()):,} mutants.\n",
        "| what the mutant weakens | mutants |\n|---|---|",
        *(f"| {kind} | {count} |" for kind, count in counts.items()),
        f"\nA grant is widened to one role at a time: {roles}. The others:\n",
        "| mutant | caught by |\n|---|---|",
        *rows,
        "\nThese change nothing that a caller can observe, so no test can catch them:\n",
        "| mutant | reason |\n|---|---|",
        *(f"| {name} | {reason} |" for name, reason in sorted(EQUIVALENT.items())),
        "",
    ]
    return DOCS.read_text().partition(_MARKER)[0] + _MARKER + "\n" + "\n".join(parts)


def _property(test: Path) -> str:
    return test.name.removesuffix(".test.sql").replace("_", " ")


def _about(test: Path) -> str:
    """The comment at the top of a test file."""
    comment = test.read_text().partition("\nbegin;")[0]
    return " ".join(line.removeprefix("-- ") for line in comment.splitlines())


def _require_success(connection: Connection) -> None:
    """Exit if a file fails without a mutant, because it would seem to catch every one."""
    for test in policy_tests():
        with connection.transaction(force_rollback=True):
            if failures := run_file(connection, test).failures:
                sys.exit("\n".join((f"{test.name} fails without a mutant:", *failures)))


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        stack = LocalStack(Path(name, "stack"), project=ROOT, port=0, throwaway=True)
        try:
            stack.up()
            with (
                psycopg.connect(stack.env()["DB_URL"]) as connection,
                prepared(connection, stack.directory, print),
            ):
                _require_success(connection)
                tried = []
                for mutant, test in try_all(connection, *arguments):
                    tried.append((mutant, test))
                    if arguments or test is None:
                        print(f"{mutant.name}: {test or 'survives'}", flush=True)
        finally:
            stack.destroy()
    if not all(test for _, test in tried):
        sys.exit("A mutant survives. Write the property that it breaks.")
    if not arguments:
        DOCS.write_text(documented(tried))


if __name__ == "__main__":
    main(sys.argv[1:])
