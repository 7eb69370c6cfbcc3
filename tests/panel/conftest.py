"""Fixtures for the panel's tests: a real browser on the page of `supa-llm panel`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.panel.chromium import FLAGS, find_chromium
from tests.panel.serving import serve_site
from tests.panel.support import Panel
from tests.support import Emulator, Stack, User


# Per module, because Playwright's event loop would block asynchronous tests in the same thread.
@pytest.fixture(scope="module")
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
    """The URL of the page."""
    with serve_site(stack) as url:
        yield url


@pytest.fixture
def open_panel(browser: Browser, site: str, providers: Emulator) -> Iterator[Callable[..., Panel]]:
    """Opens the page in a new browser context with these options, or in the given page."""
    panels: list[Panel] = []

    def opened(user: User | None = None, page: Page | None = None, **options: object) -> Panel:
        if page is None:
            defaults = {"locale": "en-US", "timezone_id": "UTC", "viewport": {"width": 1280, "height": 900}}
            options = {**defaults, **options}
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
