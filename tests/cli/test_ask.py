"""`supa-llm ask`, with a session of Supabase Auth and an emulator of the providers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import start
from tests.cli.conftest import Cli, users_environment
from tests.support import PASSWORD, Emulator, Stack, User, key_for, unique


@pytest.fixture
def ask(as_user: Cli, user: User, providers: Emulator) -> Cli:
    """Runs `supa-llm ask` as a signed-in user with a key for OpenAI."""
    user.rpc("set_llm_key", provider="openai", key=key_for("openai"))
    done = as_user("login", typed=f"{user.email}\n{PASSWORD}\n")
    assert done.returncode == 0, done.stderr

    def ask(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        return as_user("ask", *arguments, **options)

    return ask


@pytest.fixture
def runtimes_only(stack: Stack) -> Iterator[None]:
    """Keys only for runtimes, as in a new project."""
    stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "runtime"})
    yield
    stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})


def outcomes(user: User) -> list[str]:
    return [request["outcome"] for request in user.rpc("list_llm_requests")]


def test_the_answer_is_on_standard_output_and_the_receipt_on_standard_error(ask: Cli, user: User) -> None:
    done = ask("Name a color.", "--model", "openai/gpt-5-mini")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n")
    assert len(done.stdout.strip()) > 5
    (receipt,) = done.stderr.splitlines()
    assert receipt.startswith("openai/gpt-5-mini  your key sk-…0000  ")
    assert "output tokens" in receipt
    assert outcomes(user) == ["succeeded"]


def test_standard_input_is_the_prompt(ask: Cli, providers: Emulator) -> None:
    for arguments in ((), ("-",)):
        providers.reset()
        done = ask(*arguments, "--system", "Be brief.", typed="Name a\ncolor.")
        assert done.returncode == 0, done.stderr
        (request,) = providers.requests()
        assert [(it["role"], it["content"]) for it in request["body"]["messages"]] == [
            ("system", "Be brief."),
            ("user", "Name a\ncolor."),
        ]
    empty = ask(typed=" \n")
    assert empty.returncode == 2
    assert "Pass a prompt" in empty.stderr


def test_the_task_chooses_the_model(ask: Cli, user: User) -> None:
    user.rpc(
        "set_llm_settings",
        p_changes={"task_overrides": {"code": {"provider": "openai", "model": "gpt-5-nano"}}},
    )
    assert ask("Hello", "--task", "code").stderr.startswith("openai/gpt-5-nano ")


def test_json_has_the_whole_answer_and_its_receipt(ask: Cli, supa_llm: Cli) -> None:
    model = unique("gpt").replace(" ", "-")
    supa_llm("prices", "set", "openai", model, "--input", "1", "--output", "4")
    done = ask("Hello", "--model", f"openai/{model}", "--json")
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert answer["text"]
    assert answer["finish_reason"] == "stop"
    assert answer["receipt"]["attempts"][-1]["outcome"] == "succeeded"
    assert answer["receipt"]["cost"] > 0


def test_a_fallback_is_on_the_receipt(ask: Cli, user: User, providers: Emulator) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq"))
    user.rpc("set_llm_settings", p_changes={"default_provider": "openai"})
    providers.fail(401, "/v1/*")
    done = ask("Hello")
    failed, answered = done.stderr.splitlines()
    assert failed.startswith("openai/")
    assert failed.endswith("failed: auth")
    assert answered.startswith("groq/")


def test_without_a_key_the_hint_of_the_route_is_shown(as_user: Cli, user: User, stack: Stack) -> None:
    as_user("login", typed=f"{user.email}\n{PASSWORD}\n")
    done = as_user("ask", "Hello")
    assert done.returncode == 1
    assert "Add a key" in done.stderr
    assert "[no_usable_key]" in done.stderr


def test_a_user_must_sign_in_first(as_user: Cli) -> None:
    done = as_user("ask", "Hello")
    assert done.returncode == 1
    assert "supa-llm login" in done.stderr
    assert "[not_signed_in]" in done.stderr


def test_a_runtimes_secret_is_used_and_its_lack_explained(
    ask: Cli, stack: Stack, runtimes_only: None
) -> None:
    refused = ask("Hello")
    assert refused.returncode == 1
    assert "[runtime_required]" in refused.stderr
    assert "SUPA_LLM_RUNTIME_SECRET" in refused.stderr
    assert "keys_readable_by=owner" in refused.stderr
    secret = stack.admin("register_llm_runtime", p_name=unique("ask"))["secret"]
    done = ask("Hello", SUPA_LLM_RUNTIME_SECRET=secret)
    assert done.returncode == 0, done.stderr
    assert secret not in done.stdout + done.stderr


def test_the_operators_key_serves_only_a_runtime(
    as_user: Cli, user: User, stack: Stack, providers: Emulator
) -> None:
    as_user("login", typed=f"{user.email}\n{PASSWORD}\n")
    offered = {"SUPA_LLM_GROQ_API_KEY": key_for("groq", 7)}
    assert "[no_usable_key]" in as_user("ask", "Hello", **offered).stderr
    secret = stack.admin("register_llm_runtime", p_name=unique("ask"))["secret"]
    done = as_user("ask", "Hello", **offered, SUPA_LLM_RUNTIME_SECRET=secret)
    assert "the operator's key" in done.stderr


def test_the_receipt_names_the_team_whose_key_paid(as_user: Cli, user: User, stack: Stack) -> None:
    as_user("login", typed=f"{user.email}\n{PASSWORD}\n")
    team = user.rpc("create_llm_team", p_name="Research")["id"]
    user.rpc("set_llm_team_key", team_id=team, provider="openai", key=key_for("openai"))
    secret = stack.admin("register_llm_runtime", p_name=unique("ask"))["secret"]
    done = as_user("ask", "Hello", SUPA_LLM_RUNTIME_SECRET=secret)
    assert "Research's key sk-…0000" in done.stderr
    answer = json.loads(as_user("ask", "Hello", "--json", SUPA_LLM_RUNTIME_SECRET=secret).stdout)
    assert answer["receipt"]["team"] == "Research"


@pytest.fixture
def stalled(ask: Cli, providers: Emulator, stack: Stack, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A stream that stopped after some pieces of its answer."""
    providers.script({"type": "stream_fault", "kind": "stall", "after_chunks": 3})
    process = start("ask", "Tell me a story", cwd=tmp_path, **users_environment(stack, tmp_path))
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 1)
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_cancels_the_stream(stalled: subprocess.Popen[str], user: User) -> None:
    time.sleep(0.5)
    stalled.send_signal(signal.SIGINT)
    _, errors = stalled.communicate(timeout=30)
    assert (stalled.returncode, errors) == (130, "")
    assert outcomes(user) == ["cancelled"]


def test_a_closed_pipe_ends_quietly(
    ask: Cli, user: User, providers: Emulator, stack: Stack, tmp_path: Path
) -> None:
    providers.script({"type": "reply", "text": "word " * 20_000})
    process = start("ask", "Tell me a story", cwd=tmp_path, **users_environment(stack, tmp_path))
    assert process.stdout is not None
    assert process.stderr is not None
    assert os.read(process.stdout.fileno(), 1)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 1
    assert outcomes(user) == ["cancelled"]
