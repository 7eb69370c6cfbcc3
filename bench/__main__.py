"""Measures speed, prints a table and writes bench/results/latest.json; ONLY=name measures one figure."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.imports import import_time
from bench.lab import Lab
from bench.measure import Benchmark
from bench.models import models_p50
from bench.quotas import quota_overspend
from bench.reports import report_10m
from bench.routes import route_calls, route_calls_quota, route_p50, route_p50_quota, route_scale
from bench.usage import (
    usage_batch,
    usage_p50,
    usage_p50_quota,
    usage_rps_hot_user,
    usage_rps_hot_user_quota,
    usage_scale,
)
from bench.vault import vault_rotate

RESULTS = Path(__file__).parent / "results" / "latest.json"

BENCHMARKS = (
    Benchmark(
        "route_p50",
        "resolve a route, three keys decrypted",
        "an RPC that selects 1",
        aim=1.8,
        run=route_p50,
    ),
    Benchmark("route_calls", "route RPCs of a busy user", "the user's requests", aim=0.02, run=route_calls),
    Benchmark(
        "route_calls_quota",
        "route and reserve RPCs of a busy user bound by a distant quota",
        "the user's requests",
        aim=0.05,
        run=route_calls_quota,
    ),
    Benchmark("usage_p50", "record a usage event", "an RPC that inserts a bare row", aim=1.3, run=usage_p50),
    Benchmark(
        "usage_rps_hot_user",
        "record usage of one user through the client's recorder, events/s",
        "an RPC that inserts a bare row, requests/s at 32 connections",
        aim=2,
        run=usage_rps_hot_user,
        more_is_better=True,
    ),
    Benchmark(
        "usage_batch",
        "record usage in calls of 100 events of 20 users, events/s at one connection",
        "an RPC that inserts a bare row, requests/s",
        aim=8,
        run=usage_batch,
        more_is_better=True,
    ),
    Benchmark(
        "route_p50_quota",
        "resolve a route and reserve in a quota",
        "an RPC that selects 1",
        aim=2.5,
        run=route_p50_quota,
    ),
    Benchmark(
        "usage_p50_quota",
        "record a usage event and settle its reservation",
        "an RPC that inserts a bare row",
        aim=1.8,
        run=usage_p50_quota,
    ),
    Benchmark(
        "usage_rps_hot_user_quota",
        "the same for one user, requests/s at 32 connections",
        "the same RPC, requests/s",
        aim=None,
        run=usage_rps_hot_user_quota,
        more_is_better=True,
    ),
    Benchmark(
        "quota_overspend",
        "usage beyond an enforced quota, 64 concurrent requests",
        "the quota",
        aim=0,
        run=quota_overspend,
    ),
    Benchmark(
        "models_p50",
        "list a provider's 100 models, 100,000 prices of others",
        "an RPC that selects 1",
        aim=5,
        run=models_p50,
    ),
    Benchmark(
        "route_scale",
        "resolve a route at 1 M users and 10 M events",
        "the same at 1,000 users",
        aim=1.2,
        run=route_scale,
    ),
    Benchmark(
        "usage_scale",
        "record a usage event at 1 M users and 10 M events",
        "the same at 1,000 users",
        aim=1.2,
        run=usage_scale,
    ),
    Benchmark(
        "report_10m",
        "report all usage, 10 M events of 1 M users",
        "sum the events",
        aim=0.02,
        run=report_10m,
    ),
    Benchmark(
        "vault_rotate",
        "rotate the master key of 100,000 users with a key each",
        "a minute",
        aim=1,
        run=vault_rotate,
    ),
    Benchmark("import_time", "import supa_llm", "import openai", aim=0.6, run=import_time),
)


def main() -> int:
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="name", help=f"figures to measure: {', '.join(names)}")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if an aim is missed")
    parser.add_argument(
        "--markdown", action="store_true", help="print the last results for docs/performance.md"
    )
    arguments = parser.parse_args()
    only = arguments.only or os.environ.get("ONLY", "").replace(",", " ").split()
    if unknown := set(only) - set(names):
        parser.error(f"unknown figure: {', '.join(sorted(unknown))}; choose from {', '.join(names)}")

    results = _read()
    if arguments.markdown:
        print(_markdown(results))
        return 0
    chosen = [benchmark for benchmark in BENCHMARKS if not only or benchmark.name in only]
    with Lab() as lab:
        for benchmark in chosen:
            print(f"Measuring {benchmark.name} …", file=sys.stderr, flush=True)
            measured = benchmark.run(lab)
            results[benchmark.name] = {
                "ratio": round(measured.ratio, 4),
                "aim": benchmark.aim,
                "rounds": len(measured.ratios),
                "detail": {
                    "lowest": round(min(measured.ratios), 3),
                    "highest": round(max(measured.ratios), 3),
                    **measured.detail,
                },
            }
            _write(results)
    _show(chosen, results)
    missed = [one.name for one in chosen if not one.met(results[one.name]["ratio"])]
    return 1 if arguments.check and missed else 0


def _read() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {one.name: known[one.name] for one in BENCHMARKS if one.name in known}


def _write(results: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    ordered = {one.name: results[one.name] for one in BENCHMARKS if one.name in results}
    RESULTS.write_text(json.dumps(ordered, indent=2) + "\n")


def _show(benchmarks: list[Benchmark], results: dict[str, Any]) -> None:
    table = Table("figure", "what", "against", "ratio", "lowest to highest", "aim", "", "detail")
    for benchmark in benchmarks:
        result = results[benchmark.name]
        table.add_row(
            benchmark.name,
            benchmark.what,
            benchmark.against,
            f"{result['ratio']:g}",
            _range(result),
            _aim(benchmark),
            _met(benchmark, result),
            _detail(result),
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _markdown(results: dict[str, Any]) -> str:
    lines = [
        "| figure | what | against | ratio | lowest to highest | aim | absolute |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in BENCHMARKS:
        if result := results.get(one.name):
            lines.append(
                f"| `{one.name}` | {one.what} | {one.against} | **{result['ratio']:g}** | {_range(result)} "
                f"| {_aim(one)} | {_detail(result)} |"
            )
    return "\n".join(lines)


def _met(benchmark: Benchmark, result: dict[str, Any]) -> str:
    if benchmark.aim is None:
        return ""
    return "met" if benchmark.met(result["ratio"]) else "missed"


def _aim(benchmark: Benchmark) -> str:
    if benchmark.aim is None:
        return "none"
    return f"{'≥' if benchmark.more_is_better else '≤'} {benchmark.aim:g}"


def _range(result: dict[str, Any]) -> str:
    detail = result["detail"]
    return f"{detail['lowest']:g} to {detail['highest']:g} in {result['rounds']}"


def _detail(result: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in result["detail"].items() if name not in ("lowest", "highest")
    )


if __name__ == "__main__":
    sys.exit(main())
