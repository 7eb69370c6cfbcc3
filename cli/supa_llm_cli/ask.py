"""`supa-llm ask`: one prompt as the signed-in user, with their keys, route and quotas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from supa_llm.errors import NotSignedInError, SupaLLMError
from supa_llm_cli.account import SIGN_IN, Account
from supa_llm_cli.amounts import counted, dollars, seconds
from supa_llm_cli.options import HOME, Directory, UsersUrl
from supa_llm_cli.tables import print_json

if TYPE_CHECKING:
    from supa_llm import Attempt, Receipt, RecordedRequest, UserLLM

_FLUSH_SECONDS = 5.0
_PAYS = {"user": "your key", "team": "your team's key", "operator": "the operator's key"}


def ask(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The prompt. Default, or with -: standard input.", show_default=False),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task, such as code: the user may have set a model for it.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Requested model: PROVIDER/MODEL or a bare model.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Instructions for the model.")] = None,
    url: UsersUrl = None,
    directory: Directory = HOME,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print answer and receipt as JSON when the answer is complete.")
    ] = False,
) -> None:
    """Send a prompt as the signed-in user, and stream the answer.

    The answer goes to standard output. The receipt follows on standard error: who answered, whose key paid,
    tokens, and the cost if it is known. Sign in first: `supa-llm login`.
    """
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _prompt(prompt)})
    account = Account(url, directory)
    token = account.session()[0].access_token
    secret = account.runtime_secret

    from supa_llm import SupaLLM

    # Without a runtime's secret, the operator's keys never serve.
    with SupaLLM(
        account.sb,
        runtime_secret=secret,
        operator_keys=None if secret else {},
        flush_timeout=_FLUSH_SECONDS,
    ) as llm:
        user = llm.for_user(token)
        try:
            if as_json:
                answer = user.chat(messages, task=task, model=model)
            else:
                with user.stream(messages, task=task, model=model) as stream:
                    for piece in stream:
                        print(piece, end="", flush=True)
                print()
                answer = stream.answer
        except SupaLLMError as error:
            error.hint = _hint(error)
            raise
        recorded = _recorded(user, answer.receipt) if llm.flush(_FLUSH_SECONDS) else None
    cost = recorded.cost if recorded and not recorded.unpriced else None
    team = recorded.attempts[-1].team if recorded else None
    if as_json:
        receipt = {**asdict(answer.receipt), "cost": cost, "team": team}
        print_json({"text": answer.text, "finish_reason": answer.finish_reason, "receipt": receipt})
        return
    for line in _receipt(answer.receipt, cost, team):
        typer.echo(line, err=True)
    if answer.finish_reason == "length":
        typer.echo("The answer reached the limit of output tokens, so it is incomplete.", err=True)


def _prompt(given: str | None) -> str:
    if given is None and sys.stdin.isatty():
        prompt = ""  # otherwise the command would wait without saying so
    else:
        prompt = sys.stdin.read() if given in (None, "-") else str(given)
    if not prompt.strip():
        raise typer.BadParameter("Pass a prompt, or pipe one to standard input.")
    return prompt


def _hint(error: SupaLLMError) -> str:
    """What to do on the command line, where that differs from the app."""
    if error.code == "runtime_required":
        return (
            "Set SUPA_LLM_RUNTIME_SECRET to the secret of a runtime (supa-llm runtimes add NAME). Or, for an "
            "app without a server, let users get their own keys: supa-llm settings set keys_readable_by=owner"
        )
    return SIGN_IN if isinstance(error, NotSignedInError) else error.hint


def _recorded(user: UserLLM, receipt: Receipt) -> RecordedRequest | None:
    """The request as recorded, with its cost and the name of the team whose key paid."""
    return next((it for it in user.list_requests(10) if it.request_id == receipt.request_id), None)


def _receipt(receipt: Receipt, cost: Decimal | None, team: str | None) -> Iterator[str]:
    """One line per attempt; the last one answered."""
    *failed, answered = receipt.attempts
    for attempt in failed:
        yield f"{attempt.provider}/{attempt.model}  failed: {attempt.error_class}"
    parts = [
        f"{answered.provider}/{answered.model}",
        " ".join(filter(None, (f"{team}'s key" if team else _PAYS[answered.key_source], answered.key_hint))),
        _tokens(answered),
        dollars(cost) if cost is not None else "unknown cost",
        seconds(answered.latency_ms),
    ]
    yield "  ".join(parts)


def _tokens(attempt: Attempt) -> str:
    tokens = {"input": attempt.usage.input_tokens, "output": attempt.usage.output_tokens}
    known = [counted(count, f"{kind} token") for kind, count in tokens.items() if count is not None]
    return ", ".join(known) or "no usage reported"
