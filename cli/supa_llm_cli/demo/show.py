"""The output of the demo: short lines, in color on a terminal, else plain text."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from supa_llm.values.receipts import Attempt, KeySource, Receipt
from supa_llm.values.routes import Candidate, Route
from supa_llm.values.usage import UsageLine

_WIDTH = 80
_TEXT_WIDTH = 56
_PLACE = 29
#: Next steps: a program installed with this Python (None: Python itself), its arguments, its purpose.
_NEXT = (
    ("supa-llm", "local up", "start a local project that stays"),
    ("supa-llm", "panel", "open its panel: http://127.0.0.1:54330"),
    ("supa-llm", "init", "add supa-llm to your project"),
    (None, "-m pydoc supa_llm", "read about the Python client"),
)
_STYLES = {"succeeded": "green", "failed": "yellow", "cancelled": "yellow"}


class Show:
    """Prints the story, without any decisions of its own."""

    def __init__(self, console: Console | None = None) -> None:
        if console is None:
            with contextlib.suppress(AttributeError, ValueError):
                sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # for terminals whose encoding lacks a character
        self._console = console or Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """Show a spinner on a terminal. Print lines to standard error if it is not a terminal."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield lambda text: print(text, file=sys.stderr, flush=True)
            return
        with console.status("Starting …") as spinner:
            yield spinner.update

    def opening(self, url: str, seconds: float, emulated: Sequence[str], real: Sequence[str]) -> None:
        self._print("supa-llm: the users of your app bring their own LLM keys", "bold")
        rows = {
            "project": f"PostgreSQL, PostgREST, Supabase Auth at {url} ({seconds:.1f} s)",
            "real": ", ".join(real) or "none. To use real providers, set OPENAI_API_KEY, GROQ_API_KEY, …",
            "emulated": f"{', '.join(emulated) or 'none'} (llmock, made-up keys)",
        }
        for name, text in rows.items():
            self._print(Text.assemble((f"  {name:<10}", "dim"), text))

    def chapter(self, title: str) -> None:
        self._print("")
        self._print(title, "bold cyan")

    def note(self, text: str, indent: str = "  ") -> None:
        self._print(textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent))

    def event(self, who: str, what: str) -> None:
        """Print an action of a user, or an event at a provider."""
        self._print(Text.assemble("  ", (who, "bold"), f" {what}"))

    def person(self, name: str, keys: Iterable[str], preferences: str) -> None:
        line = f"{', '.join(keys) or 'no key'}; {preferences}"
        lines = textwrap.fill(line, _WIDTH - 8, subsequent_indent=" " * 8)
        self._print(Text.assemble("  ", (f"{name:<6}", "bold"), lines))

    def route(self, name: str, what: str, route: Route) -> None:
        self.event(name, what)
        for number, candidate in enumerate(route.candidates, 1):
            key = _key(name, candidate)
            self._print(
                Text.assemble(
                    f"    {number}  {_place(candidate):<{_PLACE}}",
                    f"{key:<20}",
                    (candidate.reason, "magenta"),
                )
            )
        reasons: dict[str, list[str]] = {}
        for line in route.skipped:
            reasons.setdefault(line.reason, []).append(line.provider)
        for reason, providers in reasons.items():
            self._print(f"    -  skipped, {reason}: {', '.join(providers)}", "dim")

    def receipt(self, name: str, receipt: Receipt, text: str | None = "") -> None:
        """Print the attempts with their keys, and the answer unless `text` is None."""
        for attempt in receipt.attempts:
            self._attempt(name, attempt)
        if text is not None and (answer := receipt.answered_by):
            line = " ".join(text.split())
            line = line if len(line) <= _TEXT_WIDTH else line[: _TEXT_WIDTH - 1] + "…"
            tokens = f"{answer.usage.input_tokens or 0}+{answer.usage.output_tokens or 0} tokens"
            self._print(Text.assemble("       ", (f"{line}  ".lstrip(), "italic"), (tokens, "dim")))

    def pieces(self, pieces: Iterable[str]) -> Iterator[str]:
        """Print a streamed text as it arrives."""
        self._console.print("       ", end="")
        for piece in pieces:
            self._console.print(" ".join(piece.split("\n")), end="", style="italic")
            yield piece
        self._print("")

    def claim(self, text: str, difference: str | None = None) -> None:
        """Print a claim that holds, or its difference from the result."""
        if difference is None:
            lines = textwrap.fill(text, _WIDTH - 4, subsequent_indent="    ")
            self._print(Text.assemble("  ", ("✓ ", "green"), lines))
        else:
            self._print(Text.assemble("  ", ("✗ ", "bold red"), text))
            self._print(f"      {difference}", "red")

    def usage(self, usage: Mapping[str, Sequence[UsageLine]]) -> None:
        form = "  {:<5}{:<29}{:<6}{:<9}{:>3}{:>5}{:>5}{:>5}{:>11}"
        heads = ("user", "provider/model", "task", "key", "try", "fail", "in", "out", "cost")
        self._print(form.format(*heads), "bold")
        for name, lines in usage.items():
            for line in lines:
                place = f"{line.provider}/{line.model}"
                cost = "unpriced" if line.cost is None else f"${line.cost:.7f}"
                numbers = (line.attempts, line.failures, line.input_tokens, line.output_tokens, cost)
                self._print(form.format(name, place, line.task or "", line.key_source or "", *numbers))

    def ending(self, claims: int, broken: int) -> None:
        self.chapter("Next steps")
        commands = [(f"{as_typed(program)} {arguments}", what) for program, arguments, what in _NEXT]
        width = max(len(command) for command, _ in commands)
        for command, what in commands:
            self._print(Text.assemble((f"  {command:<{width}}  ", "bold"), what))
        self._print("")
        if broken:
            self._print(f"{broken} of {claims} checks failed. See ✗ above.", "bold red")
        else:
            self._print(f"All {claims} checks passed.", "bold green")

    def _attempt(self, name: str, attempt: Attempt) -> None:
        what: str = attempt.error_class or ("answered" if attempt.outcome == "succeeded" else attempt.outcome)
        if attempt.error_class and attempt.status:
            what += f" {attempt.status}"
        self._print(
            Text.assemble(
                f"    {attempt.number}  {_place(attempt):<{_PLACE}}",
                (f"{what:<17}", _STYLES[attempt.outcome]),
                f"{attempt.latency_ms:>4} ms  {_whose(name, attempt)}",
            )
        )

    def _print(self, text: Any, style: str | None = None) -> None:
        self._console.print(text, style=style)


def as_typed(program: str | None) -> str:
    """Return what to type to run a program installed with this Python, or Python itself (None).

    That is its name if it is on the PATH, else its path: after `make quickstart` it is only in .venv.
    """
    python = Path(sys.executable)
    path = python.with_name(program) if program else python
    found = shutil.which(path.name)
    if not path.exists() or (found and os.path.abspath(found) == str(path)):
        return path.name
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _place(of: Candidate | Attempt) -> str:
    return f"{of.provider}/{of.model}"


def _key(name: str, of: Candidate | Attempt) -> str:
    return f"{_whose(name, of)} {of.key_hint or ''}"


def _whose(name: str, of: Candidate | Attempt) -> str:
    whose: dict[KeySource, str] = {"user": f"{name}'s key", "team": "team key", "operator": "operator's key"}
    return whose[of.key_source]
