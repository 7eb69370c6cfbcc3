"""The Usage and Activity tabs: totals, receipts, usage limits, alerts and the activity log."""

from __future__ import annotations

from collections.abc import Callable

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


def test_totals_and_receipts_are_shown(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    panel = open_panel(user)
    usage = panel.go("Usage")
    (total,) = stack.rpc("get_llm_usage", user.access_token, p_bucket=None, p_by=[]).json()
    figures = usage.locator("dd.figure")
    expect(figures.first).to_have_text("2")
    assert total["unpriced"] == 1
    expect(usage).to_contain_text("≥ $")
    expect(usage).to_contain_text("1 attempt has no price.")
    expect(usage.get_by_role("row", name="OpenAI")).to_contain_text("unpriced")
    usage.get_by_text("succeeded · ").first.click()
    expect(usage).to_contain_text("1. Groq llama-3.1-8b-instant: provider error, your key")
    expect(usage).to_contain_text("2. OpenAI")
    expect(usage).to_contain_text("2 of 10")
    expect(usage).to_contain_text("Resets on")
    expect(usage).to_contain_text(HOSTILE)
    expect(panel.root.locator("img")).to_have_count(0)
    panel.assert_accessible()
    panel.assert_laid_out()


def test_alerts_are_dismissed(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    panel = open_panel(user)
    expect(panel.go("Usage")).to_contain_text("has no price")
    alerts = panel.root.get_by_role("region", name="Alerts")
    alerts.get_by_role("button", name="Dismiss").click()
    expect(alerts).to_have_count(0)
    assert stack.rpc("list_llm_alerts", user.access_token).json() == []


def test_the_activity_log_is_shown(
    open_panel: Callable[..., Panel], stack: Stack, user: User, providers: Emulator
) -> None:
    use(stack, user, providers)
    log = open_panel(user).go("Activity")
    expect(log).to_contain_text("Groq key gsk…0001 saved")
    expect(log).to_contain_text("leased for requests until")
    expect(log.get_by_role("row").nth(1)).to_contain_text("You")


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
    expect(usage.locator("canvas")).to_be_visible()
    assert [url for url in loaded if "chart" in url]
    usage.get_by_role("combobox", name="Group by").select_option("model")
    expect(usage.locator("supa-llm-usage-chart")).to_contain_text("llama-3.1-8b-instant")
    usage.get_by_text("Data table").click()
    expect(usage.get_by_role("region", name="Data table")).to_contain_text("gpt-5-mini")
    panel.assert_accessible()
    panel.assert_laid_out()
