"""The two clients, and the views of one user, have the same methods with the same arguments and docs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from supa_llm import Admin, AsyncAdmin, AsyncSupaLLM, AsyncUserLLM, SupaLLM, UserLLM
from supa_llm.client.teams import AdminTeams, AsyncAdminTeams, AsyncTeams, Teams

#: asyncio's conventions change these names.
RENAMED = {"openai": "async_openai"}
#: Methods without I/O, which are not awaited.
PLAIN = {
    "stream",
    "for_user",
    "openai",
    "langchain_options",
    "llama_index_options",
    "list_audit_log",
    "follow_audit_log",
    "export_audit_seals",
    "rotate_vault",
    "list_usage_events",
    "recalculate_costs",
    "remove_user_data",
}
#: Methods of the client for threads that its twin has under the name of another one.
ALREADY_THERE = {"async_openai"}

PAIRS = [
    (UserLLM, AsyncUserLLM),
    (SupaLLM, AsyncSupaLLM),
    (Admin, AsyncAdmin),
    (Teams, AsyncTeams),
    (AdminTeams, AsyncAdminTeams),
]


def public(cls: type) -> dict[str, Any]:
    return {name: inspect.getattr_static(cls, name) for name in dir(cls) if not name.startswith("_")}


def shape(method: Callable[..., Any]) -> str:
    """The signature, without intended differences between the twins."""
    signature = inspect.signature(method)
    returned = str(signature.return_annotation).replace("Async", "")
    parameters = [
        it.replace(annotation=str(it.annotation).replace("Async", "")) for it in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=returned))


@pytest.mark.parametrize(("sync", "twin"), PAIRS)
def test_they_have_the_same_public_names(sync: type, twin: type) -> None:
    assert {RENAMED.get(name, name) for name in public(sync)} | {"aclose"} == set(public(twin)) | {"aclose"}


@pytest.mark.parametrize(("sync", "twin"), PAIRS)
def test_they_have_the_same_arguments_and_docs(sync: type, twin: type) -> None:
    for name, member in public(sync).items():
        if name in ALREADY_THERE:
            continue
        other = inspect.getattr_static(twin, RENAMED.get(name, name))
        assert member.__doc__, name
        assert member.__doc__ == other.__doc__, name
        if inspect.isfunction(member):
            assert shape(member) == shape(other), name
            assert inspect.iscoroutinefunction(other) is (name not in PLAIN), name


@pytest.mark.parametrize(("sync", "twin"), [(SupaLLM, AsyncSupaLLM)])
def test_they_have_the_same_constructors(sync: type, twin: type) -> None:
    assert shape(vars(sync)["__init__"]) == shape(vars(twin)["__init__"])


@pytest.mark.parametrize(("whole", "view"), [(SupaLLM, UserLLM), (AsyncSupaLLM, AsyncUserLLM)])
def test_a_view_has_every_method_about_its_user(whole: type, view: type) -> None:
    assert set(public(whole)) - set(public(view)) <= {"for_user", "flush", "close", "aclose", "dropped_usage"}


def test_every_method_with_arguments_has_an_example() -> None:
    for name, member in [*public(UserLLM).items(), *public(Teams).items()]:
        needs_example = isinstance(member, property) or len(inspect.signature(member).parameters) > 2
        assert not needs_example or "llm." in member.__doc__ or name == "get_audit_log", name
