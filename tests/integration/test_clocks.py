"""Clocks of Supabase Auth and PostgREST that differ: a token from the future is not an invalid one."""

from __future__ import annotations

import time

import httpx
import pytest

from supa_llm.client.recorder import Recorder
from supa_llm.client.session import AccessToken
from supa_llm.database.keys import list_keys
from supa_llm.database.transport import AsyncDatabase, Database, Project
from supa_llm.database.usage import usage_event
from supa_llm.engine.ids import uuid7
from supa_llm.errors import NotSignedInError
from supa_llm.values.receipts import Attempt
from supa_llm.values.secrets import Secret
from tests.support import Stack, User

# PostgREST accepts a token that was issued up to 30 seconds later than its own time.
LEEWAY = 30


@pytest.fixture
def project(stack: Stack) -> Project:
    return Project(f"{stack.api_url}/rest/v1", stack.publishable_key)


def token(stack: Stack, user: User, ahead: int) -> str:
    """Sign a token that PostgREST accepts in ``ahead`` seconds; it is refused until then."""
    if stack.jwt_secret is None:
        pytest.skip("this test signs its own tokens: set JWT_SECRET to the project's secret")
    time.sleep(1 - time.time() % 1)  # the claim has whole seconds
    now = int(time.time())
    signed = stack.sign(sub=user.id, iat=now + LEEWAY + ahead, exp=now + 3600)
    assert stack.rpc("list_llm_keys", signed).status_code == 401
    return signed


def test_a_token_from_the_future_is_sent_again(stack: Stack, project: Project, user: User) -> None:
    with httpx.Client() as http:
        assert Database(project, http).run(list_keys(), Secret(token(stack, user, 1))) == []


async def test_tasks_send_a_token_from_the_future_again(stack: Stack, project: Project, user: User) -> None:
    async with httpx.AsyncClient() as http:
        assert await AsyncDatabase(project, http).run(list_keys(), Secret(token(stack, user, 1))) == []


def test_an_expired_token_is_refused_at_once(stack: Stack, project: Project, user: User) -> None:
    if stack.jwt_secret is None:
        pytest.skip("this test signs its own tokens: set JWT_SECRET to the project's secret")
    expired = Secret(stack.sign(sub=user.id, exp=int(time.time()) - 3600))
    began = time.monotonic()
    with httpx.Client() as http, pytest.raises(NotSignedInError):
        Database(project, http).run(list_keys(), expired)
    assert time.monotonic() - began < 1


def test_usage_recorded_with_a_token_from_the_future_is_not_dropped(
    stack: Stack, project: Project, user: User
) -> None:
    attempt = Attempt(1, "groq", "a-model", "user", None, None, "succeeded", 10, False)
    with httpx.Client() as http:
        recorder = Recorder(Database(project, http).run)
        # Longer than the client repeats one request.
        recorder.put(usage_event(uuid7(), None, attempt), AccessToken.read(token(stack, user, 4)))
        assert recorder.flush(15)
    assert recorder.dropped == 0
    with stack.connect() as db:
        count = db.execute("select count(*) from public.llm_usage_events where user_id = %s", [user.id])
        assert count.fetchone() == (1,)
