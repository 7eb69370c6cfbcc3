"""What the tutorial asks its reader to do in the browser."""

from __future__ import annotations

from playwright.sync_api import expect, sync_playwright

from tests.panel.chromium import FLAGS, find_chromium
from tests.support import ROOT

_CDN = "https://cdn.jsdelivr.net/**"
_SUPABASE_JS = ROOT / "panel" / "node_modules" / "@supabase" / "supabase-js" / "dist" / "umd" / "supabase.js"


def use_app(url: str) -> None:
    """Sign in, get a summary, and find both requests in the panel."""
    found = find_chromium()
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.program, args=list(FLAGS), env=found.environment()
        )
        page = browser.new_page(locale="en-US")
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route(_CDN, lambda route: route.fulfill(path=_SUPABASE_JS, content_type="text/javascript"))
        page.goto(url)
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("listitem").filter(has_text="Call the dentist")).to_be_visible()
        page.get_by_role("button", name="Summarize").click()
        expect(page.get_by_text("(openai)")).to_be_visible()
        page.get_by_role("tab", name="Usage").click()
        expect(page.get_by_role("tabpanel", name="Usage")).to_contain_text("gpt-5")
        browser.close()
    assert errors == []
