"""Trouble around the panel: sessions end, networks fail, texts are hostile, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Locator, Route, expect

from tests.panel.support import Panel
from tests.support import Stack, User, key_for

HOSTILE = "<img src=x onerror=alert(1)>"
UPDATE = "**/rpc/set_llm_settings"


def turn_off_fallbacks(panel: Panel) -> None:
    panel.go("Order").get_by_label("Fall back to the next provider").uncheck()
    expect(panel.root.get_by_text("1 unsaved change")).to_be_visible()


def left(shown: Locator) -> float:
    box = shown.bounding_box()
    assert box is not None
    return box["x"]


def saved(user: User) -> Any:
    return user.stack.rpc("get_llm_settings", token=user.access_token).json()["enable_fallbacks"]


def test_a_deleted_account_is_reported_and_unsaved_changes_stay(
    panel: Panel, user: User, db: psycopg.Connection[Any]
) -> None:
    turn_off_fallbacks(panel)
    db.execute("delete from auth.users where id = %s", [user.id])
    panel.root.get_by_role("button", name="Save", exact=True).click()
    expect(panel.root.get_by_role("alert").first).to_contain_text("Your session has ended")
    expect(panel.root.get_by_text("1 unsaved change")).to_be_visible()


def test_an_expired_session_leaves_no_data(panel: Panel) -> None:
    expect(panel.root.get_by_role("article", name="Groq")).to_be_visible()
    panel.page.evaluate(
        """() => {
            const [name] = Object.keys(localStorage);
            const session = JSON.parse(localStorage.getItem(name));
            const ended = { ...session, expires_at: 1, refresh_token: "ended" };
            localStorage.setItem(name, JSON.stringify(ended));
        }"""
    )
    panel.page.reload()
    expect(panel.page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(panel.root.get_by_role("article")).to_have_count(0)


def test_saving_fires_an_event_for_the_app(panel: Panel, user: User) -> None:
    panel.page.evaluate(
        "() => { window.told = 0; document.addEventListener('supa-llm-saved', () => window.told++) }"
    )
    turn_off_fallbacks(panel)
    panel.save()
    card = panel.go("Providers").get_by_role("article", name="Groq")
    card.get_by_role("button", name="Add key for Groq").click()
    card.get_by_label("Your Groq key").fill(key_for("groq", 9))
    card.get_by_label("Your Groq key").press("Enter")
    expect(panel.root.get_by_text("Groq key saved.").or_(panel.root.get_by_text("key works"))).to_be_visible()
    assert panel.page.evaluate("window.told") == 2


def test_unsaved_changes_wait_while_offline(panel: Panel, user: User) -> None:
    turn_off_fallbacks(panel)
    panel.page.context.set_offline(True)
    expect(panel.root.get_by_text("You're offline")).to_be_visible()
    panel.root.get_by_role("button", name="Save", exact=True).click()
    expect(panel.root.get_by_role("alert").first).to_contain_text("Can't reach the project")
    assert saved(user) is True
    panel.page.context.set_offline(False)
    expect(panel.root.get_by_text("You're offline")).to_have_count(0)
    panel.save()
    assert saved(user) is False


def test_a_slow_project_gets_one_request(panel: Panel, user: User) -> None:
    turn_off_fallbacks(panel)
    held: list[Route] = []
    panel.page.route(UPDATE, lambda route: held.append(route))
    panel.root.get_by_role("button", name="Save", exact=True).click()
    button = panel.root.get_by_role("button", name="Saving…")
    expect(button).to_be_disabled()
    (waiting,) = held
    waiting.continue_()
    expect(panel.root.get_by_text("Saved.")).to_be_visible()
    assert saved(user) is False


def test_a_failing_project_is_reported_and_retried(open_panel: Callable[..., Panel], user: User) -> None:
    panel = open_panel()
    panel.page.route("**/rpc/get_llm_settings", lambda route: route.fulfill(status=503, body="{}"))
    panel.page.get_by_label("Email").fill(user.email)
    panel.page.get_by_label("Password").fill("correct horse battery staple")
    panel.page.get_by_role("button", name="Sign in").click()
    expect(panel.root.get_by_role("alert")).to_contain_text("The project is unavailable")
    panel.page.unroute("**/rpc/get_llm_settings")
    panel.root.get_by_role("button", name="Try again").click()
    expect(panel.root.get_by_role("tab", name="Providers")).to_be_visible()


@pytest.fixture
def hostile_provider(stack: Stack, db: psycopg.Connection[Any]) -> Iterator[None]:
    stack.admin(
        "set_llm_provider",
        p_provider={
            "id": "hostile", "name": HOSTILE, "base_url": "https://hostile.example", "default_model": "m",
            "key_example": HOSTILE, "key_url": "https://hostile.example/'onclick='alert(1)",
        },
    )  # fmt: skip
    yield
    db.execute("delete from public.llm_keys where provider = 'hostile'")
    db.execute("delete from public.llm_providers where id = 'hostile'")


@pytest.mark.usefixtures("hostile_provider")
def test_the_key_of_a_provider_that_the_app_switched_off_can_be_removed(
    open_panel: Callable[..., Panel], user: User, stack: Stack
) -> None:
    user.rpc("set_llm_key", provider="hostile", key="key-of-a-provider-0123456789")
    user.rpc("set_llm_settings", p_changes={"task_overrides": {"code": {"provider": "hostile"}}})
    stack.admin("set_llm_provider", p_provider={"id": "hostile", "enabled": False})
    panel = open_panel(user)
    card = panel.root.get_by_role("article", name=HOSTILE)
    expect(card).to_contain_text("Switched off by the app")
    card.get_by_role("button", name=f"Remove key for {HOSTILE}").click()
    card.get_by_role("button", name="Remove key", exact=True).click()
    expect(card).to_have_count(0)
    assert user.rpc("list_llm_keys") == []
    tasks = panel.go("Tasks")
    provider = tasks.get_by_role("group", name="Code", exact=True).get_by_label("Provider")
    expect(provider).to_have_value("hostile")
    expect(provider.get_by_role("option", name="(switched off by the app)")).to_have_count(1)


@pytest.mark.usefixtures("hostile_provider")
def test_texts_from_the_database_are_never_markup(open_panel: Callable[..., Panel], user: User) -> None:
    user.stack.rpc(
        "set_llm_settings",
        token=user.access_token,
        p_changes={
            "default_provider": "hostile",
            "provider_preferences": {"hostile": {"model": "<svg/onload=alert(1)>"}},
            "task_overrides": {HOSTILE: {"provider": "hostile", "model": "<svg/onload=alert(1)>"}},
        },
    )
    user.stack.rpc(
        "set_llm_key", token=user.access_token, provider="hostile", key="<b>hint-is-long-enough</b>"
    )
    panel = open_panel(user)
    panel.page.on("dialog", lambda dialog: panel.complaints.append(dialog.message))
    for tab in ("Providers", "Order", "Tasks", "Usage", "Activity"):
        shown = panel.go(tab)
        panel.page.wait_for_load_state("networkidle")
        expect(panel.root.locator("img, [onload], [onerror], [onclick]")).to_have_count(0)
        if tab != "Usage":
            expect(shown).to_contain_text(HOSTILE)
    panel.assert_laid_out()


def test_two_tabs_merge_each_others_changes(panel: Panel, user: User) -> None:
    page = panel.page.context.new_page()
    page.goto(panel.site)
    other = Panel(page, panel.site)
    expect(other.root.get_by_role("tab").first).to_be_visible()
    turn_off_fallbacks(panel)
    panel.save()
    order = other.go("Order")
    order.get_by_label("Default provider").select_option("groq")
    other.root.get_by_role("button", name="Save", exact=True).click()
    expect(other.root.get_by_text("were changed elsewhere")).to_be_visible()
    expect(order.get_by_label("Fall back to the next provider")).not_to_be_checked()
    other.save()
    assert saved(user) is False


def test_a_conflict_is_the_users_choice(panel: Panel, user: User) -> None:
    order = panel.go("Order")
    order.get_by_label("Default provider").select_option("groq")
    user.rpc("set_llm_settings", p_changes={"default_provider": "openai"})
    panel.root.get_by_role("button", name="Save", exact=True).click()
    question = panel.root.get_by_role("group", name="The default provider")
    expect(question).to_contain_text("was also changed elsewhere. Which version do you want to keep?")
    expect(panel.root.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    panel.assert_accessible()
    question.get_by_role("button", name="Mine: Groq").click()
    panel.save()
    assert user.rpc("get_llm_settings")["default_provider"] == "groq"
    order.get_by_label("Default provider").select_option("mistral")
    user.rpc("set_llm_settings", p_changes={"default_provider": "google"})
    panel.root.get_by_role("button", name="Save", exact=True).click()
    question.get_by_role("button", name="Theirs: Google").click()
    expect(order.get_by_label("Default provider")).to_have_value("google")
    expect(panel.root.get_by_role("button", name="Save", exact=True)).to_have_count(0)


def test_right_to_left_pages_mirror_the_panel(panel: Panel) -> None:
    panel.page.evaluate("document.documentElement.dir = 'rtl'")
    first, second = (panel.root.get_by_role("tab", name=name) for name in ("Providers", "Order"))
    assert left(first) > left(second)
    panel.root.get_by_role("tab", name="Providers").focus()
    panel.page.keyboard.press("ArrowLeft")
    expect(panel.root.get_by_role("tab", name="Order")).to_be_focused()
    for tab in ("Providers", "Order", "Tasks", "Usage", "Activity"):
        panel.go(tab)
        panel.page.wait_for_load_state("networkidle")
        panel.assert_laid_out()


def test_an_app_brings_its_own_texts(panel: Panel) -> None:
    panel.page.evaluate(
        "document.querySelector('supa-llm-settings').texts = {'tab.providers': 'Models', 'tab.usage': 'Bill'}"
    )
    expect(panel.root.get_by_role("tab", name="Models")).to_be_visible()
    expect(panel.root.get_by_role("tab", name="Bill")).to_be_visible()


def test_an_invalid_url_is_reported(panel: Panel) -> None:
    panel.page.evaluate(
        """() => {
            const other = document.createElement("supa-llm-settings");
            Object.assign(other, { id: "other", url: "project.example.com", publishableKey: "x" });
            document.body.append(other);
        }"""
    )
    other = panel.page.locator("#other")
    expect(other.get_by_role("alert")).to_contain_text("Check its URL")
    expect(other.get_by_role("button", name="Try again")).to_be_visible()
    assert "supabaseUrl" in panel.complaints.pop()
