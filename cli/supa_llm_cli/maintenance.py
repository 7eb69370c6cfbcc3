"""`supa-llm maintenance`: usage rollups, and events and audit entries past their retention."""

from __future__ import annotations

import typer

from supa_llm_cli.amounts import counted
from supa_llm_cli.options import HOME, Directory, Url
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator

app = typer.Typer(
    name="maintenance",
    help="Roll up usage, and drop events and audit entries that are past their retention.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def run(url: Url = None, directory: Directory = HOME) -> None:
    """Run maintenance: roll up completed hours of usage, and drop old events and audit entries.

    Reports are correct without it, but slower. To schedule it in the database, use pg_cron:
    `select cron.schedule('supa-llm', '*/15 * * * *', 'select public.run_llm_maintenance()');`
    """
    dropped: list[str] = []
    dropped_audit: list[str] = []
    with administrator(url, directory) as admin, progress("Rolling up usage …") as report:
        while True:
            result = admin.run_maintenance()
            dropped += result.dropped_months or ()
            dropped_audit += result.dropped_audit_months or ()
            blocked = result.dropped_months is None or result.dropped_audit_months is None
            if result.done or result.hours_left is None or blocked:
                break
            report(f"Rolling up usage, {counted(result.hours_left, 'hour')} left …")
    for month in dropped:
        typer.echo(f"Dropped the events of {month}. Their totals are kept.")
    for month in dropped_audit:
        typer.echo(f"Dropped the audit log of {month}.")
    if result.hours_left is None:
        typer.echo("Another maintenance run is in progress.")
    elif blocked:
        typer.echo("Old rows are in use by another query. Run maintenance again to drop them.")
    else:
        typer.echo("Maintenance is complete.")
