"""The arguments and results of chat(), stream() and embed()."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, Field

from supa_llm.client.answers import ChatAnswer, Embeddings, ToolCall, chat_body, embeddings_body
from supa_llm.engine import Answer, uuid7
from supa_llm.errors import InvalidInputError, ProviderError
from supa_llm.values.receipts import Receipt
from tests.unit.engine_support import candidate

RECEIPT = Receipt(uuid7(), None, ())


def answer(schema: Any = None, finish_reason: str = "stop", **message: Any) -> ChatAnswer:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return ChatAnswer(Answer({"choices": [choice]}, candidate(), RECEIPT), schema)


class Leg(BaseModel):
    on: date


class Trip(BaseModel):
    """A journey."""

    name: str = Field(default="x", description="What to call it")
    legs: list[Leg]
    note: str | None = None


def test_a_text_is_a_message_of_the_users() -> None:
    assert chat_body("Hi", max_tokens=5, temperature=0, seed=1) == {
        "messages": [{"role": "user", "content": "Hi"}],
        "seed": 1,
        "max_completion_tokens": 5,
        "temperature": 0,
    }


def test_a_pydantic_model_is_requested_strictly() -> None:
    wanted = chat_body("Hi", schema=Trip)["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"]) == ("Trip", True)
    schema = wanted["schema"]
    assert schema["required"] == ["name", "legs", "note"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["name"] == {
        "description": "What to call it",
        "title": "Name",
        "type": "string",
    }
    assert schema["$defs"]["Leg"]["required"] == ["on"]


@pytest.mark.parametrize(
    ("closed", "required", "strict"),
    [(False, ["a"], True), (False, [], False), (None, ["a"], False)],
)
def test_a_json_schema_is_taken_as_it_is(closed: bool | None, required: list[str], strict: bool) -> None:
    schema: dict[str, Any] = {
        "title": "My trip!",
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": required,
    }
    if closed is not None:
        schema["additionalProperties"] = closed
    wanted = chat_body("Hi", schema=schema)["response_format"]["json_schema"]
    assert wanted == {"name": "My_trip_", "schema": schema, "strict": strict}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"prompt": 3}, "prompt"),
        ({"prompt": ["Hi"]}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"name": "f"}]}, "tools"),
        ({"schema": "object"}, "schema"),
        ({"model": "m"}, "model"),
        ({"stream": True}, "stream"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        chat_body(**{"prompt": "Hi", **arguments})


def test_bodies_of_embeddings() -> None:
    assert embeddings_body("a") == {"input": ["a"]}
    assert embeddings_body(["a", "b"], dimensions=8) == {"input": ["a", "b"], "dimensions": 8}
    wrong: Any
    for wrong in ([], [""], "", [1]):
        with pytest.raises(InvalidInputError, match="texts"):
            embeddings_body(wrong)
    with pytest.raises(InvalidInputError, match="dimensions"):
        embeddings_body("a", dimensions=0)


def test_an_answer() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    made = answer(content=None, tool_calls=[call], finish_reason="tool_calls")
    assert (made.text, made.refusal, made.finish_reason) == ("", None, "tool_calls")
    assert made.tool_calls == [ToolCall("c", "f", {"x": 1})]
    assert made.message["role"] == "assistant"


def test_parsed_answers() -> None:
    assert answer(content='{"a": 1}').parsed == {"a": 1}
    trip = answer(Trip, content='{"name": "n", "legs": [{"on": "2026-01-02"}], "note": null}').parsed
    assert isinstance(trip, Trip)
    assert trip.legs[0].on == date(2026, 1, 2)


@pytest.mark.parametrize("schema", [None, {"type": "object"}, Trip])
def test_an_answer_that_is_not_what_was_requested(schema: Any) -> None:
    made = answer(schema, content='{"name": ', finish_reason="length")
    assert made.text == '{"name": '
    with pytest.raises(ProviderError, match="length") as caught:
        _ = made.parsed
    assert caught.value.code == "answer_not_parsable"
    assert caught.value.receipt is RECEIPT


def test_vectors() -> None:
    payload = {"data": [{"embedding": [1, 2.5]}, {"embedding": "AACAPw=="}]}
    assert Embeddings(Answer(payload, candidate(), RECEIPT)).vectors == [[1, 2.5], [1.0]]
