"""Keys in the panel: added, checked, shown, replaced and removed, and kept nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from playwright.sync_api import Locator, Request, expect

from tests.panel.support import Panel
from tests.support import Emulator, Stack, User, key_for

CANARY = key_for("groq", 31337)


def card(panel: Panel, provider: str = "Groq") -> Locator:
    return panel.root.get_by_role("article", name=provider)


def choose(panel: Panel, action: str, provider: str = "Groq") -> None:
    """Choose an action in the menu of a card."""
    card(panel, provider).get_by_role("button", name=f"More actions for the {provider} key").click()
    card(panel, provider).get_by_role("menuitem", name=action).click()


def expect_works(panel: Panel) -> None:
    expect(panel.root.get_by_text("The Groq key works.")).to_be_visible()


def add(panel: Panel, key: str = CANARY) -> None:
    card(panel).get_by_role("button", name="Add key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(key)
    card(panel).get_by_role("button", name="Save key").click()


def test_a_key_is_added_checked_and_used(panel: Panel, user: User) -> None:
    expect(panel.root.get_by_text("Bring your own keys")).to_be_visible()
    expect(card(panel)).to_contain_text("No key")
    add(panel)
    expect_works(panel)
    expect(card(panel)).to_contain_text("Working")
    expect(card(panel)).to_contain_text("gsk…1337")
    expect(card(panel)).to_contain_text("your key")
    expect(card(panel, "Mistral")).to_contain_text("The app's key")
    (stored,) = user.stack.rpc("list_llm_keys", token=user.access_token).json()
    assert stored["status"] == "working"


def test_a_malformed_key_is_refused_and_stays_to_be_corrected(panel: Panel) -> None:
    add(panel, "sk-of-somebody-else")
    expect(card(panel).get_by_role("alert")).to_contain_text("doesn't look like a key")
    expect(card(panel).get_by_label("Your Groq key")).to_have_value("sk-of-somebody-else")


def test_a_rejected_key_is_reported_and_replaced(panel: Panel, providers: Emulator) -> None:
    providers.fail(401)
    add(panel)
    expect(card(panel)).to_contain_text("The provider rejected the key")
    expect(card(panel)).to_contain_text("Rejected")
    card(panel).get_by_role("button", name="Replace key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(key_for("groq", 4))
    card(panel).get_by_label("Your Groq key").press("Enter")
    expect_works(panel)


def test_a_check_that_fails_says_why(panel: Panel, providers: Emulator) -> None:
    providers.fail(500)
    add(panel)
    expect(card(panel)).to_contain_text("Couldn't check the key: The provider reported an internal error.")
    expect(card(panel)).to_contain_text("Not checked yet")


def test_a_key_can_be_checked_before_it_is_saved(panel: Panel, user: User) -> None:
    card(panel).get_by_role("button", name="Add key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Check", exact=True).click()
    expect(card(panel)).to_contain_text("The key works.")
    card(panel).get_by_role("button", name="Cancel").click()
    assert user.stack.rpc("list_llm_keys", token=user.access_token).json() == []


def test_a_key_is_shown_for_half_a_minute_and_audited(panel: Panel, user: User) -> None:
    add(panel)
    expect_works(panel)
    panel.page.clock.install()
    choose(panel, "Show key")
    expect(card(panel)).to_contain_text(CANARY)
    panel.page.clock.run_for(31_000)
    expect(card(panel)).not_to_contain_text(CANARY)
    log = user.stack.rpc("get_llm_audit_log", token=user.access_token).json()
    assert "key_revealed" in [entry["action"] for entry in log]
    panel.page.reload()
    panel.go("Usage")
    expect(panel.page.get_by_text("key gsk…")).to_contain_text(
        "was shown. If that wasn't you, replace the key."
    )


def test_no_key_is_shown_if_the_operator_disables_it(
    open_panel: Callable[..., Panel], user: User, stack: Stack
) -> None:
    disabled = {"keys_readable_by": "runtime", "reveal_enabled": False}
    stack.admin("set_llm_operator_settings", p_changes=disabled)
    try:
        panel = open_panel(user)
        add(panel)
        expect_works(panel)
        card(panel).get_by_role("button", name="More actions").click()
        expect(card(panel).get_by_role("menuitem", name="Replace key")).to_be_visible()
        expect(card(panel).get_by_role("menuitem", name="Show key")).to_have_count(0)
    finally:
        enabled = {"keys_readable_by": "owner", "reveal_enabled": True}
        stack.admin("set_llm_operator_settings", p_changes=enabled)


def test_a_key_is_removed_after_confirmation(panel: Panel, user: User) -> None:
    add(panel)
    expect_works(panel)
    choose(panel, "Remove key")
    card(panel).get_by_role("button", name="Cancel").click()
    expect(card(panel)).to_contain_text("gsk…1337")
    choose(panel, "Remove key")
    card(panel).get_by_role("button", name="Remove key", exact=True).click()
    expect(panel.root.get_by_text("Groq key removed.")).to_be_visible()
    assert user.stack.rpc("list_llm_keys", token=user.access_token).json() == []


def test_a_key_is_kept_nowhere_in_the_browser(panel: Panel) -> None:
    heard: list[str] = []
    carriers: list[str] = []

    def watch(request: Request) -> None:
        heard.append(request.url + str(request.headers))
        if CANARY in (request.post_data or ""):
            carriers.append(request.url.split("?")[0].split("/", 3)[3])

    panel.page.on("request", watch)
    panel.page.on("console", lambda message: heard.append(message.text))
    card(panel).get_by_role("button", name="Add key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Check", exact=True).click()
    expect(card(panel)).to_contain_text("The key works.")
    assert CANARY not in markup(panel)
    card(panel).get_by_role("button", name="Save key").click()
    expect(card(panel)).to_contain_text("Working")
    assert CANARY not in "".join(heard)
    assert carriers == ["llm/keys/check", "rest/v1/rpc/set_llm_key"]
    kept = panel.page.evaluate(
        """async () => JSON.stringify([
            {...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state,
            await indexedDB.databases(), await caches.keys(),
        ])"""
    )
    assert CANARY not in kept + markup(panel)


def markup(panel: Panel) -> str:
    """The document's markup with shadow roots and attributes, but without the values of fields."""
    return str(
        panel.page.evaluate(
            "() => document.documentElement.outerHTML + document.querySelector('supa-llm-settings')"
            ".shadowRoot.innerHTML"
        )
    )


def test_keys_are_managed_with_the_keyboard_alone(panel: Panel) -> None:
    press = panel.page.keyboard.press
    card(panel).get_by_role("button", name="Add key for Groq").focus()
    press("Enter")
    expect(card(panel).get_by_label("Your Groq key")).to_be_focused()
    panel.page.keyboard.type(CANARY)
    press("Enter")
    expect_works(panel)
    expect(card(panel).get_by_role("button", name="Check key for Groq")).to_be_focused()
    press("Enter")
    expect(card(panel).get_by_role("button", name="Check key for Groq")).to_be_enabled()
    expect(card(panel).get_by_role("button", name="Check key for Groq")).to_be_focused()
    press("Tab")
    more = card(panel).get_by_role("button", name="More actions for the Groq key")
    expect(more).to_be_focused()
    press("Enter")
    expect(card(panel).get_by_role("menuitem", name="Show key")).to_be_focused()
    press("ArrowDown")
    expect(card(panel).get_by_role("menuitem", name="Replace key")).to_be_focused()
    press("Escape")
    expect(card(panel).get_by_role("menu")).to_have_count(0)
    expect(more).to_be_focused()
    press("ArrowUp")
    expect(card(panel).get_by_role("menuitem", name="Remove key")).to_be_focused()
    press("Enter")
    expect(card(panel).get_by_role("button", name="Remove key", exact=True)).to_be_focused()
    press("Escape")
    expect(card(panel).get_by_role("dialog")).to_have_count(0)
    expect(more).to_be_focused()
    press("Enter")
    press("r")
    press("r")
    expect(card(panel).get_by_role("menuitem", name="Remove key")).to_be_focused()
    press("Enter")
    press("Enter")
    expect(panel.root.get_by_text("Groq key removed.")).to_be_visible()
    expect(card(panel).get_by_role("button", name="Add key for Groq")).to_be_focused()


def test_a_saved_key_leaves_the_pages_memory(panel: Panel) -> None:
    """After garbage collection, a heap snapshot does not contain it."""
    add(panel)
    expect_works(panel)
    assert CANARY not in heap(panel)
    panel.page.evaluate(f"window.kept = ['{CANARY}']")
    assert CANARY in heap(panel)  # the search finds a key that is there


def heap(panel: Panel) -> str:
    """The page's reachable memory, from the browser's profiler."""
    profiler = panel.page.context.new_cdp_session(panel.page)
    pieces: list[str] = []
    profiler.on("HeapProfiler.addHeapSnapshotChunk", lambda event: pieces.append(event["chunk"]))
    profiler.send("HeapProfiler.enable")
    profiler.send("HeapProfiler.collectGarbage")
    profiler.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    profiler.detach()
    return "".join(pieces)


def test_each_state_of_a_card_is_accessible_and_fits(panel: Panel, providers: Emulator) -> None:
    card(panel).get_by_role("button", name="Add key for Groq").click()
    panel.assert_accessible()
    panel.assert_laid_out()
    providers.fail(401)
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Save key").click()
    expect(card(panel)).to_contain_text("The provider rejected the key")
    panel.assert_accessible()
    card(panel).get_by_role("button", name="More actions").click()
    expect(card(panel).get_by_role("menu")).to_be_visible()
    panel.assert_accessible()
    panel.assert_laid_out()
    card(panel).get_by_role("menuitem", name="Show key").click()
    expect(card(panel)).to_contain_text(CANARY)
    panel.assert_accessible()
    panel.assert_laid_out()
    card(panel).get_by_role("button", name="Close").click()
    expect(card(panel)).not_to_contain_text(CANARY)
    choose(panel, "Remove key")
    panel.assert_accessible()
    panel.assert_laid_out()


def test_all_cards_are_equally_high(panel: Panel) -> None:
    add(panel)
    expect_works(panel)
    heights = {round(box["height"]) for box in boxes(panel.root.get_by_role("article"))}
    assert len(heights) == 1


def boxes(shown: Locator) -> list[Any]:
    return [found.bounding_box() for found in shown.all()]


def test_marks_load_lazily_and_unknown_providers_have_an_initial(
    open_panel: Callable[..., Panel], user: User, stack: Stack, db: psycopg.Connection[Any]
) -> None:
    for provider, name in (("groq-eu", "Groq in Europe"), ("acme", "acme AI")):
        stack.admin(
            "set_llm_provider",
            p_provider={
                "id": provider,
                "name": name,
                "base_url": "https://acme.example",
                "default_model": "m",
            },
        )
    try:
        panel = open_panel()
        loaded: list[str] = []
        panel.page.on("request", lambda request: loaded.append(request.url))
        panel.sign_in(user)
        for provider in ("Groq", "Groq in Europe"):
            article = panel.root.get_by_role("article", name=provider, exact=True)
            expect(article.locator(".mark path")).not_to_have_count(0)
        expect(card(panel, "acme AI").locator(".mark")).to_have_text("A")
        (marks,) = [url for url in loaded if "/marks-" in url]
        assert marks.startswith(panel.site)
        panel.assert_accessible()
    finally:
        db.execute("delete from public.llm_providers where id in ('groq-eu', 'acme')")


def test_a_rate_limited_key_shows_until_when(panel: Panel, providers: Emulator) -> None:
    add(panel)
    expect_works(panel)
    providers.fail(429, retry_after=3600)
    card(panel).get_by_role("button", name="Check key for Groq").click()
    expect(card(panel)).to_contain_text("Rate-limited until")
    expect(card(panel)).to_contain_text("Couldn't check the key: The provider is rate-limiting requests.")


def test_too_many_key_checks_are_refused(panel: Panel, user: User) -> None:
    for _ in range(10):
        user.rpc("begin_llm_key_check", provider="groq", key=CANARY)
    card(panel).get_by_role("button", name="Add key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Check", exact=True).click()
    expect(card(panel).get_by_role("alert")).to_contain_text("checked too many keys")
    expect(card(panel).get_by_label("Your Groq key")).to_have_value(CANARY)
