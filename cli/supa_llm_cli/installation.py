"""`supa-llm init`, `upgrade` and `uninstall`: supa-llm in a Supabase project."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from supa_llm.errors import ConfigurationError, SupaLLMError
from supa_llm_cli import migrations, usage
from supa_llm_cli.changes import confirm
from supa_llm_cli.options import HOME, Directory, DryRun, Url, Yes
from supa_llm_cli.private_files import has_variable, require_writable, set_variable
from supa_llm_cli.project import RUNTIME_SECRET, administrator
from supa_llm_cli.runtimes import register

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


def init(
    runtime: Annotated[
        str, typer.Option(help="Name of your app's server, which runs the requests.")
    ] = "app-server",
    env_file: Annotated[
        Path | None,
        typer.Option(
            help=f"File for {RUNTIME_SECRET}, the server's secret. Git must ignore it. Default: .env, unless "
            "the environment has the secret.",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Add supa-llm to your Supabase project. Run it before and after you push the migration.

    The first run copies the migration. Once it is pushed, the second run registers your app's server as a
    runtime, and writes its secret to a file that only you can read. Running it again changes nothing.
    """
    folder = migrations.project_folder(None)
    _refuse_taken_names(folder)
    is_copied = migrations.packaged().keys() <= migrations.copied(folder).keys()
    is_pushed = _is_pushed(url, directory)
    # The secret in the environment may be of another project, so a named file gets its own.
    in_environment = env_file is None and bool(os.environ.get(RUNTIME_SECRET))
    env_file = env_file or Path(".env")
    has_secret = in_environment or has_variable(env_file, RUNTIME_SECRET)
    registers = is_pushed and not has_secret
    if registers:
        require_writable(env_file)
        _require_ignored(env_file)
    plan = [
        *(
            ()
            if is_copied
            else (f"copy supa-llm's migration to {folder}, and its tests to {folder.parent / 'tests'}",)
        ),
        *((f"register the runtime {runtime}, and write its secret to {env_file}",) if registers else ()),
    ]
    for step in plan:
        typer.echo(f"{'Would' if dry_run else 'Will'} {step}.")
    if dry_run:
        return
    if plan:
        confirm("apply these changes", yes)
    if not is_copied:
        migrations.copy(folder)
    if registers:
        with administrator(url, directory) as admin:
            set_variable(env_file, RUNTIME_SECRET, register(admin, runtime).secret.reveal())
        typer.echo(f"Registered the runtime {runtime}. {RUNTIME_SECRET} is set in {env_file}.")
    elif is_pushed and in_environment:
        typer.echo(f"{RUNTIME_SECRET} is set in the environment, so no runtime was registered.")
    _show_next_steps(is_pushed)


def _show_next_steps(is_pushed: bool) -> None:
    if not is_pushed:
        typer.echo(
            "Next, push the migration (to a local stack: supa-llm local up). Then run this again, with "
            "SUPABASE_URL and SUPABASE_SECRET_KEY set unless a local stack is running:"
        )
        typer.echo("  npx supabase db push --remote")
        typer.echo("  supa-llm init")
        return
    typer.echo("supa-llm is installed. Next, sync the prices of models, and look for problems:")
    typer.echo("  supa-llm prices sync")
    typer.echo("  supa-llm doctor")
    typer.echo("Run maintenance every 15 minutes: supa-llm maintenance run, or with pg_cron:")
    typer.echo("  select cron.schedule('supa-llm', '*/15 * * * *', 'select public.run_llm_maintenance()');")


def _is_pushed(url: str | None, directory: Path) -> bool:
    """Whether a project is selected and has supa-llm's functions."""
    try:
        with administrator(url, directory) as admin:
            admin.get_version()
    except ConfigurationError as error:
        if error.code not in ("project_unknown", "migrations_missing"):
            raise
        return False
    return True


def _require_ignored(env_file: Path) -> None:
    """Raise if git would add the file with the secret."""
    try:
        done = subprocess.run(["git", "check-ignore", "-q", env_file], capture_output=True)  # noqa: S603, S607
    except FileNotFoundError:
        return
    if done.returncode == 1:  # 128: not in a repository
        raise ConfigurationError(
            f"Git does not ignore {env_file}.",
            code="env_file_not_ignored",
            hint="Add it to .gitignore, or choose another file with --env-file.",
        )


def _refuse_taken_names(folder: Path) -> None:
    """Raise if a migration of the project creates an object with the name of one of supa-llm's."""
    from supa_llm.local.project_files import packaged_project

    statements = (packaged_project() / "supabase" / "uninstall.sql").read_text()
    names = re.findall(r"'(\w+)'", statements[: statements.index("];")])
    created = re.compile(
        r"\bcreate\s+(?:or\s+replace\s+)?(?:unlogged\s+)?"
        r"(?:(?:table|(?:materialized\s+)?view|function|type|sequence)\s+(?:if\s+not\s+exists\s+)?"
        rf'(?:"?public"?\s*\.\s*)?"?(?:{"|".join(names)})"?(?![\w."])'
        r'|schema\s+(?:if\s+not\s+exists\s+)?"?llm_private\b)',
        re.IGNORECASE,
    )
    own = migrations.copied(folder).values()
    for file in sorted(folder.glob("*.sql")):
        if file not in own and (found := created.search(file.read_text(errors="replace"))):
            raise ConfigurationError(
                f"{file} has a statement for a name that supa-llm needs: {' '.join(found[0].split())}.",
                code="name_taken",
                hint="Rename that object before you add supa-llm.",
            )


def upgrade(
    to: Annotated[
        Path | None,
        typer.Option(
            help=f"Your project's migrations folder. Default: {migrations.FOLDER}.", show_default=False
        ),
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    dry_run: DryRun = False,
) -> None:
    """Add the migrations of this version of supa-llm to your Supabase project.

    Run it after you upgrade the Python package, then push the migrations. It adds only new migrations, after
    all of yours, and changes no other file. If you edited one of supa-llm's migrations, it copies nothing. It
    also compares this client with the database of the project.

    The tests of supa-llm's policies, in tests/supa_llm beside the migrations, are replaced.
    """
    folder = migrations.project_folder(to)
    if not migrations.copied(folder):
        raise ConfigurationError(
            f"{folder} has no migration of supa-llm.",
            code="not_initialized",
            hint="Add supa-llm to the project: supa-llm init",
        )
    new = migrations.copy(folder, dry_run=dry_run)
    if dry_run:
        typer.echo("Nothing was written.")
    _show_versions(url, directory, is_new=bool(new))


def _show_versions(url: str | None, directory: Path, *, is_new: bool) -> None:
    *earlier, newest = migrations.packaged()
    push = "Push the migrations: npx supabase db push --remote"
    try:
        with administrator(url, directory) as admin:
            installed = admin.get_version().version
    except SupaLLMError as error:
        if error.code == "migrations_missing":
            typer.echo(f"The database has no supa-llm. {push}")
            return
        if error.code != "project_unknown":
            typer.echo(f"The version of the database is unknown. {error}")
        if is_new:
            typer.echo(push)
        return
    if installed == newest:
        typer.echo(f"The database is up to date: supa-llm {installed}.")
    elif installed in earlier:
        typer.echo(f"The database has supa-llm {installed}, and this client needs {newest}. {push}")
        typer.echo("Then update your servers.")
    else:
        typer.echo(
            f"The database has supa-llm {installed}, which is newer than this client's {newest}. "
            "Upgrade the Python package: pip install --upgrade supa-llm"
        )


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
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove supa-llm from your Supabase project: write the migration that does it.

    When you push the migration, it removes supa-llm's tables, functions and master key, and with them all
    stored keys, settings, quotas and usage. Your own objects stay as they are. If one of them needs one of
    supa-llm's, the push fails and changes nothing.
    """
    from supa_llm.local.project_files import packaged_project

    statements = (packaged_project() / "supabase" / "uninstall.sql").read_text()
    if not migrations.FOLDER.is_dir():
        raise ConfigurationError(
            f"Folder not found: {migrations.FOLDER}.", hint="Run this in the folder of your Supabase project."
        )
    if earlier := sorted(migrations.FOLDER.glob(f"*_{_NAME}.sql")):
        raise ConfigurationError(
            f"The migration is there already: {earlier[-1]}.",
            code="already_uninstalled",
            hint="Push it: npx supabase db push --remote",
        )
    file = migrations.FOLDER / f"{migrations.next_version(migrations.FOLDER)}_{_NAME}.sql"
    if dry_run:
        typer.echo(f"Would write {file}.")
        return
    if not yes:
        typer.echo(f"This writes {file}. Pushing it deletes all keys, settings and quotas of your users.")
        typer.echo("Their usage is kept." if keep_usage else "It deletes their usage, too.")
        confirm("write the migration", yes)
    if export is not None:
        with administrator(url, directory) as admin:
            usage.write_events(admin.list_usage_events(), export)
    file.write_text((_KEEP_USAGE if keep_usage else "") + statements)
    typer.echo(f"Wrote {file}.")
    typer.echo("Stop the servers that use supa-llm, then remove it: npx supabase db push --remote")
    if (tests := migrations.FOLDER.parent / "tests" / "supa_llm").is_dir():
        typer.echo(f"Then delete {tests}: these tests fail without supa-llm.")
