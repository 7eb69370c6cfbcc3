"""Lint the database with the Supabase CLI: `supabase db lint` and `supabase db advisors`.

    python -m tools.db_lint

`db lint` checks function bodies with the extension plpgsql_check, which PostgreSQL's npm package lacks. This
tool adds it from a Debian package to a copy of the installed services, so it needs root on Debian. It starts
a throwaway stack, lints it and destroys it. Exits with 1 on findings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from supa_llm.local import LocalStack
from supa_llm.local.install import Runtime, cache_directory, install
from supa_llm.local.layout import layout_for

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ("public", "llm_private")

#: The Debian release with PostgreSQL 17. The extension also runs on other releases.
RELEASE = "trixie"
PACKAGE = "postgresql-17-plpgsql-check"

#: Findings of the advisors to ignore: name → pattern of the detail.
ACCEPTED: Mapping[str, re.Pattern[str]] = {
    # Nothing has used the new database. Tests check that each policy and foreign key has an index.
    "unused_index": re.compile(""),
    # Row level security without a policy keeps the API out even if a grant is added by mistake.
    "rls_enabled_no_policy": re.compile(r"^Table `llm_private\."),
}


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("db-lint installs an extension from a Debian package. Run it as root on Debian.")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # The user that runs the services must be able to read the installed files.
        directory.chmod(0o755)
        runtime = install(cache_directory(layout_for(directory, "").user), print)
        copy = copied(runtime, directory / "supa-llm")
        add_plpgsql_check(copy.postgres, directory / "debian")
        os.environ["XDG_CACHE_HOME"] = name
        stack = LocalStack(directory / "stack", project=ROOT, port=0, throwaway=True)
        try:
            stack.up(print)
            with psycopg.connect(stack.superuser_url) as connection:
                connection.execute("create extension plpgsql_check with schema extensions")
            database = f"{stack.env()['DB_URL']}?sslmode=disable"
            findings = lint(copy, database, directory) + advise(copy, database, directory)
        finally:
            stack.destroy()
    print("\n".join(findings) or "supabase db lint and supabase db advisors: no findings.")
    sys.exit(bool(findings))


def copied(runtime: Runtime, cache: Path) -> Runtime:
    """Copy the installation with hard links, so that new files do not change the original."""
    copy = Runtime(cache / runtime.root.name)
    try:
        shutil.copytree(runtime.root, copy.root, symlinks=True, copy_function=os.link)
    except (OSError, shutil.Error):  # another file system
        shutil.rmtree(copy.root, ignore_errors=True)
        shutil.copytree(runtime.root, copy.root, symlinks=True)
    return copy


def add_plpgsql_check(postgres: Path, directory: Path) -> None:
    """Add the files of the Debian package to a PostgreSQL installation."""
    (directory / "lists" / "partial").mkdir(parents=True)
    (directory / "cache" / "archives" / "partial").mkdir(parents=True)
    (directory / "sources").mkdir()
    for number, (suffix, source) in enumerate(sources()):
        (directory / "sources" / f"{number}{suffix}").write_text(source)
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": directory / "sources",
        "Dir::State::Lists": directory / "lists",
        "Dir::Cache": directory / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "--quiet=2", *(f"--option={name}={value}" for name, value in options.items())]
    run([*apt, "update"], directory)
    run([*apt, "download", PACKAGE], directory)
    (package,) = directory.glob("*.deb")
    run(["dpkg-deb", "--extract", str(package), "."], directory)
    for pattern, target in (
        ("usr/lib/postgresql/17/lib/*.so", postgres / "lib" / "postgresql"),
        ("usr/share/postgresql/17/extension/*", postgres / "share" / "postgresql" / "extension"),
    ):
        for file in directory.glob(pattern):
            shutil.copy(file, target)


def sources() -> Iterator[tuple[str, str]]:
    """This machine's package sources, for the release with PostgreSQL 17."""
    own = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if own is None:
        sys.exit("/etc/os-release does not name a Debian release.")
    parts = Path("/etc/apt/sources.list.d")
    for path in [
        Path("/etc/apt/sources.list"),
        *sorted(parts.glob("*.list")),
        *sorted(parts.glob("*.sources")),
    ]:
        if not path.exists():
            continue
        if path.suffix == ".list":
            entries = re.findall(rf"^deb (?:\[.*?\] )?\S+ {own[1]} .*$", path.read_text(), re.MULTILINE)
            yield ".list", "".join(f"{entry.replace(f' {own[1]} ', f' {RELEASE} ')}\n" for entry in entries)
        else:
            text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
            for entry in re.split(r"\n\s*\n", text):
                suites = re.search(r"^Suites:(.*)$", entry, re.MULTILINE)
                if suites and own[1] in suites[1].split():
                    yield ".sources", f"{entry.replace(suites[0], f'Suites: {RELEASE}').strip()}\n"


def lint(runtime: Runtime, database: str, directory: Path) -> list[str]:
    """Findings of plpgsql_check in supa-llm's functions."""
    answer = supabase(
        runtime, directory, "db", "lint", f"--remote={database}", f"--schema={','.join(SCHEMAS)}"
    )
    return [
        f"{found['function']}: {issue['level']}: {issue['message']} ({json.dumps(issue)})"
        for found in answer
        for issue in found["issues"]
    ]


def advise(runtime: Runtime, database: str, directory: Path) -> list[str]:
    """Findings of Supabase's advisors, at any level."""
    answer = supabase(runtime, directory, "db", "advisors", f"--remote={database}", "--level=info")
    assert answer, "the advisors always find unused indexes in a new database"
    return [
        f"{found['level']} {found['name']}: {found['detail']} {found['remediation']}"
        for found in answer
        if not (accepted := ACCEPTED.get(found["name"])) or not accepted.search(found["detail"])
    ]


def supabase(runtime: Runtime, directory: Path, *arguments: str) -> Any:
    """The JSON that a command of the Supabase CLI prints."""
    environment = {"SUPABASE_HOME": str(directory / "cli"), "SUPABASE_TELEMETRY_DISABLED": "1"}
    printed = run([str(runtime.supabase), *arguments], directory, **environment)
    try:
        # The CLI prints nothing if it finds nothing, and reports errors with its exit code.
        return json.loads(printed or "[]")
    except ValueError:
        sys.exit(f"`supabase {' '.join(arguments[:2])}` printed no JSON: {printed}")


def run(command: list[str], directory: Path, **environment: str) -> str:
    """Return the output of a command. Exits if the command fails."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
