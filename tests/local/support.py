"""Shared by the tests of the local stack: a small project, the command, and the stack's processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from supa_llm.local import LocalStack
from supa_llm.local.layout import SERVICES, Layout, layout_for

CODE = Path(__file__).resolve().parents[2]

CONFIG = """\
project_id = "tests"

[db.seed]
sql_paths = ["./seed.sql"]

[auth]
minimum_password_length = 8
"""

MIGRATION = """\
create table public.notes (
  id bigint generated always as identity primary key,
  owner uuid not null default auth.uid() references auth.users (id) on delete cascade,
  body text not null
);
alter table public.notes enable row level security;
create policy own on public.notes to authenticated
  using ((select auth.uid()) = owner) with check ((select auth.uid()) = owner);
grant select, insert on public.notes to authenticated, service_role;

create table public.plants (name text primary key);
alter table public.plants enable row level security;
create policy everyone on public.plants for select to anon, authenticated using (true);
grant select on public.plants to anon, authenticated;

create function public.whoami() returns json
language sql stable
as $$
  select json_build_object(
    'uid', auth.uid(), 'role', auth.role(), 'email', auth.email(), 'claims', auth.jwt(), 'user', current_user,
    'headers', current_setting('request.headers', true)::json
  )
$$;
grant execute on function public.whoami to anon, authenticated, service_role;
"""

SEED = "insert into public.plants (name) values ('fern'), ('moss');\n"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def write_project(folder: Path) -> Path:
    """Write a Supabase project with one migration and a seed."""
    migrations = folder / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (folder / "supabase" / "config.toml").write_text(CONFIG)
    (folder / "supabase" / "seed.sql").write_text(SEED)
    (migrations / "20250101000000_notes.sql").write_text(MIGRATION)
    return folder


def layout_of(stack: LocalStack) -> Layout:
    """The layout of a stack."""
    settings = stack._settings()
    assert settings is not None
    return layout_for(stack.directory, settings.id)


def processes_of(stack: LocalStack) -> list[str]:
    """Every process whose working directory is one of the stack's."""
    if stack._settings() is None:
        return []
    layout = layout_of(stack)
    folders = {layout.data, *(layout.service(name) for name in SERVICES)}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() in folders:
                    found.append(f"{entry.name} {(entry / 'comm').read_text().strip()}")
            except OSError:
                continue
    return found


def environment(**changes: str) -> dict[str, str]:
    """The environment for commands of this checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([f"{CODE}/src", f"{CODE}/cli"]), **changes}


def run_cli(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `supa-llm` as a command."""
    return subprocess.run(
        cli_command(*arguments),
        capture_output=True,
        text=True,
        env=environment(**changes),
        timeout=120,
        check=False,
    )


def cli_command(*arguments: str) -> list[str]:
    """The command line of `supa-llm` from this checkout."""
    return [sys.executable, "-c", "from supa_llm_cli.main import main; main()", *arguments]
