"""Lint the database with the Supabase CLI: `supabase db lint` and `supabase db advisors`.

    python -m tools.db_lint

`db lint` checks the bodies of functions with the extension plpgsql_check, which PostgreSQL's npm package
lacks. It comes from Debian's package of the same major version, laid into a copy of the installed services;
so this needs root on Debian. A throwaway stack is started, linted and destroyed. Exits with 1 on findings.
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

#: The release of Debian that has PostgreSQL 17, whatever this machine runs: the library needs no newer libc.
RELEASE = "trixie"
PACKAGE = "postgresql-17-plpgsql-check"

#: What the advisors say that is right for us, and where.
ACCEPTED: Mapping[str, re.Pattern[str]] = {
    # Nobody has used the database yet. That an index stands behind each policy and foreign key is tested.
    "unused_index": re.compile(""),
    # Row level security without a policy is what keeps the API out even if a grant should slip in.
    "rls_enabled_no_policy": re.compile(r"^Table `llm_private\."),
}


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("db-lint takes an extension from Debian's packages: run it as root on Debian.")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # The services run as a user of their own, who must be able to read what is installed here.
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
    print("\n".join(findings) or "supabase db lint and supabase db advisors: nothing found.")
    sys.exit(bool(findings))


def copied(runtime: Runtime, cache: Path) -> Runtime:
    """The same installation again, of linked files, so that a new file in it is in no other."""
    copy = Runtime(cache / runtime.root.name)
    try:
        shutil.copytree(runtime.root, copy.root, symlinks=True, copy_function=os.link)
    except (OSError, shutil.Error):  # on another file system
        shutil.rmtree(copy.root, ignore_errors=True)
        shutil.copytree(runtime.root, copy.root, symlinks=True)
    return copy


def add_plpgsql_check(postgres: Path, directory: Path) -> None:
    """Lay the files of Debian's package into a PostgreSQL installation."""
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
    """This machine's own sources of Debian packages, with the release that is wanted in place of its own."""
    own = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if own is None:
        sys.exit("/etc/os-release does not say which release of Debian this is.")
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
    """What plpgsql_check finds in the bodies of our functions."""
    answer = supabase(
        runtime, directory, "db", "lint", f"--remote={database}", f"--schema={','.join(SCHEMAS)}"
    )
    return [
        f"{found['function']}: {issue['level']}: {issue['message']} ({json.dumps(issue)})"
        for found in answer
        for issue in found["issues"]
    ]


def advise(runtime: Runtime, database: str, directory: Path) -> list[str]:
    """What Supabase's advisors find, at any level."""
    answer = supabase(runtime, directory, "db", "advisors", f"--remote={database}", "--level=info")
    assert answer, "on a fresh database, the advisors always find indexes unused"
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
        # Nothing found is nothing printed; what went wrong has an exit code.
        return json.loads(printed or "[]")
    except ValueError:
        sys.exit(f"`supabase {' '.join(arguments[:2])}` printed no JSON: {printed}")


def run(command: list[str], directory: Path, **environment: str) -> str:
    """What a command prints; ends the program if it fails."""
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
