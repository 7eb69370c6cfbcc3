"""The page around the panel, and what its tabs have in common."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Route, expect

from tests.panel.support import Panel
from tests.support import PASSWORD, Stack, User, key_for

TABS = ("Providers", "Order", "Tasks", "Team", "Usage", "Activity")


@pytest.mark.parametrize("tab", TABS)
def test_signing_in_shows_the_settings_and_signing_out_leaves_no_data(
    panel: Panel, user: User, tab: str
) -> None:
    assert panel.root.get_by_role("tab").all_inner_texts() == list(TABS)
    panel.go(tab)
    panel.page.get_by_role("button", name="Sign out").click()
    expect(panel.page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(panel.root.get_by_role("tab")).to_have_count(0)
    assert user.email not in panel.page.content()


def test_a_wrong_password_is_reported(open_panel: Callable[..., Panel], user: User) -> None:
    panel = open_panel()
    panel.page.get_by_label("Email").fill(user.email)
    panel.page.get_by_label("Password").fill(f"{PASSWORD}?")
    panel.page.get_by_role("button", name="Sign in").click()
    expect(panel.page.get_by_role("alert")).to_contain_text("Invalid login credentials")


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_is_accessible_and_fits_any_width(panel: Panel, tab: str) -> None:
    panel.go(tab)
    panel.page.wait_for_load_state("networkidle")
    panel.assert_accessible()
    panel.assert_laid_out()


def test_german_fits_any_width(open_panel: Callable[..., Panel], user: User) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq", 1))
    user.rpc(
        "set_llm_settings", p_changes={"task_overrides": {"code": {"provider": "groq", "fallbacks": []}}}
    )
    panel = open_panel(user)
    panel.page.evaluate("document.querySelector('supa-llm-settings').lang = 'de'")
    for tab in ("Anbieter", "Reihenfolge", "Aufgaben", "Team", "Nutzung", "Protokoll"):
        panel.go(tab)
        panel.page.wait_for_load_state("networkidle")
        panel.assert_laid_out()


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_tabs_stay_in_one_line(panel: Panel, lang: str) -> None:
    panel.page.evaluate(f"document.querySelector('supa-llm-settings').lang = '{lang}'")
    for width in (320, 390, 700):
        panel.page.set_viewport_size({"width": width, "height": 800})
        tabs = panel.root.get_by_role("tab").all()
        assert len({box["y"] for tab in tabs if (box := tab.bounding_box())}) == 1
        # No label is cut off.
        cut = panel.root.get_by_role("tablist").evaluate(
            "list => [...list.querySelectorAll('span')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert cut == 0


def test_the_save_bar_leaves_the_focused_control_visible(panel: Panel) -> None:
    panel.page.set_viewport_size({"width": 390, "height": 600})
    panel.go("Order").get_by_role("switch").first.uncheck()
    bar = panel.root.locator(".save-bar")
    expect(bar).to_be_visible()
    panel.root.get_by_role("tabpanel").focus()
    for _ in range(40):
        panel.page.keyboard.press("Tab")
        if panel.root.locator(".save-bar :focus").count():
            break
        focused = panel.root.locator(":focus").last
        box, covered = focused.bounding_box(), bar.bounding_box()
        assert box
        assert covered
        assert box["y"] + box["height"] <= covered["y"] + 1, focused.evaluate("e => e.outerHTML")
    else:
        raise AssertionError("the save bar never got the focus")


def test_a_toast_is_seen_and_leaves_by_itself(panel: Panel) -> None:
    panel.page.clock.install()
    panel.go("Order").get_by_label("Fall back to the next provider").uncheck()
    panel.save()
    toast = panel.root.locator(".toast")
    # It is at the end of the window, however far the page is scrolled.
    panel.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(toast).to_be_in_viewport()
    # While the pointer is on it, it stays.
    toast.hover()
    panel.page.clock.run_for(20_000)
    expect(toast).to_be_visible()
    panel.page.mouse.move(0, 0)
    panel.page.clock.run_for(3_500)
    expect(toast).to_have_count(0)


@pytest.mark.parametrize("way", ["click", "button", "Escape"])
def test_a_toast_is_dismissed(panel: Panel, way: str) -> None:
    panel.page.clock.install()
    panel.go("Order").get_by_label("Fall back to the next provider").uncheck()
    panel.save()
    toast = panel.root.locator(".toast")
    if way == "click":
        toast.get_by_text("Saved.").click()
    elif way == "button":
        toast.get_by_role("button", name="Dismiss").press("Enter")
    else:
        panel.page.keyboard.press("Escape")
    expect(toast).to_have_count(0)


def test_toasts_cover_only_the_corner_of_a_wide_window(panel: Panel) -> None:
    panel.page.clock.install()
    panel.page.set_viewport_size({"width": 1100, "height": 800})
    card = panel.root.get_by_role("article", name="Groq")
    card.get_by_role("button", name="Add key for Groq").click()
    card.get_by_label("Your Groq key").fill(key_for("groq", 1))
    card.get_by_role("button", name="Save key").click()
    toasts = panel.root.locator(".toast")
    expect(toasts).to_have_count(1)
    order = panel.go("Order")
    order.get_by_label("Fall back to the next provider").uncheck()
    bar = panel.root.locator(".save-bar").bounding_box()
    long = toasts.bounding_box()
    assert bar
    assert long
    assert long["y"] + long["height"] <= bar["y"]
    panel.save()
    short = toasts.filter(has_text="Saved.").bounding_box()
    long = toasts.filter(has_text="Groq").bounding_box()
    assert short
    assert long
    for box in (short, long):
        assert box["x"] + box["width"] == pytest.approx(1100 - 16, abs=1)
        assert box["y"] > 600
    # A click beside the short toast, below or above the long one, reaches the page.
    assert long["x"] < short["x"] - 10
    beside = [short["x"] - 10, short["y"] + short["height"] / 2]
    assert panel.root.evaluate(
        "(host, [x, y]) => !host.shadowRoot.elementFromPoint(x, y)?.closest('supa-llm-toasts')", beside
    )


def test_arrow_keys_switch_tabs(panel: Panel) -> None:
    panel.root.get_by_role("tab", name="Providers").focus()
    for key, tab in (
        ("ArrowRight", "Order"),
        ("End", "Activity"),
        ("ArrowRight", "Providers"),
        ("ArrowLeft", "Activity"),
    ):
        panel.page.keyboard.press(key)
        expect(panel.root.get_by_role("tab", name=tab)).to_be_focused()
        expect(panel.root.get_by_role("tabpanel", name=tab)).to_be_visible()


def test_the_attribute_lang_sets_the_language(panel: Panel) -> None:
    panel.page.evaluate("document.querySelector('supa-llm-settings').lang = 'de'")
    expect(panel.root.get_by_role("tab", name="Anbieter")).to_be_visible()


def test_the_page_speaks_the_browsers_language(open_panel: Callable[..., Panel], user: User) -> None:
    panel = open_panel(locale="de-AT")
    page = panel.page
    expect(page.get_by_role("heading", name="Anmelden")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de-AT")
    page.get_by_label("E-Mail").fill(user.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    expect(panel.root.get_by_role("tab", name="Anbieter")).to_be_visible()
    panel.assert_accessible()
    panel.assert_laid_out()


def test_a_page_in_no_known_language_is_english(open_panel: Callable[..., Panel]) -> None:
    expect(open_panel(locale="fr-FR").page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_new_user_has_the_browsers_time_zone(open_panel: Callable[..., Panel], user: User) -> None:
    open_panel(user, timezone_id="Asia/Tokyo")
    assert user.rpc("get_llm_settings")["time_zone"] == "Asia/Tokyo"


def test_the_content_security_policy_is_strict(site: str, stack: Stack) -> None:
    answer = httpx.get(site)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert f"connect-src 'self' {stack.api_url}" in policy
    assert "unsafe" not in policy
    assert httpx.get(f"{site}/assets/../index.html").status_code == 404
    assert httpx.get(f"{site}/assets/%2e%2e/%2e%2e/package.json").status_code == 404


def test_a_page_sets_the_theme(panel: Panel) -> None:
    panel.page.evaluate(
        """() => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(`
                supa-llm-settings {
                    --supa-llm-accent: rgb(102, 51, 153);
                    --supa-llm-surface: rgb(250, 240, 230);
                }
                supa-llm-settings::part(tab) { text-transform: uppercase }
            `);
            document.adoptedStyleSheets = [sheet];
        }"""
    )
    tab = panel.root.get_by_role("tab", name="Providers")
    expect(tab).to_have_css("border-bottom-color", "rgb(102, 51, 153)")
    expect(tab).to_have_css("text-transform", "uppercase")
    expect(panel.root).to_have_css("background-color", "rgb(250, 240, 230)")
    panel.root.evaluate("panel => panel.setAttribute('theme', 'dark')")
    expect(panel.root).to_have_css("color-scheme", "dark")


def test_a_late_answer_reaches_no_other_user(panel: Panel, new_user: Callable[[], User]) -> None:
    held: list[Route] = []
    panel.page.route("**/rpc/set_llm_key", lambda route: held.append(route))
    panel.root.get_by_role("button", name="Add key for Groq").click()
    panel.root.get_by_label("Your Groq key").fill(key_for("groq", 1))
    panel.root.get_by_role("button", name="Save key").click()
    panel.page.wait_for_timeout(200)
    # By script, because the open dialog covers the button.
    panel.page.evaluate("document.querySelector('#sign-out').click()")
    panel.sign_in(new_user())
    with panel.page.expect_response("**/rpc/set_llm_key"):
        held[0].continue_()
    panel.page.wait_for_timeout(200)
    expect(panel.root.get_by_role("article", name="Groq")).to_contain_text("No key")


def test_the_next_user_sees_no_data_of_the_previous_one(
    panel: Panel, user: User, new_user: Callable[[], User]
) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq", 1))
    panel.page.reload()
    expect(panel.root.get_by_role("article", name="Groq")).to_contain_text("gsk…0001")
    panel.page.get_by_role("button", name="Sign out").click()
    panel.sign_in(new_user())
    expect(panel.root.get_by_role("article", name="Groq")).to_contain_text("No key")
    expect(panel.root).not_to_contain_text("gsk…0001")
