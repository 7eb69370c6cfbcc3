"""Write docs/schema.sql: the schema that all migrations together make, read back from a migrated database.

    python -m tools.schema            write it
    python -m tools.schema --check    fail, showing the difference, where it is out of date

The SQL is pg-delta's, which comes with the local stack in a locked version: one file an object, in the order
of their names. Left out are the partitions of single months, which change with the calendar, and what the
owner may do, which is everything.
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from supa_llm.local import LocalStack
from supa_llm.local.install import Runtime, cache_directory, install
from supa_llm.local.layout import layout_for

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "docs" / "schema.sql"

HEADER = """\
-- The schema of supa-llm, as its migrations leave it. Written by `make docs`; `make check` fails where it is
-- out of date. To read, not to run: what a project runs is supabase/migrations. Grants are those of a project
-- whose default privileges open new tables to the API. Append-only tables have a partition a month, which is
-- not listed.
"""

#: Part of the file → where pg-delta puts its objects.
PARTS = {
    "Schemas": "schemas/llm_private/schema.sql",
    "Tables that an app may read": "schemas/public/tables/*.sql",
    "Functions that an app may call": "schemas/public/functions/*.sql",
    "Private types": "schemas/llm_private/types/*.sql",
    "Private tables": "schemas/llm_private/tables/*.sql",
    "Private functions": "schemas/llm_private/functions/*.sql",
}

_MONTH = re.compile(r"_\d{4}_\d{2}$")
_GRANT = re.compile(r'^(GRANT [^;]*?\s+TO )((?:"\w+"(?:, )?)+);\n*', re.MULTILINE)


def export(database: str, runtime: Runtime, directory: Path) -> None:
    """Have pg-delta write each object of a database to a file."""
    program = runtime.modules / "@supabase" / "pg-delta" / "dist" / "cli" / "main.js"
    arguments = [
        "schema",
        "export",
        "--source",
        database,
        "--out-dir",
        str(directory),
        "--profile",
        "supabase",
    ]
    exported = subprocess.run(  # noqa: S603 - a fixed program, no shell
        [runtime.node, program, *arguments, "--format-options", "{}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if exported.returncode:
        sys.exit(f"pg-delta failed: {exported.stderr}")


def assemble(directory: Path) -> str:
    """One file out of many."""
    text = HEADER
    for title, pattern in PARTS.items():
        files = [path for path in sorted(directory.glob(pattern)) if not _MONTH.search(path.stem)]
        if not files:
            sys.exit(f"pg-delta wrote nothing to {pattern}: has its layout changed?")
        text += f"\n-- {title} {'-' * (110 - len(title))}\n"
        for path in files:
            text += f"\n{_GRANT.sub(_without_owner, path.read_text()).rstrip()}\n"
    return text


def _without_owner(grant: re.Match[str]) -> str:
    others = [role for role in grant[2].split(", ") if role != '"postgres"']
    return f"{grant[1]}{', '.join(others)};\n\n" if others else ""


def generate() -> str:
    """Migrate a fresh database, and read its schema back."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        stack = LocalStack(directory / "stack", project=ROOT, port=0, throwaway=True)
        try:
            stack.up()
            runtime = install(cache_directory(layout_for(directory, "").user), print)
            export(stack.env()["DB_URL"], runtime, directory / "schema")
        finally:
            stack.destroy()
        return assemble(directory / "schema")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.schema", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail where it is out of date")
    check = parser.parse_args().check
    before = SCHEMA.read_text() if SCHEMA.exists() else ""
    after = generate()
    if not check:
        SCHEMA.write_text(after)
    elif before != after:
        lines = difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            "docs/schema.sql",
            "the migrations",
        )
        sys.stdout.writelines(lines)
        sys.exit("docs/schema.sql is out of date: run `make docs`.")


if __name__ == "__main__":
    main()
