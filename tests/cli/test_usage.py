"""`supa-llm usage`, `maintenance`, `alerts` and `prices recalculate`, on a real project."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pyarrow.parquet
import pytest
from supa_llm_cli.usage import _curves

from tests.cli.command import run
from tests.database.support import request_id, usage_event
from tests.support import Stack, User, unique

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(stack: Stack, tmp_path: Path) -> Cli:
    """Runs `supa-llm` for the project in the environment."""

    def supa_llm(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
        return run(*arguments, cwd=tmp_path, **{**environment, **options})

    return supa_llm


@pytest.fixture
def model(user: User, stack: Stack, db: psycopg.Connection[Any]) -> Iterator[str]:
    """A model with four attempts: three for a dollar each, and one without reported tokens."""
    name = f"cli-{uuid.uuid4().hex}"
    stack.admin(
        "set_llm_price",
        p_provider="groq",
        p_model=name,
        p_rates={"input": 1, "output": 1},
        p_valid_from="2025-01-01T00:00:00Z",
    )
    for tokens in (10**6, 10**6, 10**6, None):
        records(user, model=name, input_tokens=tokens, latency_ms=1500)
    yield name
    db.execute("delete from public.llm_prices where model = %s", [name])


def records(user: User, **changes: Any) -> None:
    assert user.rpc("record_llm_usage", **usage_event(request_id=request_id(), **changes))


def line(output: str, word: str) -> list[str]:
    """The cells of the only line with this word."""
    (found,) = [it for it in output.splitlines() if word in it]
    return found.split()


def test_a_report_shows_usage_and_cost(cli: Cli, model: str) -> None:
    done = cli("usage", "--limit", "10000")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[0].split()[:3] == ["provider", "model", "requests"]
    assert line(done.stdout, model)[:7] == ["groq", model, "4", "3.0M", "0", "≥$3.0000", "1"]
    assert "total" in done.stdout
    assert "no usage reported by the provider." in done.stdout


def test_unpriced_usage_is_marked(cli: Cli, user: User) -> None:
    name = f"cli-{uuid.uuid4().hex}"
    records(user, model=name, input_tokens=5)
    done = cli("usage", "--by", "model", "--limit", "10000")
    assert line(done.stdout, name)[-3:-1] == ["unpriced", "1"] or "unpriced" in line(done.stdout, name)
    assert "supa-llm prices sync" in done.stdout


def test_json_output_has_exact_numbers(cli: Cli, model: str) -> None:
    done = cli("usage", "--by", "model,user", "--json", "--limit", "10000")
    (found,) = [it for it in json.loads(done.stdout) if it["model"] == model]
    assert (found["cost"], found["unreported"], found["attempts"]) == (3.0, 1, 4)


@pytest.mark.parametrize("columns", ["80", "60", "45"])
def test_a_narrow_terminal_keeps_the_names_and_the_cost(
    cli: Cli, user: User, model: str, columns: str
) -> None:
    done = cli("usage", "--by", "provider", "--bucket", "day", "--user", user.id, COLUMNS=columns)
    lines = done.stdout.splitlines()
    table = lines[: next(number for number, it in enumerate(lines) if it.startswith("total")) + 1]
    assert max(map(len, table)) <= int(columns)
    assert table[0].split()[:3] == ["day", "provider", "requests"]
    assert "cost" in table[0]


def test_numbers_are_aligned_to_the_right(cli: Cli, model: str) -> None:
    done = cli("usage", "--limit", "10000")
    heading, *rows = done.stdout.splitlines()
    end = heading.index("cost") + len("cost")
    costs = [row[:end].split()[-1] for row in rows if row.startswith(("groq", "total"))]
    assert costs
    assert all(
        row[end - 1] != " " and row[end : end + 1] in ("", " ") for row in rows if row.startswith("groq")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "colour"], "Usage cannot be grouped by colour."),
        (["--time-zone", "Mars"], "p_time_zone has an invalid value."),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "'until' must not be earlier than 'since'."),
        (
            ["export", "usage.csv", "--since", "2026-02-01", "--until", "2026-01-01"],
            "--since 2026-02-01 is after --until 2026-01-01.",
        ),
        (
            ["check", "--since", "2026-02-01", "--until", "2026-01-01"],
            "--since 2026-02-01 is after --until 2026-01-01.",
        ),
        (["--url", "project.supabase.co"], "The project URL is invalid."),
    ],
)
def test_an_invalid_report_is_refused_in_one_line(cli: Cli, arguments: list[str], message: str) -> None:
    done = cli("usage", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {message}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        (["usage", "--since", "yesterday"], "Pass a date, such as 2026-01-31."),
        (["usage", "refusals", "--until", "31.01.2026"], "Pass a date, such as 2026-01-31."),
        (
            ["prices", "recalculate", "--from", "noon"],
            "Pass a date, such as 2026-01-31, or a time, such as 2026-01-31T12:30:00.",
        ),
    ],
)
def test_an_invalid_date_is_refused_with_an_example(cli: Cli, arguments: list[str], example: str) -> None:
    done = cli(*arguments)
    words = done.stderr.replace("│", " ").split()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Invalid value for '{arguments[-2]}'" in " ".join(words)
    assert example in " ".join(words)
    assert "%" not in done.stderr


def test_a_truncated_report_says_so(cli: Cli, model: str) -> None:
    lines = len(json.loads(cli("usage", "--json", "--limit", "10000").stdout))
    assert "Showing the first" not in cli("usage", "--limit", str(lines)).stdout
    if lines > 1:
        assert f"Showing the first {lines - 1} row" in cli("usage", "--limit", str(lines - 1)).stdout


def test_a_sparkline_has_every_day_when_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    days = [datetime(2026, 3, day, tzinfo=berlin) for day in (28, 29, 30)]
    # A report gives each time with the offset of its day.
    lines: Any = [
        SimpleNamespace(
            starts_at=datetime.fromisoformat(day.isoformat()), model="m", cost=Decimal(1), requests=1
        )
        for day in days
    ]
    assert _curves(lines, ["model"]) == {("m",): "███"}


def test_a_period_without_usage_is_reported(cli: Cli) -> None:
    done = cli("usage", "--since", "2001-01-01", "--until", "2001-12-31")
    assert (done.returncode, done.stdout) == (0, "No usage in this period.\n")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_events_are_exported(cli: Cli, model: str, tmp_path: Path, ending: str) -> None:
    done = cli("usage", "export", f"usage.{ending}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Wrote ")
    assert done.stdout.endswith(f" events to usage.{ending}.\n")
    assert done.stderr == ""
    path = tmp_path / f"usage.{ending}"
    if ending == "parquet":
        assert model in pyarrow.parquet.read_table(path)["model"].to_pylist()
    else:
        assert model in path.read_text()


def test_the_report_and_the_export_of_one_user_hold_no_other_users_usage(
    cli: Cli, model: str, user: User, tmp_path: Path
) -> None:
    done = cli("usage", "--user", user.id, "--by", "user", "--json")
    assert [line["user_id"] for line in json.loads(done.stdout)] == [user.id]
    assert cli("usage", "export", "one.jsonl", "--user", user.id).returncode == 0
    exported = [json.loads(line) for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    assert {event["user_id"] for event in exported} == {user.id}
    assert len(exported) == 4


def test_a_check_reports_wrong_totals_and_fails(
    cli: Cli, model: str, user: User, db: psycopg.Connection[Any]
) -> None:
    exact = cli("usage", "check")
    assert exact.returncode == 0, exact.stdout + exact.stderr
    assert exact.stdout.startswith("All totals from ")
    change = "update public.llm_usage_totals set attempts = attempts + %s where user_id = %s"
    db.execute(change, [3, user.id])
    try:
        wrong = cli("usage", "check")
        as_json = cli("usage", "check", "--json")
    finally:
        db.execute(change, [-3, user.id])
    assert wrong.returncode == as_json.returncode == 1
    assert "attempts +3" in wrong.stdout
    assert "1 total differs from the events" in wrong.stdout
    (found,) = json.loads(as_json.stdout)["differences"]
    assert (found["model"], found["differences"]) == (model, {"attempts": 3})


def test_maintenance_completes(cli: Cli, model: str) -> None:
    done = cli("maintenance", "run")
    assert (done.returncode, done.stdout) == (0, "Maintenance is complete.\n")


def test_costs_are_recalculated_once(cli: Cli, model: str) -> None:
    rates = ("prices", "set", "groq", model, "--input", "2", "--output", "2", "--from", "2025-01-01")
    assert cli(*rates).returncode == 0
    asked = cli("prices", "recalculate", "--from", "2025-01-01")
    assert asked.returncode == 1, "nobody said yes"
    assert "$3.0000" in cli("usage", "--by", "model", "--limit", "10000").stdout
    done = cli("prices", "recalculate", "--from", "2025-01-01", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Checked ")
    assert "Total cost: $" in done.stdout
    report = cli("usage", "--by", "model", "--limit", "10000")
    assert "≥$6.0000" in line(report.stdout, model)
    again = cli("prices", "recalculate", "--from", "2025-01-01", "--yes")
    assert again.stdout.endswith(", changed 0.\n")


def test_alerts_are_listed_until_they_are_dismissed(cli: Cli, user: User, stack: Stack) -> None:
    stack.admin("dismiss_llm_alerts")
    assert cli("alerts", "list").stdout == "No new alerts.\n"
    name = f"cli-{uuid.uuid4().hex}"
    runtime = stack.admin("register_llm_runtime", p_name=unique("app"))["secret"]
    event = usage_event(request_id=request_id(), model=name)
    assert stack.rpc("record_llm_usage", user.access_token, runtime, **event).is_success
    cells = line(cli("alerts", "list").stdout, name)
    assert "price_missing" in cells
    assert cli("alerts", "dismiss", cells[-1]).stdout == "Dismissed 1 alert.\n"
    assert cli("alerts", "dismiss", cells[-1]).stdout == "Dismissed 0 alerts.\n"
    assert name not in cli("alerts", "list").stdout
    assert name in cli("alerts", "list", "--all", "--limit", "500").stdout


def test_all_alerts_are_dismissed_only_on_request(cli: Cli, stack: Stack) -> None:
    for arguments in ([], ["--all", str(uuid.uuid4())]):
        refused = cli("alerts", "dismiss", *arguments)
        assert refused.returncode == 2
        assert "pass --all" in refused.stderr
    assert cli("alerts", "dismiss", "--all").returncode == 0
    assert cli("alerts", "list").stdout == "No new alerts.\n"
