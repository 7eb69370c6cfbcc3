"""A team's keys through the client, on a real project: who uses them, who pays, and how soon they stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from uuid import UUID

import httpx
import pytest

from supa_llm import AsyncSupaLLM, NotFoundError, SupaLLM
from tests.support import Emulator, Stack, User, key_for, unique

KEY = key_for("openai", 4711)


@pytest.fixture
def runtime(stack: Stack, providers: Emulator) -> Iterator[str]:
    """The secret of a runtime."""
    registered = stack.admin("register_llm_runtime", p_name=unique("teams"))
    yield registered["secret"]
    stack.admin("revoke_llm_runtime", p_id=registered["id"])


@pytest.fixture
def owner(new_user: Callable[[], User]) -> User:
    return new_user()


@pytest.fixture
def team(owner: User, user: User) -> UUID:
    """A team with a key for OpenAI, whose member `user` has joined."""
    team = owner.rpc("create_llm_team", p_name="Lab")
    invitation = owner.rpc("create_llm_team_invitation", p_team_id=team["id"], p_role="member")
    user.rpc("accept_llm_team_invitation", p_invitation=invitation["token"])
    owner.rpc("set_llm_team_key", team_id=team["id"], provider="openai", key=KEY)
    return UUID(team["id"])


@pytest.fixture
def llm(user: User, runtime: str) -> Iterator[SupaLLM]:
    with SupaLLM(user.client(), runtime_secret=runtime, operator_keys={}) as llm:
        yield llm


def test_a_members_request_runs_with_the_teams_key(user: User, runtime: str, team: UUID, owner: User) -> None:
    sent: list[str] = []

    class Watched(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(request.headers["authorization"].removeprefix("Bearer "))
            return super().handle_request(request)

    with (
        httpx.Client(transport=Watched()) as http,
        SupaLLM(user.client(), runtime_secret=runtime, operator_keys={}, http_client=http) as llm,
    ):
        answer = llm.chat("Hello", team=team)
        assert (answer.answered_by.key_source, answer.answered_by.team_id) == ("team", team)
        assert sent == [KEY]
        assert llm.flush()
    (line,) = owner.rpc("get_llm_usage", p_team_id=str(team), p_by=["user"])
    assert (line["user_id"], line["requests"]) == (user.id, 1)


def test_the_first_team_is_the_default_until_a_request_names_none(llm: SupaLLM, team: UUID) -> None:
    assert llm.get_settings().default_team == team
    assert llm.chat("Hello").answered_by.key_source == "team"
    llm.set_key("groq", key_for("groq", 1))
    assert llm.chat("Hello", team="none").answered_by.key_source == "user"
    client = llm.openai(team="none")
    raw = client.chat.completions.with_raw_response
    assert _source(raw.create(model="auto", messages=[{"role": "user", "content": "Hi"}])) == "user"
    named = raw.create(
        model="auto",
        messages=[{"role": "user", "content": "Hi"}],
        extra_headers={"x-llm-team": str(team)},
    )
    assert _source(named) == "team"


def _source(response: object) -> str:
    return str(response.headers["x-llm-key-source"])  # type: ignore[attr-defined]


async def test_the_same_for_asyncio(user: User, team: UUID, runtime: str, providers: Emulator) -> None:
    async with AsyncSupaLLM(await user.async_client(), runtime_secret=runtime, operator_keys={}) as llm:
        answer = await llm.chat("Hello", team=team)
        assert answer.answered_by.team_id == team
        route = await llm.explain_route(team=team)
        assert [(it.provider, it.reason) for it in route.candidates] == [("openai", "team_key")]


def test_a_team_of_others_is_refused(llm: SupaLLM, new_user: Callable[[], User]) -> None:
    foreign = UUID(new_user().rpc("create_llm_team", p_name="Other")["id"])
    with pytest.raises(NotFoundError) as caught:
        llm.chat("Hello", team=foreign)
    assert caught.value.code == "team_not_found"


@pytest.mark.parametrize("ends", ["the key is revoked", "the member is removed", "the team is removed"])
def test_a_busy_runtime_stops_within_five_seconds(
    llm: SupaLLM, team: UUID, owner: User, user: User, ends: str
) -> None:
    """Although its lease would last for minutes."""
    llm.set_key("groq", key_for("groq", 1))
    assert llm.chat("Hello").answered_by.key_source == "team"
    match ends:
        case "the key is revoked":
            owner.rpc("remove_llm_team_key", p_team_id=str(team), p_provider="openai")
        case "the member is removed":
            owner.rpc("remove_llm_team_member", p_team_id=str(team), p_user_id=user.id)
        case _:
            owner.rpc("remove_llm_team", p_team_id=str(team))
    ended = time.monotonic()
    while llm.chat("Hello").answered_by.key_source == "team":
        assert time.monotonic() - ended < 5
        time.sleep(0.1)
