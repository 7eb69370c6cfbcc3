"""The panel as a user sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from tests.support import PASSWORD, ROOT, User

#: Widths from a small phone to a large screen.
WIDTHS = (320, 480, 768, 1024, 1600)


@cache
def _axe() -> str:
    return (ROOT / "panel" / "node_modules" / "axe-core" / "axe.min.js").read_text()


@cache
def _layout() -> str:
    return (ROOT / "tests" / "panel" / "layout.js").read_text()


@dataclass
class Panel:
    """The page of `supa-llm panel` in a browser.

    Attributes:
        complaints: script and policy errors of the page; a test that expects some clears them.
    """

    page: Page
    site: str
    complaints: list[str] = field(default_factory=list)

    def open(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)
        self.page.goto(self.site)

    def sign_in(self, user: User) -> None:
        self.page.get_by_label("Email").fill(user.email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.root.get_by_role("tab").first).to_be_visible()

    @property
    def root(self) -> Locator:
        """The element itself."""
        return self.page.locator("supa-llm-settings")

    def go(self, tab: str) -> Locator:
        """Show a tab and return its view."""
        self.root.get_by_role("tab", name=tab, exact=True).click()
        return self.root.get_by_role("tabpanel", name=tab)

    def save(self) -> None:
        self.root.get_by_role("button", name="Save", exact=True).click()
        expect(self.root.get_by_text("Saved.")).to_be_visible()

    def assert_accessible(self) -> None:
        """axe finds no violation, in light and dark mode."""
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            # Evaluated, because the page's policy refuses scripts.
            self.page.evaluate(f"() => {{ if (!window.axe) {{ {_axe()} }} }}")
            found: list[dict[str, Any]] = self.page.evaluate(
                "async () => (await axe.run(document)).violations"
            )
            said = [
                f"{rule['id']}: {rule['help']}: {[node['html'][:160] for node in rule['nodes']]}"
                for rule in found
            ]
            assert said == [], (scheme, said)

    def assert_laid_out(self) -> None:
        """No control overlaps another and nothing overflows, at any width."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            found = self.page.evaluate(_layout())
            assert found == {"over": [], "wide": 0}, (width, found)

    def _heard(self, message: ConsoleMessage) -> None:
        # The panel itself reports refused requests, so the browser's line about them is no error.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)
