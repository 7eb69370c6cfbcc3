"""`make screenshots`: the pictures in the guides, from a user's week on a local stack."""

from __future__ import annotations

import random
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from supa_llm.local import LocalStack
from supa_llm.local.ports import pick_free
from tests.panel.chromium import FLAGS, find_chromium
from tests.panel.serving import serve_site
from tests.panel.support import Panel
from tests.support import PROVIDERS, ROOT, Emulator, Stack, User, key_for, running_emulator

_PICTURES = ROOT / "docs" / "images"
_PRICES = {
    ("anthropic", "claude-sonnet-4-5"): (3, 15),
    ("groq", "llama-3.1-8b-instant"): (0.05, 0.08),
    ("openai", "gpt-5-mini"): (0.25, 2),
}
#: Task, provider, model, requests a day, tokens in and out of each.
_HABITS = (
    ("code", "anthropic", "claude-sonnet-4-5", 9, 4200, 1100),
    ("speed", "groq", "llama-3.1-8b-instant", 22, 900, 250),
    (None, "openai", "gpt-5-mini", 7, 1500, 600),
    (None, "mistral", "mistral-small-latest", 3, 800, 300),
)


def main() -> None:
    """Take all pictures."""
    _PICTURES.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        local = LocalStack(state / "stack", project=ROOT, port=0, throwaway=True)
        stack.callback(local.destroy)
        local.up(print)
        project = Stack.from_env(local.env())
        emulator = stack.enter_context(running_emulator(pick_free(1)[0]))
        site = stack.enter_context(serve_site(project))
        ada = _week(project, emulator)
        _team(project, ada)
        found = find_chromium()
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=found.program, args=list(FLAGS), env=found.environment()
        )
        stack.callback(browser.close)
        page = browser.new_context(locale="en-US", viewport={"width": 1100, "height": 800}).new_page()
        panel = Panel(page, site)
        panel.open()
        panel.sign_in(ada)
        _take_all(panel, emulator)
        assert panel.complaints == []


def _week(project: Stack, emulator: Emulator) -> User:
    """A user with keys in every state, an order, tasks, a quota and a week of requests."""
    for provider in PROVIDERS:
        project.admin(
            "set_llm_provider", p_provider={"id": provider, "base_url": emulator.base_url(provider)}
        )
    for (provider, model), (cost_in, cost_out) in _PRICES.items():
        project.admin(
            "set_llm_price",
            p_provider=provider,
            p_model=model,
            p_rates={"input": cost_in, "output": cost_out},
            p_valid_from="2026-01-01",
        )
    ada = project.sign_up("ada@example.com")
    keys = {
        provider: ada.rpc("set_llm_key", provider=provider, key=key_for(provider, 4242))["id"]
        for provider in ("anthropic", "groq", "openai", "mistral")
    }
    ada.rpc(
        "set_llm_settings",
        p_changes={
            "default_provider": "anthropic",
            "provider_preferences": {
                "anthropic": {"priority": 1},
                "groq": {"priority": 2},
                "openai": {"priority": 3, "model": "gpt-5-mini"},
            },
            "task_overrides": {
                "speed": {"provider": "groq"},
                "code": {"provider": "anthropic", "fallbacks": [{"provider": "openai", "model": "gpt-5"}]},
            },
        },
    )
    chance = random.Random(7)  # the same pictures each time
    now = datetime.now(UTC)
    for day in range(6, -1, -1):
        for task, provider, model, often, tokens_in, tokens_out in _HABITS:
            for _ in range(chance.randint(often // 2, often)):
                at = now - timedelta(days=day, seconds=chance.randint(60, 9000))
                failed = provider == "openai" and chance.random() < 0.1
                ada.rpc(
                    "record_llm_usage",
                    p_request_id=_request_id(at, chance),
                    p_attempt=1,
                    p_task=task,
                    p_provider=provider,
                    p_model=model,
                    p_key_source="user",
                    p_key_id=keys[provider],
                    p_outcome="failed" if failed else "succeeded",
                    p_error_class="server_error" if failed else None,
                    p_latency_ms=chance.randint(300, 2500),
                    p_input_tokens=0 if failed else chance.randint(tokens_in // 2, tokens_in),
                    p_output_tokens=0 if failed else chance.randint(tokens_out // 2, tokens_out),
                )
    ada.rpc("set_llm_quota", p_quota={"limit": 5, "unit": "cost", "period": "month", "provider": "anthropic"})
    return ada


def _team(project: Stack, ada: User) -> None:
    """A team of the user's with members in each role, keys, a policy and open invitations."""
    team = ada.rpc("create_llm_team", p_name="Research")["id"]
    for name, role in (("ben", "admin"), ("cleo", "member"), ("dana", "member")):
        token = ada.rpc("create_llm_team_invitation", p_team_id=team, p_role=role)["token"]
        project.sign_up(f"{name}@example.com").rpc("accept_llm_team_invitation", p_invitation=token)
    ada.rpc("create_llm_team_invitation", p_team_id=team, p_email="emil@example.com")
    for provider in ("anthropic", "openai"):
        ada.rpc("set_llm_team_key", team_id=team, provider=provider, key=key_for(provider, 77))
    ada.rpc(
        "set_llm_team",
        p_team_id=team,
        p_changes={
            "keys_first": "member",
            "allowed_providers": {
                "anthropic": True,
                "openai": ["gpt-5", "gpt-5-mini"],
                "groq": True,
            },
            "provider_preferences": {"anthropic": {"priority": 1}, "openai": {"priority": 2}},
            "task_overrides": {"code": {"provider": "anthropic"}},
        },
    )
    # The other pictures are of a user without a team.
    ada.rpc("set_llm_settings", p_changes={"default_team": None})


def _request_id(at: datetime, chance: random.Random) -> str:
    digits = f"{int(at.timestamp() * 1000):012x}7{chance.getrandbits(12):03x}8{chance.getrandbits(60):015x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _take_all(panel: Panel, emulator: Emulator) -> None:
    page = panel.page
    providers = panel.go("Providers")
    for provider, status in (("Groq", None), ("Anthropic", None), ("OpenAI", 401)):
        if status:
            emulator.fail(status)
        providers.get_by_role("button", name=f"Check key for {provider}").click()
        state = "Rejected" if status else "Working"
        expect(providers.get_by_role("article", name=provider).locator(".pill")).to_have_text(state)
    _take(page, "panel-providers")
    order = panel.go("Order")
    order.get_by_label("Fall back to the next provider").uncheck()
    expect(order.locator("[data-test=route-after]")).to_be_visible()
    _take(page, "panel-order")
    panel.root.get_by_role("button", name="Discard").click()
    panel.go("Tasks")
    _take(page, "panel-tasks")
    panel.go("Team").get_by_label("Use this team for my requests").check()
    panel.save()
    _take(page, "panel-team")
    sections = panel.root.get_by_role("group", name="Sections")
    sections.get_by_role("button", name="Policy").click()
    expect(panel.root.locator("[data-test=route-before]")).to_be_visible()
    _take(page, "panel-team-policy", height=2000)
    chart = panel.go("Usage").locator("supa-llm-usage-chart .bars")
    expect(chart.locator("rect")).not_to_have_count(0)
    _take(page, "panel-usage", height=1320)
    page.emulate_media(color_scheme="dark")
    _take(page, "panel-usage-dark", height=1320)
    panel.go("Providers")
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=_PICTURES / "panel-phone.png")
    panel.go("Activity")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1100, "height": 800})
    _take(page, "panel-activity")


def _take(page: Page, name: str, height: int = 1600) -> None:
    while (toasts := page.locator(".toast").get_by_role("button")).count():
        toasts.first.click()
    page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    # As tall as the page, so that the sticky save bar is at the end of the picture.
    whole: int = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": 1100, "height": min(whole, height)})
    page.wait_for_timeout(200)
    page.screenshot(path=_PICTURES / f"{name}.png")
    page.set_viewport_size({"width": 1100, "height": 800})


if __name__ == "__main__":
    main()
    print(f"{len(list(_PICTURES.glob('*.png')))} pictures in {_PICTURES.relative_to(ROOT)}")
