"""The Usage and Activity tabs: totals, receipts, usage limits, alerts and the activity log."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from playwright.sync_api import expect

from supa_llm import SupaLLM
from tests.panel.support import Panel
from tests.support import PASSWORD, Emulator, Stack, User, key_for

HOSTILE = "<img src=x onerror=alert(1)>"


def use(stack: Stack, user: User, providers: Emulator) -> None:
    """A priced request, an unpriced one that a fallback answered, and a quota."""
    client = stack.client()
    client.auth.sign_in_with_password({"email": user.email, "password": PASSWORD})
    with SupaLLM(client, operator_keys={}) as llm:
        llm.set_key("groq", key_for("groq", 1))
        llm.set_key("openai", key_for("openai", 1))
        llm.set_price("groq", "llama-3.1-8b-instant", {"input": 500, "output": 1000})
        llm.set_quota(10, "requests", "day")
        llm.chat("Hello", task="speed")
        providers.fail(500, path="/groq/*")
        llm.chat("Hello", task=HOSTILE, model="groq/llama-3.1-8b-instant")
        llm.flush()


def test_empty_tabs_explain_themselves(panel: Panel) -> None:
    expect(panel.go("Usage")).to_contain_text("No usage in this period")
    expect(panel.go("Activity")).to_contain_text("No activity yet")
    panel.assert_accessible()
    panel.assert_laid_out()


def test_totals_and_receipts_are_shown(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    panel = open_panel(user)
    usage = panel.go("Usage")
    (total,) = stack.rpc("get_llm_usage", user.access_token, p_bucket=None, p_by=[]).json()
    figures = usage.locator("dd.figure")
    expect(figures.nth(1)).to_have_text("2")
    assert total["unpriced"] == 1
    expect(usage).to_contain_text("≥ $")
    expect(usage).to_contain_text("1 attempt has no price.")
    requests = usage.locator("supa-llm-requests")
    expect(requests.get_by_role("row", name="OpenAI")).to_contain_text("unpriced")
    details = requests.get_by_role("button", name="attempts").first
    details.press("Enter")
    expect(details).to_have_attribute("aria-expanded", "true")
    expect(usage).to_contain_text("1. Groq llama-3.1-8b-instant: provider error, your key")
    expect(usage).to_contain_text("2. OpenAI")
    expect(usage).to_contain_text("2 of 10")
    expect(usage).to_contain_text("Resets on")
    expect(usage).to_contain_text(HOSTILE)
    expect(panel.root.locator("img")).to_have_count(0)
    panel.assert_accessible()
    panel.assert_laid_out()


def test_the_apps_limit_and_the_users_own_have_different_titles(
    open_panel: Callable[..., Panel], stack: Stack, user: User
) -> None:
    quota = {"unit": "cost", "period": "month", "key_source": "operator"}
    stack.admin("set_llm_quota", p_quota=quota | {"limit": 5, "user_id": user.id})
    user.rpc("set_llm_quota", p_quota=quota | {"limit": 2})
    panel = open_panel(user)
    limits = panel.go("Usage").locator("[part=quotas] li")
    expect(limits).to_have_count(2)
    for setter, limit in (("the app", "$5.00"), ("you", "$2.00")):
        expect(limits.filter(has_text=f"the app's key · set by {setter}")).to_contain_text(f"of {limit}")
    panel.assert_laid_out()


def test_tips_are_in_the_users_language(open_panel: Callable[..., Panel], user: User) -> None:
    for model, rate in (("large", 10), ("small", 2)):
        user.rpc("set_llm_price", p_provider="groq", p_model=model, p_rates={"input": rate, "output": rate})
        record(user, 1, model=model, p_task="speed", p_input_tokens=10**5)
    panel = open_panel(user)
    tips = panel.go("Usage").get_by_role("region", name="Tips")
    expect(tips).to_contain_text("Quick answers: for the same tokens, small would have cost about 80% less")
    panel.page.evaluate("document.querySelector('supa-llm-settings').lang = 'de'")
    tips = panel.root.get_by_role("region", name="Tipps")
    expect(tips).to_contain_text(
        re.compile(r"hätte small in den letzten 30 Tagen etwa 80\s% weniger gekostet")
    )


def test_requests_are_filtered(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    requests = open_panel(user).go("Usage").locator("supa-llm-requests")
    rows = requests.locator("tbody tr")
    expect(rows).to_have_count(2)
    requests.get_by_role("combobox", name="Task").select_option(label="Quick answers")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("llama-3.1-8b-instant")
    requests.get_by_role("combobox", name="Outcome").select_option(label="failed")
    expect(requests).to_contain_text("Nothing matches these filters.")
    requests.get_by_role("button", name="Clear filters").click()
    expect(rows).to_have_count(2)
    # The second request tried Groq, too.
    requests.get_by_role("combobox", name="Provider").select_option(label="Groq")
    expect(rows).to_have_count(2)
    requests.get_by_role("combobox", name="Provider").select_option(label="OpenAI")
    expect(rows).to_have_count(1)


def test_requests_have_pages(open_panel: Callable[..., Panel], user: User) -> None:
    record(user, 45)
    panel = open_panel(user)
    requests = panel.go("Usage").locator("supa-llm-requests")
    rows = requests.locator("tbody tr")
    expect(requests).to_contain_text("1 to 20")
    expect(requests.get_by_role("button", name="Previous")).to_be_disabled()
    first = rows.first.inner_text()
    requests.get_by_role("button", name="Next").click()
    expect(requests).to_contain_text("21 to 40")
    assert rows.first.inner_text() != first
    requests.get_by_role("button", name="Next").click()
    expect(requests).to_contain_text("41 to 45")
    expect(rows).to_have_count(5)
    expect(requests.get_by_role("button", name="Next")).to_be_disabled()
    requests.get_by_role("button", name="Previous").click()
    expect(requests).to_contain_text("21 to 40")
    panel.assert_accessible()
    panel.assert_laid_out()


def record(user: User, count: int, *, model: str | None = None, **changes: Any) -> None:
    """Requests of the last hours, a minute apart; by default with models to tell them apart."""
    now = datetime.now(UTC)
    for number in range(count):
        attempt = {
            "p_request_id": uuid7(now - timedelta(minutes=number)),
            "p_attempt": 1,
            "p_task": None,
            "p_provider": "groq",
            "p_model": model or f"model-{number}",
            "p_key_source": "user",
            "p_key_id": None,
            "p_outcome": "succeeded",
            "p_error_class": None,
            "p_latency_ms": 10,
            "p_input_tokens": 1,
            "p_output_tokens": 1,
        }
        user.rpc("record_llm_usage", **attempt | changes)


def uuid7(at: datetime) -> str:
    tail = uuid4().hex
    return str(UUID(f"{int(at.timestamp() * 1000):012x}7{tail[:3]}8{tail[3:18]}"))


def test_alerts_are_dismissed(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    # Reveals raise an alert. The one for the missing price is the operator's business.
    for _ in range(2):
        user.rpc("reveal_llm_key", p_provider="groq")
    kinds = {alert["kind"] for alert in stack.rpc("list_llm_alerts", user.access_token).json()}
    assert kinds == {"key_revealed", "price_missing"}
    panel = open_panel(user)
    panel.go("Usage")
    alerts = panel.root.get_by_role("region", name="Alerts")
    expect(alerts).to_contain_text("was shown")
    expect(alerts).not_to_contain_text("price")
    panel.assert_accessible()
    alerts.get_by_role("button", name="Dismiss").click()
    expect(alerts).to_have_count(0)
    assert "key_revealed" not in {
        alert["kind"] for alert in stack.rpc("list_llm_alerts", user.access_token).json()
    }


def test_the_activity_log_is_shown(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    log = open_panel(user).go("Activity")
    expect(log).to_contain_text("Groq key gsk…0001 saved")
    expect(log).to_contain_text("available to the app for requests until")
    expect(log.get_by_role("row").nth(1)).to_contain_text("You")


def test_the_activity_log_names_the_results_of_key_checks(panel: Panel, providers: Emulator) -> None:
    card = panel.root.get_by_role("article", name="Groq")
    card.get_by_role("button", name="Add key for Groq").click()
    card.get_by_label("Your Groq key").fill(key_for("groq", 1))
    card.get_by_role("button", name="Save key").click()
    expect(card).to_contain_text("Working")
    providers.fail(401)
    card.get_by_role("button", name="Check key for Groq").click()
    expect(card).to_contain_text("Rejected")
    log = panel.go("Activity")
    rows = log.locator("tbody tr")
    expect(rows).to_contain_text(
        ["Groq key gsk…0001 checked: rejected", "Groq key gsk…0001 checked: works", "Groq key gsk…0001 saved"]
    )
    log.get_by_role("combobox", name="Event").select_option(label="Settings")
    expect(log).to_contain_text("Nothing matches these filters.")
    panel.assert_accessible()
    log.get_by_role("button", name="Clear filters").click()
    expect(rows).to_have_count(3)
    panel.assert_accessible()
    panel.assert_laid_out()


def test_the_activity_log_says_that_it_is_verified_or_which_entry_was_changed(
    open_panel: Callable[..., Panel], user: User, db: psycopg.Connection[Any]
) -> None:
    for fallbacks in (False, True):
        user.rpc("set_llm_settings", p_changes={"enable_fallbacks": fallbacks})
    panel = open_panel(user)
    expect(panel.go("Activity")).to_contain_text("Verified: 2 entries, sealed until")
    panel.assert_accessible()
    panel.assert_laid_out()
    db.execute("update public.llm_audit_log set detail = '{}' where user_id = %s", [user.id])
    panel.go("Order")
    log = panel.go("Activity")
    expect(log.get_by_role("alert")).to_contain_text("was changed")
    panel.assert_accessible()
    for table in ("public.llm_audit_log", "llm_private.audit_seals", "llm_private.audit_findings"):
        db.execute(f"delete from {table} where user_id = %s", [user.id])


def test_the_activity_log_has_pages(open_panel: Callable[..., Panel], user: User) -> None:
    for number in range(25):
        user.rpc("set_llm_settings", p_changes={"enable_fallbacks": number % 2 == 1})
    log = open_panel(user).go("Activity")
    expect(log.locator("tbody tr")).to_have_count(20)
    log.get_by_role("button", name="Next").click()
    expect(log.locator("tbody tr")).to_have_count(5)
    expect(log.locator("tbody tr").first).to_contain_text("Settings changed: fallbacks")


def test_a_tab_that_fails_to_load_is_reported(panel: Panel) -> None:
    panel.page.route("**/assets/activity-*.js", lambda route: route.abort())
    panel.root.get_by_role("tab", name="Activity").click()
    expect(panel.root.get_by_role("tabpanel").get_by_role("alert")).to_contain_text("Couldn't load this tab.")
    expect(panel.go("Order")).to_contain_text("Provider order")
    panel.complaints.clear()


def test_the_chart_loads_when_it_is_first_shown(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    panel = open_panel(user)
    loaded: list[str] = []
    panel.page.on("request", lambda request: loaded.append(request.url))
    panel.go("Order")
    assert not [url for url in loaded if "chart" in url]
    usage = panel.go("Usage")
    chart = usage.locator("supa-llm-usage-chart")
    expect(chart.locator(".bars rect")).not_to_have_count(0)
    assert [url for url in loaded if "chart" in url]
    usage.get_by_role("combobox", name="Group by").select_option("model")
    expect(usage.locator("supa-llm-usage-chart")).to_contain_text("llama-3.1-8b-instant")
    # The pointer and the arrow keys show a day's figures.
    bar = chart.locator(".bars rect").last.bounding_box()
    assert bar
    panel.page.mouse.move(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    tip = chart.locator(".tip")
    expect(tip).to_contain_text("llama-3.1-8b-instant")
    expect(tip).to_contain_text("2 requests")
    panel.page.mouse.move(0, 0)
    expect(tip).to_have_count(0)
    slider = chart.get_by_role("slider", name="Usage per day")
    usage.get_by_role("combobox", name="Group by").focus()
    panel.page.keyboard.press("Tab")
    expect(slider).to_be_focused()
    expect(tip).to_contain_text("2 requests")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("llama-3.1-8b-instant \\$"))
    panel.page.keyboard.press("ArrowLeft")
    expect(tip).to_contain_text("No usage")
    panel.page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "1")
    panel.assert_accessible()
    panel.page.keyboard.press("Escape")
    expect(tip).to_have_count(0)
    usage.get_by_text("Data table").click()
    expect(usage.get_by_role("region", name="Data table")).to_contain_text("gpt-5-mini")
    panel.assert_accessible()
    panel.assert_laid_out()
