"""The Order tab: provider order, defaults and the route preview, in a real browser on the real stack."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.panel.support import Panel
from tests.support import Stack, User

OpenPanel = Callable[..., Panel]
#: The panel asks the runtime first, then the project.
EXPLAIN = re.compile(r"/llm/explain$|/rpc/explain_llm_route$")
GROQ_KEY = "gsk_" + "a" * 52


@pytest.fixture
def order(open_panel: OpenPanel, user: User) -> Page:
    """The Order tab of a new user with a Groq key."""
    user.rpc("set_llm_key", provider="groq", key=GROQ_KEY)
    return show(open_panel(user))


def show(panel: Panel) -> Page:
    panel.go("Order")
    expect(panel.page.get_by_role("heading", name="Provider order")).to_be_visible()
    return panel.page


def names(page: Page) -> list[str]:
    return page.locator("#order-list .order-name").all_inner_texts()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def settings(user: User) -> Any:
    return user.rpc("get_llm_settings")


def choose(page: Page, provider: str, action: str) -> None:
    page.get_by_role("button", name=f"More actions for {provider}", exact=True).click()
    page.get_by_role("menuitem", name=action).click()


def priorities(user: User) -> list[str]:
    preferences = settings(user)["provider_preferences"]
    return sorted(preferences, key=lambda provider: preferences[provider]["priority"])


def route(page: Page, which: str) -> Locator:
    return page.locator(f"[data-test=route-{which}]").get_by_role("listitem")


def test_dragging_a_row_changes_the_order_and_nothing_else(order: Page, user: User) -> None:
    before = names(order)
    handle = order.locator('[data-provider="google"] .order-handle')
    handle.scroll_into_view_if_needed()
    start = handle.bounding_box()
    goal = order.locator("#order-list .order-row").first.bounding_box()
    assert start
    assert goal
    order.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    order.mouse.down()
    order.mouse.move(start["x"] + 10, start["y"] - 20, steps=5)
    order.mouse.move(goal["x"] + 20, goal["y"] + 4, steps=15)
    order.wait_for_timeout(300)
    order.mouse.up()
    expected = ["Google", *[name for name in before if name != "Google"]]
    expect(order.locator("#order-list .order-name")).to_have_text(expected)
    expect(order.locator("[data-test=moved]")).to_have_text(f"Google is now 1 of {len(before)}")
    # Lit still knows its rows, so the next render is right, too.
    order.get_by_role("button", name="Discard").click()
    expect(order.locator("#order-list .order-name")).to_have_text(before)
    choose(order, "Google", "Move up")
    at = before.index("Google")
    expect(order.locator("[data-test=moved]")).to_have_text(f"Google is now {at} of {len(before)}")
    save(order)
    assert priorities(user)[at - 1] == "google"


def test_the_keyboard_moves_a_row_and_stays_on_it(order: Page, user: User) -> None:
    before = names(order)
    at = before.index("Groq")
    handle = order.get_by_role("button", name="Move Groq,")
    handle.focus()
    expect(handle).to_have_accessible_description("Press the arrow keys to move the provider.")
    for place in range(at, 0, -1):
        order.keyboard.press("ArrowUp")
        expect(order.locator("[data-test=moved]")).to_have_text(f"Groq is now {place} of {len(before)}")
        expect(handle).to_be_focused()
    order.keyboard.press("ArrowUp")  # it is at the top
    order.keyboard.press("ArrowDown")
    expect(order.locator("[data-test=moved]")).to_have_text(f"Groq is now 2 of {len(before)}")
    expect(handle).to_be_focused()
    save(order)
    assert priorities(user)[1] == "groq"


def test_a_menu_moves_a_row_without_dragging(order: Page) -> None:
    before = names(order)
    choose(order, before[-1], "Move to the top")
    expect(order.locator("#order-list .order-name").first).to_have_text(before[-1])
    expect(order.get_by_role("button", name=f"More actions for {before[-1]}")).to_be_focused()
    order.keyboard.press("Enter")
    expect(order.get_by_role("menuitem", name="Move up")).to_be_disabled()
    order.keyboard.press("Escape")


def test_a_provider_without_a_key_is_marked_and_offers_to_add_one(order: Page) -> None:
    row = order.locator('[data-provider="openai"].order-row')
    expect(row).to_contain_text("No key")
    expect(row.get_by_role("switch")).to_have_count(0)
    # The app has a Mistral key.
    mistral = order.locator('[data-provider="mistral"].order-row')
    expect(mistral).to_contain_text("The app's key")
    order.get_by_role("switch", name="Use the app's keys").uncheck()
    expect(mistral).to_contain_text("No key")
    row.get_by_role("button", name="Add key for OpenAI").click()
    expect(order.get_by_label("Your OpenAI key")).to_be_focused()


@pytest.mark.parametrize("lang", ["en", "de"])
def test_rows_are_low_on_a_phone(order: Page, lang: str) -> None:
    order.evaluate(f"document.querySelector('supa-llm-settings').lang = '{lang}'")
    order.set_viewport_size({"width": 390, "height": 844})
    for row in order.locator("#order-list .order-row").all():
        box = row.bounding_box()
        assert box
        assert box["height"] <= 120


def test_a_provider_that_the_app_switched_off_stays_in_the_order(
    open_panel: OpenPanel, user: User, stack: Stack
) -> None:
    user.rpc("set_llm_settings", p_changes={"provider_preferences": {"google": {"priority": 1}}})
    stack.admin("set_llm_provider", p_provider={"id": "google", "enabled": False})
    try:
        page = show(open_panel(user))
        row = page.locator(".order-row").filter(has_text="Google")
        expect(row).to_contain_text("Switched off by the app")
        expect(row.get_by_role("switch")).to_have_count(0)
        assert "Google" not in names(page)
    finally:
        stack.admin("set_llm_provider", p_provider={"id": "google", "enabled": True})


def test_providers_are_turned_off_and_on(order: Page, user: User) -> None:
    use = order.get_by_role("switch", name="Use Mistral")
    use.uncheck()
    save(order)
    assert settings(user)["provider_preferences"] == {"mistral": {"enabled": False}}
    use.check()
    save(order)
    assert settings(user)["provider_preferences"] == {}


def test_a_model_is_suggested_with_its_price_or_typed_freely(order: Page, user: User) -> None:
    user.rpc(
        "set_llm_price", p_provider="groq", p_model="priced-model", p_rates={"input": 0.25, "output": 1.5}
    )
    field = order.get_by_role("combobox", name="Groq model")
    field.click()
    priced = order.get_by_role("option", name="priced-model")
    expect(priced).to_contain_text("$0.25 in, $1.50 out per million tokens")
    field.fill("priced")
    field.press("ArrowDown")
    field.press("Enter")
    expect(field).to_have_value("priced-model")
    save(order)
    assert settings(user)["provider_preferences"] == {"groq": {"model": "priced-model"}}
    field.fill("my-own/model:1")
    save(order)
    assert settings(user)["provider_preferences"] == {"groq": {"model": "my-own/model:1"}}
    expect(field).to_have_accessible_description("Not in the list of known Groq models. Check the spelling.")
    field.fill("")
    save(order)
    assert settings(user)["provider_preferences"] == {}


def test_a_known_model_has_no_warning(order: Page) -> None:
    field = order.get_by_role("combobox", name="Groq model")
    field.fill("llama-3.1-8b-instan")
    field.press("Tab")
    expect(order.get_by_text("Not in the list of known Groq models.")).to_be_visible()
    field.fill("llama-3.1-8b-instant")
    field.press("Tab")
    expect(order.get_by_text("Not in the list of known Groq models.")).to_have_count(0)


def test_an_invalid_value_is_explained_with_the_databases_hint(order: Page, user: User) -> None:
    order.get_by_label("Groq model").fill("two words")
    order.get_by_role("button", name="Save", exact=True).click()
    # Both the preview and saving show the error.
    expect(order.get_by_role("alert").filter(has_text="without spaces")).to_have_count(2)
    assert settings(user)["provider_preferences"] == {}
    expect(order.get_by_label("Groq model")).to_have_value("two words")


def test_default_fallbacks_consent_and_time_zone_are_saved(order: Page, user: User) -> None:
    order.get_by_label("Default provider").select_option(label="Google")
    order.get_by_role("switch", name="Fall back to the next provider").uncheck()
    order.get_by_role("switch", name="Use the app's keys").uncheck()
    zone = order.get_by_role("combobox", name="Time zone")
    zone.fill("new york")
    zone.press("Enter")
    expect(zone).to_have_value("America/New_York")
    # Text that is no zone is dropped.
    zone.fill("mars")
    zone.press("Tab")
    expect(zone).to_have_value("America/New_York")
    expect(order.get_by_role("button", name="Use UTC, this browser's time zone")).to_be_visible()
    zone.fill("berlin")
    zone.press("Enter")
    expect(order.get_by_text("4 unsaved changes")).to_be_visible()
    save(order)
    saved = settings(user)
    assert saved["default_provider"] == "google"
    assert saved["enable_fallbacks"] is False
    assert saved["allow_operator_keys"] is False
    assert saved["time_zone"] == "Europe/Berlin"
    order.get_by_label("Default provider").select_option(label="First in the order above")
    save(order)
    assert settings(user)["default_provider"] is None


def test_a_spending_limit_on_the_apps_keys_is_set_shown_and_removed(order: Page, user: User) -> None:
    field = order.get_by_label("Monthly limit (USD)")
    # 1,000 means a thousand in some countries and one in others.
    for typed in ("lots", "1,000", "1.000"):
        field.fill(typed)
        order.get_by_role("button", name="Set limit").click()
        expect(order.get_by_role("alert").filter(has_text="This limit is invalid.")).to_be_visible()
        assert user.rpc("list_llm_quotas") == []
    field.fill("2.50")
    order.get_by_role("button", name="Set limit").click()
    expect(order.get_by_text("You've used $0.00 of $2.50 this month.")).to_be_visible()
    (quota,) = user.rpc("list_llm_quotas")
    assert (quota["limit"], quota["unit"], quota["period"]) == (2.5, "cost", "month")
    assert (quota["key_source"], quota["enforced"], quota["set_by"]) == ("operator", True, "user")
    # The app's model has no price, so a spending limit skips it.
    order.locator("[data-test=route-before]").get_by_text("Skipped").click()
    expect(order.get_by_text("A spending limit applies to Mistral")).to_be_visible()
    order.get_by_role("button", name="Remove limit").click()
    expect(order.get_by_text("Spending limit removed.")).to_be_visible()
    assert user.rpc("list_llm_quotas") == []


def test_an_operators_lower_limit_is_shown(open_panel: OpenPanel, user: User, stack: Stack) -> None:
    stack.admin(
        "set_llm_quota",
        p_quota={"limit": 1, "unit": "cost", "period": "month", "key_source": "operator", "user_id": user.id},
    )
    page = show(open_panel(user))
    expect(page.get_by_text("The app itself limits you to $1.00 per month.")).to_be_visible()


def test_the_route_preview_compares_now_with_after_saving(order: Page, user: User) -> None:
    expect(route(order, "before").first).to_contain_text("Groq")
    expect(route(order, "before").first).to_contain_text("provider order")
    expect(order.locator("[data-test=route-after]")).to_have_count(0)
    order.get_by_role("switch", name="Use Groq").uncheck()
    after = order.locator("[data-test=route-after]")
    expect(route(order, "before").first).to_contain_text("removed")
    expect(route(order, "after").first).to_contain_text("Mistral")
    expect(route(order, "after").first).to_contain_text("the app's key")
    after.get_by_text("Skipped").click()
    expect(after.get_by_text("You turned Groq off.")).to_be_visible()
    # It was only a preview.
    assert settings(user)["provider_preferences"] == {}
    order.get_by_role("switch", name="Use the app's keys").uncheck()
    expect(after.get_by_text("No provider can serve this request.")).to_be_visible()
    expect(after.get_by_text("Add a key for one of")).to_be_visible()


def test_an_error_in_the_preview_keeps_the_previous_route(order: Page) -> None:
    expect(route(order, "before").first).to_contain_text("Groq")
    order.route(EXPLAIN, lambda request: request.abort())
    order.get_by_role("combobox", name="Task", exact=True).select_option("speed")
    alert = order.get_by_role("alert").filter(has_text="Can't reach the project")
    expect(alert).to_be_visible()
    order.unroute(EXPLAIN)
    alert.get_by_role("button", name="Try again").click()
    expect(alert).to_have_count(0)
    expect(route(order, "before").first).to_contain_text("Groq")


def test_a_late_answer_does_not_replace_a_newer_one(order: Page) -> None:
    held: list[Route] = []

    def hold(request: Route) -> None:
        if '"speed"' in (request.request.post_data or ""):
            held.append(request)
        else:
            request.continue_()

    order.route(EXPLAIN, hold)
    task = order.get_by_role("combobox", name="Task", exact=True)
    task.select_option("speed")
    order.wait_for_timeout(600)
    task.select_option("code")
    mistral = route(order, "before").filter(has_text="the app's key").first
    expect(mistral.locator(".code")).to_have_text("codestral-latest")
    for request in held:
        request.continue_()
    order.wait_for_timeout(600)
    assert held
    expect(mistral.locator(".code")).to_have_text("codestral-latest")


def test_two_pages_merge_their_changes_and_ask_about_conflicts(
    order: Page, open_panel: OpenPanel, user: User
) -> None:
    other = show(open_panel(user))
    order.get_by_role("switch", name="Use Mistral").uncheck()
    save(order)
    # The other page is outdated: it merges the change, and can then be saved.
    other.get_by_label("Groq model").fill("mine")
    other.get_by_role("button", name="Save", exact=True).click()
    expect(other.get_by_text("were changed elsewhere")).to_be_visible()
    expect(other.get_by_role("switch", name="Use Mistral")).not_to_be_checked()
    save(other)
    assert settings(user)["provider_preferences"] == {
        "mistral": {"enabled": False},
        "groq": {"model": "mine"},
    }
    # Now both change the same setting.
    order.get_by_label("Groq model").fill("theirs")
    order.get_by_role("button", name="Save", exact=True).click()
    question = order.get_by_role("group", name="The Groq model")
    expect(question).to_be_visible()
    assert settings(user)["provider_preferences"]["groq"] == {"model": "mine"}
    expect(order.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    question.get_by_role("button", name="Theirs: mine").click()
    expect(order.get_by_label("Groq model")).to_have_value("mine")
    expect(order.get_by_role("button", name="Save", exact=True)).to_have_count(0)


def test_model_names_are_never_markup(open_panel: OpenPanel, user: User) -> None:
    model = '"><img/src=x/onerror="document.title=1">'
    user.rpc("set_llm_key", provider="groq", key=GROQ_KEY)
    user.rpc("set_llm_settings", p_changes={"provider_preferences": {"groq": {"model": model}}})
    page = show(open_panel(user))
    expect(route(page, "before").first).to_contain_text(model)
    page.get_by_label("Groq model").focus()
    page.wait_for_timeout(300)
    assert page.locator("img").count() == 0
    expect(page).to_have_title("LLM settings")


@pytest.mark.parametrize("tab", ["Order", "Tasks"])
def test_a_filled_tab_is_accessible_and_fits_any_width(open_panel: OpenPanel, user: User, tab: str) -> None:
    fallbacks = [{"provider": "openai"}, {"provider": "google", "model": "gemini-own"}]
    override = {"provider": "groq", "model": "m" * 60, "fallbacks": fallbacks}
    user.rpc("set_llm_key", provider="groq", key=GROQ_KEY)
    user.rpc("set_llm_settings", p_changes={"task_overrides": {"code": override, "t" * 64: override}})
    panel = open_panel(user)
    panel.go("Order").get_by_role("switch", name="Use Groq").uncheck()
    view = panel.go(tab)
    view.get_by_role("heading", name="After saving").wait_for()
    for summary in view.locator("summary").all():
        summary.click()
    panel.assert_accessible()
    panel.assert_laid_out()
