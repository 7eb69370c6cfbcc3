"""instructor on the user's keys."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.libraries.conftest import MOCK_CITY, City
from tests.unit.engine_support import AsyncMemoryUser, MemoryUser

pytest.importorskip("instructor", reason="run by make test-libraries")

import instructor

QUESTION: Any = {"model": "auto", "messages": [{"role": "user", "content": "Which city?"}]}
#: instructor returns instances of subclasses.
FIELDS = MOCK_CITY.model_dump()
modes = pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA])


@modes
def test_structured_output(llm: MemoryUser, mode: Any) -> None:
    client = instructor.from_openai(llm.openai(task="code"), mode=mode).chat.completions
    assert client.create(response_model=City, **QUESTION).model_dump() == FIELDS
    assert list(client.create_partial(response_model=City, **QUESTION))[-1].model_dump() == FIELDS
    assert [it.outcome for it in llm.account.attempts] == ["succeeded", "succeeded"]


@modes
async def test_asynchronous_structured_output(any_llm: MemoryUser | AsyncMemoryUser, mode: Any) -> None:
    client = instructor.from_openai(any_llm.async_openai(task="code"), mode=mode).chat.completions
    assert (await client.create(response_model=City, **QUESTION)).model_dump() == FIELDS
    partial = client.create_partial(response_model=City, **QUESTION)
    assert [city async for city in partial][-1].model_dump() == FIELDS
    assert [it.outcome for it in any_llm.account.attempts] == ["succeeded", "succeeded"]
