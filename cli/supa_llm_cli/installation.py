"""`supa-llm uninstall`: removes supa-llm from a Supabase project."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from supa_llm.errors import ConfigurationError
from supa_llm_cli.amounts import counted
from supa_llm_cli.options import HOME, Directory, Url, Yes
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator

_MIGRATIONS = Path("supabase/migrations")
_NAME = "remove_supa_llm"
#: The table has no foreign key and no policy: it stays as it is, and only secret keys can read it.
_KEEP_USAGE = """\
-- The usage of all users, kept for administrators.
create table public.llm_usage_archive as
select e.*, llm_private.uuid_v7_time(e.request_id) as requested_at from public.llm_usage_events as e;
alter table public.llm_usage_archive enable row level security;
revoke all on public.llm_usage_archive from public, anon, authenticated, service_role;
grant select on public.llm_usage_archive to service_role;

"""


def uninstall(
    export: Annotated[
        Path | None,
        typer.Option(
            help="Export all usage events first, to a .csv, .jsonl or .parquet file.", show_default=False
        ),
    ] = None,
    keep_usage: Annotated[
        bool, typer.Option("--keep-usage", help="Keep the usage events, in the table llm_usage_archive.")
    ] = False,
    url: Url = None,
    directory: Directory = HOME,
    yes: Yes = False,
) -> None:
    """Remove supa-llm from your Supabase project: write the migration that does it.

    When you push the migration, it removes supa-llm's tables, functions and master key, and with them all
    stored keys, settings, quotas and usage. Your own objects stay as they are. If one of them needs one of
    supa-llm's, the push fails and changes nothing.
    """
    from supa_llm.local.project_files import packaged_project

    statements = (packaged_project() / "supabase" / "uninstall.sql").read_text()
    if not _MIGRATIONS.is_dir():
        raise ConfigurationError(
            f"Folder not found: {_MIGRATIONS}.", hint="Run this in the folder of your Supabase project."
        )
    if earlier := sorted(_MIGRATIONS.glob(f"*_{_NAME}.sql")):
        raise ConfigurationError(
            f"The migration is there already: {earlier[-1]}.",
            code="already_uninstalled",
            hint="Push it: supabase db push",
        )
    file = _MIGRATIONS / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{_NAME}.sql"
    if not yes:
        typer.echo(f"This writes {file}. Pushing it deletes all keys, settings and quotas of your users.")
        typer.echo("Their usage is kept." if keep_usage else "It deletes their usage, too.")
        typer.confirm("Write it?", abort=True)
    if export is not None:
        _export(export, url, directory)
    file.write_text((_KEEP_USAGE if keep_usage else "") + statements)
    typer.echo(f"Wrote {file}.")
    typer.echo("Stop the servers that use supa-llm, then remove it: supabase db push")


def _export(file: Path, url: str | None, directory: Path) -> None:
    from supa_llm import export_events

    with administrator(url, directory) as admin, progress("Exporting …") as show:
        written = export_events(
            admin.list_usage_events(),
            file,
            progress=lambda count: show(f"Exported {counted(count, 'event')} …"),
        )
    typer.echo(f"Wrote {counted(written, 'event')} to {file}.")
