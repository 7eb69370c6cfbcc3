"""`supa-llm maintenance`: usage rollups, events and audit entries past their retention, and seals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import typer

from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json

app = typer.Typer(
    name="maintenance",
    help="Roll up usage, drop events and audit entries past their retention, and seal the audit log.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def run(
    dry_run: DryRun = False, url: Url = None, directory: Directory = HOME, as_json: AsJson = False
) -> None:
    """Run maintenance: roll up completed hours of usage, drop old events and audit entries, seal new entries.

    Reports are correct without it, but slower. To schedule it in the database, use pg_cron:
    `select cron.schedule('supa-llm', '*/15 * * * *', 'select public.run_llm_maintenance()');`
    """
    dropped: list[str] = []
    dropped_audit: list[str] = []
    sealed = 0
    with administrator(url, directory) as admin, progress("Rolling up usage …") as show_progress:
        if dry_run:
            _preview(admin.get_operator_settings(), as_json)
            return
        while True:
            result = admin.run_maintenance()
            dropped += result.dropped_months or ()
            dropped_audit += result.dropped_audit_months or ()
            blocked = result.dropped_months is None or result.dropped_audit_months is None
            sealed += result.sealed_entries or 0
            if result.done or result.hours_left is None or result.sealed_entries is None or blocked:
                break
            show_progress(f"Rolling up usage, {counted(result.hours_left, 'hour')} left …")
    if as_json:
        state = {**asdict(result), "dropped_months": dropped, "dropped_audit_months": dropped_audit}
        state["sealed_entries"] = sealed
        print_json({"dry_run": False, **state})
        return
    for month in dropped:
        typer.echo(f"Dropped the events of {month}. Their totals are kept.")
    for month in dropped_audit:
        typer.echo(f"Dropped the audit log of {month}.")
    if result.hours_left is None or result.sealed_entries is None:
        typer.echo("Another maintenance run is in progress.")
    elif blocked:
        typer.echo("Old rows are in use by another query. Run maintenance again to drop them.")
    else:
        typer.echo("Maintenance is complete.")


def _preview(settings: Mapping[str, Any], as_json: bool) -> None:
    kept = {name: settings[f"{name}_kept_months"] for name in ("events", "audit")}
    drops = [
        f"{what} older than {counted(months, 'month')}"
        for what, months in (("events", kept["events"]), ("audit entries", kept["audit"]))
        if months is not None
    ]
    dropping = " and ".join(drops) or "nothing"
    would = f"Would roll up completed hours of usage, drop {dropping}, and seal new audit entries."
    fields = {f"{name}_kept_months": months for name, months in kept.items()}
    report(fields, would=would, done="", dry_run=True, as_json=as_json)
