"""Keys, as a user meets them: added, tested, shown, replaced and removed; and never left lying about."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Request, expect

from tests.panel.support import Panel
from tests.support import Emulator, Stack, User, key_for

CANARY = key_for("groq", 31337)


def card(panel: Panel, provider: str = "Groq") -> Locator:
    return panel.root.get_by_role("article", name=provider)


def add(panel: Panel, key: str = CANARY) -> None:
    card(panel).get_by_role("button", name="Add a key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(key)
    card(panel).get_by_role("button", name="Save the key").click()


def test_a_key_is_added_tested_and_counts(panel: Panel, user: User) -> None:
    expect(panel.root.get_by_text("Bring your own keys")).to_be_visible()
    expect(card(panel)).to_contain_text("no key")
    add(panel)
    expect(card(panel)).to_contain_text("The key works.")
    expect(card(panel)).to_contain_text("working")
    expect(card(panel)).to_contain_text("gsk…1337")
    expect(card(panel)).to_contain_text("Pays now: your key")
    expect(card(panel, "Mistral")).to_contain_text("the app's key")
    (stored,) = user.stack.rpc("list_llm_keys", token=user.access_token).json()
    assert stored["status"] == "working"


def test_what_is_no_key_is_told_and_stays_to_be_corrected(panel: Panel) -> None:
    add(panel, "sk-of-somebody-else")
    expect(card(panel).get_by_role("alert")).to_contain_text("does not look like a key")
    expect(card(panel).get_by_label("Your Groq key")).to_have_value("sk-of-somebody-else")


def test_a_rejected_key_is_told_and_replaced(panel: Panel, providers: Emulator) -> None:
    providers.fail(401)
    add(panel)
    expect(card(panel)).to_contain_text("The provider rejects the key")
    expect(card(panel)).to_contain_text("rejected by the provider: replace it")
    card(panel).get_by_role("button", name="Replace the Groq key").click()
    card(panel).get_by_label("Your Groq key").fill(key_for("groq", 4))
    card(panel).get_by_label("Your Groq key").press("Enter")
    expect(card(panel)).to_contain_text("The key works.")


def test_what_could_not_be_told_says_why(panel: Panel, providers: Emulator) -> None:
    providers.fail(500)
    add(panel)
    expect(card(panel)).to_contain_text("It could not be told: The provider has a fault of its own")
    expect(card(panel)).to_contain_text("not tested yet")


def test_a_key_is_tested_before_it_is_saved(panel: Panel, user: User) -> None:
    card(panel).get_by_role("button", name="Add a key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Test", exact=True).click()
    expect(card(panel)).to_contain_text("The key works.")
    card(panel).get_by_role("button", name="Cancel").click()
    assert user.stack.rpc("list_llm_keys", token=user.access_token).json() == []


def test_a_key_is_shown_for_half_a_minute_and_on_the_record(panel: Panel, user: User) -> None:
    add(panel)
    expect(card(panel)).to_contain_text("The key works.")
    panel.page.clock.install()
    card(panel).get_by_role("button", name="Show the Groq key").click()
    expect(card(panel)).to_contain_text(CANARY)
    panel.page.clock.run_for(31_000)
    expect(card(panel)).not_to_contain_text(CANARY)
    log = user.stack.rpc("get_llm_audit_log", token=user.access_token).json()
    assert "key_revealed" in [entry["action"] for entry in log]


def test_where_the_operator_does_not_want_it_no_key_is_shown(
    open_panel: Callable[..., Panel], user: User, stack: Stack
) -> None:
    stack.admin("set_llm_operator_settings", p_changes={"reveal_enabled": False})
    try:
        panel = open_panel(user)
        add(panel)
        expect(card(panel)).to_contain_text("The key works.")
        expect(card(panel).get_by_role("button", name="Show the Groq key")).to_have_count(0)
    finally:
        stack.admin("set_llm_operator_settings", p_changes={"reveal_enabled": True})


def test_a_key_is_removed_after_a_question(panel: Panel, user: User) -> None:
    add(panel)
    expect(card(panel)).to_contain_text("The key works.")
    card(panel).get_by_role("button", name="Remove the Groq key").click()
    card(panel).get_by_role("button", name="Cancel").click()
    expect(card(panel)).to_contain_text("gsk…1337")
    card(panel).get_by_role("button", name="Remove the Groq key").click()
    card(panel).get_by_role("button", name="Remove the key", exact=True).click()
    expect(card(panel)).to_contain_text("The Groq key is removed.")
    assert user.stack.rpc("list_llm_keys", token=user.access_token).json() == []


def test_a_key_is_left_nowhere(panel: Panel) -> None:
    heard: list[str] = []
    carriers: list[str] = []

    def watch(request: Request) -> None:
        heard.append(request.url + str(request.headers))
        if CANARY in (request.post_data or ""):
            carriers.append(request.url.split("?")[0].split("/", 3)[3])

    panel.page.on("request", watch)
    panel.page.on("console", lambda message: heard.append(message.text))
    card(panel).get_by_role("button", name="Add a key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Test", exact=True).click()
    expect(card(panel)).to_contain_text("The key works.")
    assert CANARY not in markup(panel)
    card(panel).get_by_role("button", name="Save the key").click()
    expect(card(panel)).to_contain_text("working")
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
    """All that is in the document, shadow roots and attributes included; not what fields hold."""
    return str(
        panel.page.evaluate(
            "() => document.documentElement.outerHTML + document.querySelector('supa-llm-settings')"
            ".shadowRoot.innerHTML"
        )
    )


def test_keys_are_managed_with_the_keyboard_alone(panel: Panel) -> None:
    press = panel.page.keyboard.press
    card(panel).get_by_role("button", name="Add a key for Groq").focus()
    press("Enter")
    expect(card(panel).get_by_label("Your Groq key")).to_be_focused()
    panel.page.keyboard.type(CANARY)
    press("Enter")
    expect(card(panel)).to_contain_text("The key works.")
    expect(card(panel).get_by_role("button", name="Test the Groq key")).to_be_focused()
    press("Enter")
    expect(card(panel).get_by_role("button", name="Test the Groq key")).to_be_enabled()
    expect(card(panel).get_by_role("button", name="Test the Groq key")).to_be_focused()
    for _ in range(3):
        press("Tab")
    press("Enter")
    expect(card(panel).get_by_role("button", name="Remove the key", exact=True)).to_be_focused()
    press("Enter")
    expect(card(panel)).to_contain_text("is removed")
    expect(card(panel).get_by_role("button", name="Add a key for Groq")).to_be_focused()


def test_a_key_that_was_saved_is_out_of_memory(panel: Panel) -> None:
    """A snapshot of the page's heap, after collecting garbage, does not hold it."""
    add(panel)
    expect(card(panel)).to_contain_text("The key works.")
    assert CANARY not in heap(panel)
    panel.page.evaluate(f"window.kept = ['{CANARY}']")
    assert CANARY in heap(panel)  # so it would have been found


def heap(panel: Panel) -> str:
    """What the page can still reach, as the browser's profiler writes it."""
    profiler = panel.page.context.new_cdp_session(panel.page)
    pieces: list[str] = []
    profiler.on("HeapProfiler.addHeapSnapshotChunk", lambda event: pieces.append(event["chunk"]))
    profiler.send("HeapProfiler.enable")
    profiler.send("HeapProfiler.collectGarbage")
    profiler.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    profiler.detach()
    return "".join(pieces)


def test_each_state_of_a_card_is_accessible_and_has_room(panel: Panel, providers: Emulator) -> None:
    card(panel).get_by_role("button", name="Add a key for Groq").click()
    panel.assert_accessible()
    panel.assert_laid_out()
    providers.fail(401)
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Save the key").click()
    expect(card(panel)).to_contain_text("The provider rejects the key")
    panel.assert_accessible()
    card(panel).get_by_role("button", name="Show the Groq key").click()
    expect(card(panel)).to_contain_text(CANARY)
    panel.assert_accessible()
    panel.assert_laid_out()
    card(panel).get_by_role("button", name="Remove the Groq key").click()
    expect(card(panel)).not_to_contain_text(CANARY)
    panel.assert_accessible()
    panel.assert_laid_out()


def test_a_limited_key_says_until_when_it_rests(panel: Panel, providers: Emulator) -> None:
    add(panel)
    expect(card(panel)).to_contain_text("The key works.")
    providers.fail(429, retry_after=3600)
    card(panel).get_by_role("button", name="Test the Groq key").click()
    expect(card(panel)).to_contain_text("rate-limited until")
    expect(card(panel)).to_contain_text("It could not be told: The provider asks to wait")


def test_who_tests_too_often_is_asked_to_wait(panel: Panel, user: User) -> None:
    for _ in range(10):
        user.rpc("begin_llm_key_check", provider="groq", key=CANARY)
    card(panel).get_by_role("button", name="Add a key for Groq").click()
    card(panel).get_by_label("Your Groq key").fill(CANARY)
    card(panel).get_by_role("button", name="Test", exact=True).click()
    expect(card(panel).get_by_role("alert")).to_contain_text("tested many keys in a short time")
    expect(card(panel).get_by_label("Your Groq key")).to_have_value(CANARY)
