"""Fixtures of the panel's tests: a real browser on the page of `supa-llm panel`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from supa_llm.local.ports import pick_free
from supa_llm.panel import panel_site
from tests.panel.chromium import FLAGS, find_chromium
from tests.panel.support import Panel
from tests.support import Emulator, Stack, User, wait_until


# Not for the session: Playwright's loop counts as running in this thread, and asynchronous tests need one.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    found = find_chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=found.program, args=list(FLAGS), env=found.environment()
        )
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def site(stack: Stack) -> Iterator[str]:
    """The URL of the page; the operator has keys for Mistral."""
    (port,) = pick_free(1)
    app = panel_site(stack.api_url, stack.publishable_key, operator_keys={"mistral": "m" * 32})
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, seconds=30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def open_panel(browser: Browser, site: str, providers: Emulator) -> Iterator[Callable[..., Panel]]:
    """Opens the page, in a context of its own unless one is given; options are those of a context."""
    panels: list[Panel] = []

    def opened(user: User | None = None, page: Page | None = None, **options: object) -> Panel:
        if page is None:
            options = {"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **options}
            page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
        panel = Panel(page, site)
        panels.append(panel)
        panel.open()
        if user is not None:
            panel.sign_in(user)
        return panel

    yield opened
    for panel in panels:
        panel.page.context.close()
    for panel in panels:
        assert panel.complaints == []


@pytest.fixture
def panel(open_panel: Callable[..., Panel], user: User) -> Panel:
    """The panel of a new user, signed in."""
    return open_panel(user)
