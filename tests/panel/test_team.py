"""Teams in the panel: made, joined, managed and left, by users with different roles."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.panel.support import Panel
from tests.panel.test_usage import uuid7
from tests.support import Emulator, Stack, User, key_for, unique

Open = Callable[..., Panel]
NewUser = Callable[[], User]


def section(panel: Panel, name: str) -> Locator:
    """Show a section of the Team tab."""
    panel.root.get_by_role("group", name="Sections").get_by_role("button", name=name, exact=True).click()
    return panel.root.get_by_role("tabpanel")


def dialog(panel: Panel) -> Locator:
    return panel.root.get_by_role("dialog")


def make_team(owner: User, name: str = "Research") -> str:
    made: str = owner.rpc("create_llm_team", p_name=name)["id"]
    return made


def join(owner: User, team: str, user: User, role: str = "member") -> None:
    made = owner.rpc("create_llm_team_invitation", p_team_id=team, p_role=role)
    user.rpc("accept_llm_team_invitation", p_invitation=made["token"])


def row(panel: Panel, user: User) -> Locator:
    return panel.root.locator(f'[data-member="{user.id}"]')


def act(panel: Panel, user: User, action: str) -> None:
    """Choose an action in a member's menu."""
    row(panel, user).get_by_role("button", name="More actions for").click()
    row(panel, user).get_by_role("menuitem", name=action).click()


def teams_of(user: User) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = user.rpc("list_llm_teams")
    return found


def test_a_team_is_made_and_a_member_joins_by_a_link_and_loses_it_again(
    open_panel: Open, user: User, new_user: NewUser
) -> None:
    owner = open_panel(user)
    owner.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    owner.go("Team").get_by_role("button", name="Create team").click()
    dialog(owner).get_by_label("Name").fill("Research")
    dialog(owner).get_by_role("button", name="Create team").click()
    expect(owner.root.get_by_role("heading", name="Research")).to_be_focused()
    expect(owner.root.get_by_text("Your role: Owner")).to_be_visible()
    expect(owner.root.get_by_label("Use this team for my requests")).to_be_checked()

    owner.root.get_by_role("button", name="Create link").click()
    link = dialog(owner).get_by_label("Link").input_value()
    assert link.startswith(f"{owner.site}/#llm-invitation=sli_")
    dialog(owner).get_by_role("button", name="Copy").click()
    expect(dialog(owner).get_by_text("Link copied.")).to_be_visible()
    assert owner.page.evaluate("navigator.clipboard.readText()") == link
    dialog(owner).get_by_role("button", name="Done").click()
    expect(owner.root.get_by_role("list", name="Open invitations").get_by_role("listitem")).to_have_count(1)
    assert link.split("=")[1] not in owner.page.evaluate(
        "document.querySelector('supa-llm-settings').shadowRoot.innerHTML"
    )

    ben = new_user()
    member = open_panel(page=owner.page.context.browser.new_context(locale="en-US").new_page())  # type: ignore[union-attr]
    member.page.goto(link)
    member.page.reload()
    member.sign_in(ben)
    # The link alone joins nothing.
    expect(member.root.get_by_role("heading", name="You opened an invitation to a team")).to_be_visible()
    assert teams_of(ben) == []
    member.root.get_by_role("button", name="Join team").click()
    expect(member.root.get_by_role("heading", name="Research")).to_be_visible()
    assert "sli_" not in member.page.url
    assert [(team["name"], team["role"]) for team in teams_of(ben)] == [("Research", "member")]
    assert ben.rpc("get_llm_settings")["default_team"] == teams_of(ben)[0]["id"]

    # The link is used up.
    cleo = new_user()
    other = open_panel(page=owner.page.context.browser.new_context(locale="en-US").new_page())  # type: ignore[union-attr]
    other.page.goto(link)
    other.page.reload()
    other.sign_in(cleo)
    other.root.get_by_role("button", name="Join team").click()
    expect(other.root.get_by_role("alert")).to_contain_text("This invitation is not valid")
    other.root.get_by_role("button", name="Not now").click()
    expect(other.root.get_by_text("No team yet")).to_be_visible()
    assert "sli_" not in other.page.url

    owner.page.reload()
    owner.go("Team")
    act(owner, ben, "Remove from team")
    dialog(owner).get_by_role("button", name="Remove from team").click()
    expect(row(owner, ben)).to_have_count(0)
    assert teams_of(ben) == []
    member.page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(member.root.get_by_text("No team yet")).to_be_visible()


def test_an_invitation_to_an_address_is_found_accepted_and_declined(
    open_panel: Open, user: User, new_user: NewUser
) -> None:
    first, second = make_team(user, "First"), make_team(user, "Second")
    ben = new_user()
    inviting = open_panel(user)
    inviting.go("Team")
    inviting.root.get_by_role("combobox", name="Team").select_option(label="First")
    inviting.root.get_by_label("Email address (optional)").fill(ben.email)
    inviting.root.get_by_label("Role").select_option("admin")
    inviting.root.get_by_role("button", name="Invite").click()
    expect(inviting.root.locator(".toast")).to_contain_text(f"{ben.email} is invited.")
    user.rpc("create_llm_team_invitation", p_team_id=second, p_email=ben.email)

    panel = open_panel(ben)
    panel.root.get_by_role("tab", name="Team 2 invitations").click()
    panel.root.get_by_role("button", name="Decline: Second").click()
    expect(panel.root.get_by_text("Invitation declined.")).to_be_visible()
    panel.root.get_by_role("button", name="Join team: First").click()
    expect(panel.root.get_by_text("Your role: Admin")).to_be_visible()
    expect(panel.root.get_by_role("tab", name="Team", exact=True)).to_be_visible()
    assert [team["id"] for team in teams_of(ben)] == [first]
    assert user.rpc("list_llm_team_invitations", p_team_id=second) == []


def test_a_pasted_link_joins_and_a_wrong_one_is_explained(
    open_panel: Open, user: User, new_user: NewUser
) -> None:
    team = make_team(user)
    token = user.rpc("create_llm_team_invitation", p_team_id=team)["token"]
    panel = open_panel(new_user())
    panel.go("Team").get_by_role("button", name="Join with an invitation").click()
    field = dialog(panel).get_by_label("Invitation link")
    field.fill("https://app.example/#llm-invitation=sli_wrong")
    dialog(panel).get_by_role("button", name="Join team").click()
    expect(dialog(panel).get_by_role("alert")).to_contain_text("not valid")
    expect(field).to_be_focused()
    field.fill(f"https://app.example/settings#llm-invitation={token}")
    field.press("Enter")
    expect(panel.root.get_by_role("heading", name="Research")).to_be_visible()


def test_an_invitation_is_revoked(open_panel: Open, user: User) -> None:
    team = make_team(user)
    user.rpc("create_llm_team_invitation", p_team_id=team)
    panel = open_panel(user)
    panel.go("Team").get_by_role("button", name="Revoke invitation: Anyone with the link").click()
    dialog(panel).get_by_role("button", name="Revoke").click()
    expect(panel.root.get_by_role("list", name="Open invitations")).to_have_count(0)
    assert user.rpc("list_llm_team_invitations", p_team_id=team) == []


def test_roles_are_changed_and_a_team_is_handed_over(open_panel: Open, user: User, new_user: NewUser) -> None:
    team, ben = make_team(user), new_user()
    join(user, team, ben)
    panel = open_panel(user)
    panel.go("Team")
    expect(panel.root.get_by_text("You are the only owner. To leave, make another member")).to_be_visible()
    expect(row(panel, user).get_by_role("button")).to_have_count(0)
    act(panel, ben, "Make admin")
    expect(row(panel, ben)).to_contain_text("Admin")
    act(panel, ben, "Make owner")
    dialog(panel).get_by_role("button", name="Make owner").click()
    expect(row(panel, ben)).to_contain_text("Owner")
    expect(panel.root.get_by_text("You are the only owner")).to_have_count(0)
    act(panel, user, "Make member")
    dialog(panel).get_by_role("button", name="Make member").click()
    expect(panel.root.get_by_text("Your role: Member")).to_be_visible()
    # What a member may not do is gone.
    expect(panel.root.get_by_role("heading", name="Invitations")).to_have_count(0)
    expect(row(panel, ben).get_by_role("button")).to_have_count(0)
    act(panel, user, "Leave team")
    dialog(panel).get_by_role("button", name="Leave team").click()
    expect(panel.root.get_by_text("No team yet")).to_be_visible()
    assert [member["email"] for member in ben.rpc("list_llm_team_members", p_team_id=team)] == [ben.email]


def test_a_team_is_renamed_and_removed(open_panel: Open, user: User) -> None:
    make_team(user)
    panel = open_panel(user)
    panel.go("Team").get_by_role("button", name="More actions for this team").click()
    panel.root.get_by_role("menuitem", name="Rename team").click()
    expect(dialog(panel).get_by_label("Name")).to_have_value("Research")
    dialog(panel).get_by_label("Name").fill("Lab")
    dialog(panel).get_by_role("button", name="Rename").click()
    expect(panel.root.get_by_role("heading", name="Lab")).to_be_visible()
    panel.root.get_by_role("button", name="More actions for this team").click()
    # The only owner cannot leave.
    expect(panel.root.get_by_role("menuitem", name="Leave team")).to_have_count(0)
    panel.root.get_by_role("menuitem", name="Remove team").click()
    dialog(panel).get_by_role("button", name="Remove team").click()
    expect(panel.root.get_by_text("No team yet")).to_be_visible()
    assert teams_of(user) == []
    assert user.rpc("get_llm_settings")["default_team"] is None


def test_creating_a_team_is_not_offered_if_the_operator_does_it(
    open_panel: Open, user: User, stack: Stack
) -> None:
    stack.admin("set_llm_operator_settings", p_changes={"teams_created_by": "operator"})
    try:
        panel = open_panel(user)
        expect(panel.go("Team").get_by_role("button", name="Join with an invitation")).to_be_visible()
        expect(panel.root.get_by_role("button", name="Create team")).to_have_count(0)
    finally:
        stack.admin("set_llm_operator_settings", p_changes={"teams_created_by": "users"})


def test_a_limit_of_teams_is_explained(open_panel: Open, user: User, stack: Stack) -> None:
    stack.admin("set_llm_operator_settings", p_changes={"teams_per_user": 1})
    try:
        make_team(user)
        panel = open_panel(user)
        panel.go("Team").get_by_role("button", name="More actions for this team").click()
        panel.root.get_by_role("menuitem", name="Create team").click()
        dialog(panel).get_by_label("Name").fill("Another")
        dialog(panel).get_by_role("button", name="Create team").click()
        expect(dialog(panel).get_by_role("alert")).to_contain_text("limit of teams")
    finally:
        stack.admin("set_llm_operator_settings", p_changes={"teams_per_user": 10})


def test_the_default_team_is_a_setting_like_the_others(open_panel: Open, user: User) -> None:
    first, second = make_team(user, "First"), make_team(user, "Second")
    panel = open_panel(user)
    panel.go("Team")
    panel.root.get_by_role("combobox", name="Team").select_option(label="Second")
    switch = panel.root.get_by_label("Use this team for my requests")
    expect(switch).not_to_be_checked()
    expect(panel.root.get_by_text("Now they use First.")).to_be_visible()
    switch.check()
    panel.save()
    assert user.rpc("get_llm_settings")["default_team"] == second != first
    switch.uncheck()
    panel.save()
    assert user.rpc("get_llm_settings")["default_team"] is None


def test_a_changed_team_is_a_conflict_in_words(open_panel: Open, user: User) -> None:
    first, second = make_team(user, "First"), make_team(user, "Second")
    panel = open_panel(user)
    panel.go("Team")
    panel.root.get_by_role("combobox", name="Team").select_option(label="Second")
    panel.root.get_by_label("Use this team for my requests").check()
    user.rpc("set_llm_settings", p_changes={"default_team": None})
    panel.root.get_by_role("button", name="Save", exact=True).click()
    conflict = panel.root.get_by_role("group", name="The team for your requests")
    conflict.get_by_role("button", name="Mine: Second").click()
    panel.save()
    assert user.rpc("get_llm_settings")["default_team"] == second != first


def test_a_team_is_made_and_managed_with_the_keyboard_alone(open_panel: Open, user: User) -> None:
    panel = open_panel(user)
    press = panel.page.keyboard.press
    panel.go("Team")
    panel.root.get_by_role("button", name="Create team").focus()
    press("Enter")
    expect(dialog(panel).get_by_label("Name")).to_be_focused()
    press("Enter")  # without a name, nothing happens
    expect(dialog(panel).get_by_label("Name")).to_be_focused()
    panel.page.keyboard.type("Keyboard")
    press("Enter")
    expect(panel.root.get_by_role("heading", name="Keyboard")).to_be_focused()
    press("Tab")
    more = panel.root.get_by_role("button", name="More actions for this team")
    expect(more).to_be_focused()
    press("Enter")
    press("Enter")
    expect(dialog(panel).get_by_label("Name")).to_be_focused()
    press("Escape")
    expect(dialog(panel)).to_have_count(0)
    expect(more).to_be_focused()
    press("Tab")
    expect(panel.root.get_by_label("Use this team for my requests")).to_be_focused()
    press("Tab")
    expect(panel.root.get_by_role("button", name="Members", exact=True)).to_be_focused()
    for _ in range(5):
        press("Tab")
    expect(panel.root.get_by_label("Email address (optional)")).to_be_focused()
    press("Enter")
    expect(dialog(panel).get_by_role("button", name="Copy")).to_be_focused()
    press("Escape")
    expect(dialog(panel)).to_have_count(0)
    revoke = panel.root.get_by_role("button", name="Revoke invitation: Anyone with the link")
    revoke.focus()
    press("Enter")
    expect(dialog(panel).get_by_role("button", name="Revoke")).to_be_focused()
    press("Enter")
    expect(revoke).to_have_count(0)
    panel.page.wait_for_function("document.activeElement.tagName === 'SUPA-LLM-SETTINGS'")


@pytest.mark.parametrize("role", ["owner", "member"])
@pytest.mark.parametrize("lang", ["en", "de"])
def test_each_section_is_accessible_and_fits(
    open_panel: Open, user: User, new_user: NewUser, role: str, lang: str
) -> None:
    team, ben = make_team(user, "A team with quite a long name"), new_user()
    join(user, team, ben)
    user.rpc("create_llm_team_invitation", p_team_id=team, p_email="somebody.else@subdomain.example.com")
    panel = open_panel(user if role == "owner" else ben)
    panel.page.evaluate(f"document.querySelector('supa-llm-settings').lang = '{lang}'")
    panel.go("Team")
    names = {
        "en": ("Members", "Keys", "Policy", "Usage"),
        "de": ("Mitglieder", "Schlüssel", "Vorgaben", "Nutzung"),
    }[lang]
    for name in names:
        group = panel.root.get_by_role("group", name="Sections" if lang == "en" else "Bereiche")
        group.get_by_role("button", name=name, exact=True).click()
        panel.page.wait_for_load_state("networkidle")
        panel.assert_accessible()
        panel.assert_laid_out()


def test_the_dialogs_are_accessible_and_fit(open_panel: Open, user: User) -> None:
    make_team(user)
    panel = open_panel(user)
    panel.go("Team").get_by_role("button", name="Create link").click()
    expect(dialog(panel).get_by_label("Link")).to_be_visible()
    panel.assert_accessible()
    panel.assert_laid_out()


def test_a_team_works_in_german(open_panel: Open, user: User) -> None:
    panel = open_panel(user)
    panel.page.evaluate("document.querySelector('supa-llm-settings').lang = 'de'")
    panel.go("Team").get_by_role("button", name="Team erstellen").click()
    dialog(panel).get_by_label("Name").fill("Forschung")
    dialog(panel).get_by_role("button", name="Team erstellen").click()
    expect(panel.root.get_by_text("Ihre Rolle: Eigentümer")).to_be_visible()
    panel.root.get_by_role("button", name="Link erstellen").click()
    expect(dialog(panel).get_by_label("Link")).to_have_value(re.compile("#llm-invitation=sli_"))
    assert "team." not in panel.root.get_by_role("tabpanel").inner_text()


def test_a_teams_key_is_added_checked_used_and_removed(
    open_panel: Open, user: User, new_user: NewUser
) -> None:
    team, ben = make_team(user), new_user()
    join(user, team, ben)
    panel = open_panel(user)
    panel.go("Team")
    card = section(panel, "Keys").get_by_role("article", name="Groq")
    card.get_by_role("button", name="Add key for Groq").click()
    card.get_by_label("The team's Groq key").fill(key_for("groq", 31337))
    card.get_by_role("button", name="Save key").click()
    expect(card).to_contain_text("Working")
    expect(card).to_contain_text("gsk…1337")
    assert key_for("groq", 31337) not in panel.page.content()
    card.get_by_role("button", name="More actions for the Groq key").click()
    # Nobody can read a team's key.
    expect(card.get_by_role("menuitem", name="Show key")).to_have_count(0)
    panel.page.keyboard.press("Escape")

    member = open_panel(ben)
    expect(member.root.get_by_role("article", name="Groq")).to_contain_text("Your team's key")
    member.go("Order")
    route = member.root.locator("[data-test=route-before]")
    expect(route).to_contain_text("Research's key gsk…1337 · your team's key")
    member.go("Team")
    cards = section(member, "Keys").get_by_role("article")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("gsk…1337")
    expect(cards.get_by_role("button")).to_have_count(0)

    card.get_by_role("button", name="More actions for the Groq key").click()
    card.get_by_role("menuitem", name="Remove key").click()
    card.get_by_role("button", name="Remove key", exact=True).click()
    expect(card).to_contain_text("No key")
    assert user.rpc("list_llm_team_keys", p_team_id=team) == []


def test_a_rejected_team_key_is_reported(open_panel: Open, user: User, providers: Emulator) -> None:
    team = make_team(user)
    user.rpc("set_llm_team_key", team_id=team, provider="groq", key=key_for("groq", 1))
    panel = open_panel(user)
    panel.go("Team")
    card = section(panel, "Keys").get_by_role("article", name="Groq")
    providers.fail(401)
    card.get_by_role("button", name="Check key for Groq").click()
    expect(card).to_contain_text("The provider rejected the key")
    expect(card).to_contain_text("Rejected")
    assert user.rpc("list_llm_team_keys", p_team_id=team)[0]["status"] == "rejected"


def test_the_route_before_and_after_leaving_a_team(open_panel: Open, user: User) -> None:
    team = make_team(user)
    user.rpc("set_llm_team_key", team_id=team, provider="groq", key=key_for("groq", 1))
    panel = open_panel(user)
    panel.go("Team").get_by_label("Use this team for my requests").uncheck()
    panel.go("Order")
    expect(panel.root.locator("[data-test=route-before]")).to_contain_text("Research's key")
    after = panel.root.locator("[data-test=route-after]")
    expect(after).to_be_visible()
    expect(after.get_by_role("list", name="Candidates")).not_to_contain_text("Groq")


def test_a_policy_is_edited_and_saved(open_panel: Open, user: User, new_user: NewUser) -> None:
    team, ben = make_team(user), new_user()
    join(user, team, ben)
    user.rpc("set_llm_team_key", team_id=team, provider="openai", key=key_for("openai", 1))
    panel = open_panel(user)
    panel.go("Team")
    view = section(panel, "Policy")
    view.get_by_label("Keys to use first").select_option("member")
    view.get_by_label("Only these providers").check()
    view.get_by_label("Allow Groq").uncheck()
    view.get_by_role("button", name="All models of OpenAI. Limit them").click()
    dialog(panel).get_by_label("Model").fill("gpt-5-mini")
    dialog(panel).get_by_role("button", name="Allow model").click()
    expect(view.get_by_role("list", name="Allowed OpenAI models")).to_contain_text("gpt-5-mini")
    view.get_by_label("Default provider").select_option("openai")
    view.get_by_role("button", name="More actions for Google").click()
    view.get_by_role("menuitem", name="Move to the top").click()
    code = view.get_by_role("group", name="Code", exact=True)
    code.get_by_role("button", name="Choose provider").click()
    code.get_by_label("Provider").select_option("google")
    expect(panel.root.get_by_text("5 unsaved changes")).to_be_visible()
    # A look at another section or tab keeps the changes.
    panel.go("Usage")
    panel.go("Team")
    view.get_by_role("button", name="Save policy").click()
    expect(panel.root.get_by_text("Policy saved.")).to_be_visible()
    expect(view.get_by_role("button", name="Save policy")).to_have_count(0)
    policy = user.rpc("get_llm_team", p_team_id=team)
    assert policy["keys_first"] == "member"
    assert policy["allowed_providers"]["openai"] == ["gpt-5-mini"]
    assert "groq" not in policy["allowed_providers"]
    assert policy["default_provider"] == "openai"
    assert policy["provider_preferences"]["google"]["priority"] == 1
    assert policy["task_overrides"] == {"code": {"provider": "google"}}

    ben.rpc("set_llm_key", provider="groq", key=key_for("groq", 2))
    member = open_panel(ben)
    member.go("Team")
    view = section(member, "Policy")
    expect(view.get_by_text("Not allowed")).to_have_count(1)
    expect(view.get_by_text("gpt-5-mini").first).to_be_visible()
    expect(view.get_by_role("switch")).to_have_count(1)  # the user's own, above
    route = view.locator("[data-test=route-before]")
    route.get_by_text("Skipped:").click()
    expect(route).to_contain_text("Your team doesn't allow this Groq model.")


def test_a_policy_changed_elsewhere_is_merged(open_panel: Open, user: User) -> None:
    team = make_team(user)
    panel = open_panel(user)
    panel.go("Team")
    view = section(panel, "Policy")
    view.get_by_label("Allow Groq").uncheck()
    user.rpc("set_llm_team", p_team_id=team, p_changes={"keys_first": "member"})
    view.get_by_role("button", name="Save policy").click()
    expect(panel.root.locator(".toast")).to_contain_text("The policy was changed elsewhere.")
    expect(view.get_by_label("Keys to use first")).to_have_value("member")
    expect(view.get_by_label("Allow Groq")).not_to_be_checked()
    view.get_by_role("button", name="Save policy").click()
    expect(panel.root.get_by_text("Policy saved.")).to_be_visible()
    saved = user.rpc("get_llm_team", p_team_id=team)
    assert (saved["keys_first"], saved["provider_preferences"]) == ("member", {"groq": {"enabled": False}})


def test_spending_limits_of_a_team_are_set_and_removed(
    open_panel: Open, user: User, new_user: NewUser
) -> None:
    team, ben = make_team(user), new_user()
    join(user, team, ben)
    panel = open_panel(user)
    panel.go("Team")
    view = section(panel, "Usage")
    for label, amount in (("Whole team, monthly (USD)", "200"), ("Each member, monthly (USD)", "12.50")):
        form = view.locator("form").filter(has=panel.page.get_by_label(label))
        form.get_by_label(label).fill(amount)
        form.get_by_role("button", name="Set limit").click()
        expect(form.get_by_role("button", name="Remove limit")).to_be_visible()
    limits = user.rpc("list_llm_quotas", p_team_id=team)
    assert sorted((float(quota["limit"]), quota["shared"]) for quota in limits) == [
        (12.5, False),
        (200, True),
    ]
    member = open_panel(ben)
    member.go("Team")
    view = section(member, "Usage")
    expect(view.get_by_text("set by the team")).to_have_count(2)
    expect(view.get_by_role("button", name="Set limit")).to_have_count(0)
    view = panel.root.get_by_role("tabpanel")
    view.get_by_role("button", name="Remove limit").first.click()
    expect(view.get_by_role("button", name="Remove limit")).to_have_count(1)
    assert len(user.rpc("list_llm_quotas", p_team_id=team)) == 1


def test_owners_see_usage_by_member_and_members_their_own(
    open_panel: Open, user: User, new_user: NewUser, stack: Stack
) -> None:
    team, ben = make_team(user), new_user()
    join(user, team, ben)
    runtime = stack.admin("register_llm_runtime", p_name=unique("app"))["secret"]
    for who, model, tokens in ((user, "gpt-5", 1000), (ben, "gpt-5-mini", 2000)):
        recorded = stack.rpc(
            "record_llm_usage",
            who.access_token,
            runtime,
            p_request_id=uuid7(datetime.now(UTC)),
            p_attempt=1,
            p_provider="openai",
            p_model=model,
            p_key_source="team",
            p_team_id=team,
            p_outcome="succeeded",
            p_input_tokens=tokens,
            p_output_tokens=10,
        )
        assert recorded.is_success, recorded.text
    panel = open_panel(user)
    panel.go("Team")
    view = section(panel, "Usage")
    members = view.get_by_role("region", name="By member").get_by_role("row")
    expect(members).to_have_count(3)
    expect(members.filter(has_text=ben.email)).to_contain_text("2K / 10")
    expect(view.get_by_role("region", name="By model").get_by_role("row")).to_have_count(3)

    member = open_panel(ben)
    member.go("Team")
    view = section(member, "Usage")
    expect(view.get_by_role("region", name="By model").get_by_role("row")).to_have_count(2)
    expect(view.get_by_role("region", name="By member")).to_have_count(0)
    expect(view).not_to_contain_text(user.email)
    expect(member.go("Usage").get_by_role("region", name="Recent requests")).to_contain_text("Research's key")


def test_owners_read_the_activity_of_the_team(open_panel: Open, user: User, new_user: NewUser) -> None:
    team, ben = make_team(user), new_user()
    join(user, team, ben)
    panel = open_panel(user)
    panel.go("Team")
    view = section(panel, "Activity")
    rows = view.get_by_role("table").get_by_role("row")
    expect(rows.filter(has_text=f"{ben.email} joined as member")).to_have_count(1)
    expect(rows.filter(has_text="Invitation link created: member")).to_contain_text("You")
    # It is the team's log that is verified.
    expect(view).to_contain_text("Verified: 3 entries, sealed until")
    panel.assert_accessible()
    panel.assert_laid_out()
    member = open_panel(ben)
    member.go("Team")
    expect(member.root.get_by_role("button", name="Members", exact=True)).to_be_visible()
    sections = member.root.get_by_role("group", name="Sections")
    expect(sections.get_by_role("button", name="Activity")).to_have_count(0)
