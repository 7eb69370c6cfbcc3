"""The Tasks tab, in a real browser on the real stack."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.panel.support import Panel
from tests.support import User

OpenPanel = Callable[..., Panel]


@pytest.fixture
def tasks(open_panel: OpenPanel, user: User) -> Page:
    """The Tasks tab of a new user."""
    return show(open_panel(user))


def show(panel: Panel) -> Page:
    panel.go("Tasks")
    expect(panel.page.get_by_role("heading", name="Tasks", exact=True)).to_be_visible()
    return panel.page


def card(page: Page, task: str) -> Locator:
    return page.get_by_role("group", name=task, exact=True)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def overrides(user: User) -> Any:
    return user.rpc("get_llm_settings")["task_overrides"]


def test_a_known_task_is_overridden_and_reset(tasks: Page, user: User) -> None:
    code = card(tasks, "Code")
    code.get_by_role("button", name="Choose provider").click()
    expect(code.get_by_role("combobox", name="Provider", exact=True)).to_be_focused()
    code.get_by_role("combobox", name="Provider", exact=True).select_option(label="Anthropic")
    code.get_by_label("Model for Code").fill("claude-own")
    save(tasks)
    assert overrides(user) == {"code": {"provider": "anthropic", "model": "claude-own"}}
    # Another provider has other models.
    code.get_by_role("combobox", name="Provider", exact=True).select_option(label="Groq")
    expect(code.get_by_label("Model for Code")).to_have_value("")
    code.get_by_role("button", name="Reset to default").click()
    expect(code.get_by_role("button", name="Choose provider")).to_be_focused()
    save(tasks)
    assert overrides(user) == {}


def test_custom_fallbacks_are_an_ordered_list_that_may_be_empty(tasks: Page, user: User) -> None:
    code = card(tasks, "Code")
    code.get_by_role("button", name="Choose provider").click()
    code.get_by_role("combobox", name="Provider", exact=True).select_option(label="Groq")
    own = code.get_by_role("switch", name="Custom fallbacks")
    own.check()
    save(tasks)
    assert overrides(user) == {"code": {"provider": "groq", "fallbacks": []}}
    for place, name in enumerate(["OpenAI", "Google", "Mistral"], start=1):
        code.get_by_role("button", name="Add fallback").click()
        code.get_by_role("combobox", name=f"Fallback {place}", exact=True).select_option(label=name)
    code.get_by_label("Model for fallback 2, Google").fill("gemini-own")
    code.get_by_role("button", name="More actions for fallback 2, Google").click()
    code.get_by_role("menuitem", name="Move up").click()
    expect(code.get_by_label("Model for fallback 1, Google")).to_have_value("gemini-own")
    expect(code.get_by_role("button", name="More actions for fallback 1, Google")).to_be_focused()
    code.get_by_role("button", name="More actions for fallback 2, OpenAI").click()
    code.get_by_role("menuitem", name="Remove").click()
    expect(code.get_by_role("button", name="More actions for fallback 2, Mistral")).to_be_focused()
    save(tasks)
    assert overrides(user)["code"]["fallbacks"] == [
        {"provider": "google", "model": "gemini-own"},
        {"provider": "mistral"},
    ]
    own.uncheck()
    save(tasks)
    assert overrides(user) == {"code": {"provider": "groq"}}


def test_a_new_task_is_added_with_the_keyboard_alone(tasks: Page, user: User) -> None:
    tasks.get_by_label("Another task").focus()
    tasks.keyboard.type("diary")
    tasks.keyboard.press("Enter")
    expect(card(tasks, "diary").get_by_role("combobox", name="Provider", exact=True)).to_be_focused()
    save(tasks)
    assert list(overrides(user)) == ["diary"]
    card(tasks, "diary").get_by_role("button", name="Reset to default").click()
    expect(card(tasks, "diary")).to_have_count(0)
    save(tasks)
    assert overrides(user) == {}


@pytest.mark.parametrize("name", ["x" * 65, "tab\there"])
def test_invalid_task_names_are_refused(tasks: Page, name: str) -> None:
    tasks.get_by_label("Another task").fill(name)
    tasks.get_by_role("button", name="Add task").click()
    expect(tasks.get_by_role("alert").filter(has_text="1 to 64 printable characters")).to_be_visible()
    expect(tasks.get_by_role("button", name="Save", exact=True)).to_have_count(0)


def test_an_invalid_model_is_explained(tasks: Page, user: User) -> None:
    code = card(tasks, "Code")
    code.get_by_role("button", name="Choose provider").click()
    code.get_by_label("Model for Code").fill("two words")
    tasks.get_by_role("button", name="Save", exact=True).click()
    expect(tasks.get_by_role("alert").filter(has_text="without spaces")).to_have_count(2)
    assert overrides(user) == {}


def test_the_route_preview_shows_the_task_before_and_after(tasks: Page, user: User) -> None:
    user.rpc("set_llm_key", provider="groq", key="gsk_" + "a" * 52)
    user.rpc("set_llm_key", provider="mistral", key="b" * 32)
    tasks.reload()
    tasks.get_by_role("tab", name="Tasks", exact=True).click()
    code = card(tasks, "Code")
    code.get_by_role("button", name="Choose provider").click()
    code.get_by_role("combobox", name="Provider", exact=True).select_option(label="Mistral")
    code.get_by_role("switch", name="Custom fallbacks").check()
    expect(tasks.get_by_role("combobox", name="Task", exact=True)).to_have_value("code")
    after = tasks.locator("[data-test=route-after]")
    # The user's key, then the app's.
    asked = after.get_by_role("list", name="Candidates").get_by_role("listitem")
    expect(asked).to_contain_text(
        [re.compile("Mistral.*your key", re.S), re.compile("Mistral.*app's key", re.S)]
    )
    expect(after).to_contain_text("your choice for this task")
    after.get_by_text("Skipped").click()
    expect(after).to_contain_text("Groq is not one of your fallbacks for this task.")
    before = tasks.locator("[data-test=route-before]")
    expect(before.get_by_role("listitem").filter(has_text="Groq")).to_contain_text("removed")


def test_providers_that_can_serve_come_first(open_panel: OpenPanel, user: User) -> None:
    user.rpc("set_llm_key", provider="google", key="AIza" + "a" * 35)
    page = show(open_panel(user))
    code = card(page, "Code")
    code.get_by_role("button", name="Choose provider").click()
    # The app has a Mistral key, which comes before Google in the catalog.
    select = code.get_by_role("combobox", name="Provider", exact=True)
    expect(select).to_have_value("mistral")
    expect(select.locator("> option")).to_have_text(["Mistral", "Google"])
    # Other tests leave providers in the project.
    others = select.locator("optgroup[label='No key'] > option").all_text_contents()
    assert others[:3] == ["OpenAI", "Groq", "Anthropic"]
    code.get_by_role("switch", name="Custom fallbacks").check()
    code.get_by_role("button", name="Add fallback").click()
    expect(code.get_by_role("combobox", name="Fallback 1", exact=True)).to_have_value("google")


def test_an_app_names_its_tasks(tasks: Page, user: User) -> None:
    tasks.evaluate(
        """() => {
            document.querySelector("supa-llm-settings").tasks = [
                { task: "summary", label: "Summaries", description: "The notes of each meeting" },
                { task: "code", label: "Programming" },
            ];
        }"""
    )
    summaries = card(tasks, "Summaries")
    expect(summaries).to_contain_text("The notes of each meeting")
    expect(card(tasks, "Programming")).to_be_visible()
    # Only the app's tasks are there, and users cannot invent others.
    expect(card(tasks, "Quick answers")).to_have_count(0)
    expect(tasks.get_by_label("Another task")).to_have_count(0)
    summaries.get_by_role("button", name="Choose provider").click()
    summaries.get_by_role("combobox", name="Provider", exact=True).select_option(label="Groq")
    expect(tasks.get_by_role("combobox", name="Task", exact=True)).to_have_value("summary")
    save(tasks)
    assert overrides(user) == {"summary": {"provider": "groq"}}


def test_an_attribute_names_the_apps_tasks(tasks: Page) -> None:
    panel = tasks.locator("supa-llm-settings")
    panel.evaluate("""panel => panel.setAttribute("tasks", '{"summary": "Summaries"}')""")
    expect(card(tasks, "Summaries")).to_be_visible()
    panel.evaluate("""panel => panel.removeAttribute("tasks")""")
    expect(card(tasks, "Code")).to_be_visible()


def test_task_names_are_never_markup(open_panel: OpenPanel, user: User) -> None:
    name = "<img src=x onerror=document.title=1>"
    changes = {"task_overrides": {name: {"provider": "groq"}, "__proto__": {"provider": "openai"}}}
    user.rpc("set_llm_settings", p_changes=changes)
    page = show(open_panel(user))
    expect(card(page, name)).to_be_visible()
    expect(card(page, "__proto__").get_by_role("combobox", name="Provider", exact=True)).to_have_value(
        "openai"
    )
    page.get_by_role("combobox", name="Task", exact=True).select_option(name)
    assert page.locator("img").count() == 0
    expect(page).to_have_title("LLM settings")
    card(page, name).get_by_role("button", name="Reset to default").click()
    card(page, "__proto__").get_by_role("combobox", name="Provider", exact=True).select_option(label="Google")
    save(page)
    assert overrides(user) == {"__proto__": {"provider": "google"}}


def test_two_pages_merge_tasks_and_ask_about_conflicts(
    tasks: Page, open_panel: OpenPanel, user: User
) -> None:
    other = show(open_panel(user))
    card(tasks, "Code").get_by_role("button", name="Choose provider").click()
    card(tasks, "Code").get_by_role("combobox", name="Provider", exact=True).select_option(label="Groq")
    save(tasks)
    card(other, "Code").get_by_role("button", name="Choose provider").click()
    card(other, "Code").get_by_role("combobox", name="Provider", exact=True).select_option(label="Mistral")
    card(other, "Quick answers").get_by_role("button", name="Choose provider").click()
    card(other, "Quick answers").get_by_role("combobox", name="Provider", exact=True).select_option(
        label="Google"
    )
    other.get_by_role("button", name="Save", exact=True).click()
    question = other.get_by_role("group", name="The task “Code”")
    expect(question).to_be_visible()
    assert overrides(user) == {"code": {"provider": "groq"}}
    question.get_by_role("button", name="Mine: Mistral").click()
    save(other)
    assert overrides(user) == {"code": {"provider": "mistral"}, "speed": {"provider": "google"}}
