"""The steps of the demo, and their expected results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

from supa_llm.errors import NoCandidateError, NotFoundError, ProviderError, SupaLLMError
from supa_llm.values.receipts import Receipt
from supa_llm.values.usage import UsageLine
from supa_llm_cli.amounts import counted
from supa_llm_cli.demo.claims import Claims, refusal
from supa_llm_cli.demo.emulator import Emulator
from supa_llm_cli.demo.show import Show
from supa_llm_cli.demo.stage import Person, Project

_PROMPT = "What is the capital of France?"
_RATE_LIMITED = 60  # seconds; longer than the rest of the demo
_PATIENCE = 1.5  # seconds for one attempt when showing a timeout
_AT_ONCE, _ALLOWED = 12, 3  # Cleo's concurrent requests, and how many her quota allows
#: Tables with rows of users, and the columns that name the user.
_TABLES = {
    "user_llm_settings": "user_id",
    "llm_keys": "owner_id",
    "llm_usage_events": "user_id",
    "llm_usage_totals": "user_id",
    "llm_audit_log": "user_id",
}


class Story:
    """Three users of one app: Ada wants Groq for speed, Ben has three providers, Cleo has no key."""

    def __init__(self, project: Project, emulator: Emulator, show: Show, claims: Claims) -> None:
        self._project, self._emulator, self._show, self._claims = project, emulator, show, claims

    def tell(self) -> None:
        show = self._show
        show.chapter("1. Three users sign in and save their keys and settings")
        ada, ben, cleo = (self._project.sign_in(name) for name in ("Ada", "Ben", "Cleo"))
        self._store(ada, ben, cleo)
        show.chapter("2. Routes: which providers would serve a request, and why")
        self._routes(ada, ben, cleo)
        show.chapter(f"3. Requests and their receipts: “{_PROMPT}”")
        self._requests(ada, ben, cleo)
        show.chapter("4. Streaming")
        self._stream(ada)
        show.chapter("5. Fallback: Ben's default provider fails, and he still gets an answer")
        self._failures(ben)
        show.chapter("6. Isolation: Cleo cannot read or change Ada's data")
        self._isolation(ada, cleo)
        show.chapter("7. Usage: requests, cost, and whose key paid")
        self._usage([ada, ben, cleo])
        show.chapter(f"8. Quota on the operator's keys: Cleo sends {_AT_ONCE} requests at once")
        self._quota(cleo)

    def _store(self, ada: Person, ben: Person, cleo: Person) -> None:
        self._set_keys(ada, "groq", "openai")
        ada.llm.set_task("speed", "groq")
        self._set_keys(ben, "openai", "mistral", "anthropic")
        ben.llm.set_settings(default_provider="openai")
        ben.llm.set_preference("mistral", priority=1, model="mistral-small-latest")
        ben.llm.set_preference("anthropic", priority=2)
        ben.llm.set_task("code", "anthropic")
        cleo.llm.get_settings()
        for person, preferences in (
            (ada, "prefers groq for speed"),
            (ben, "openai by default, then mistral, anthropic; anthropic for code"),
            (cleo, "accepts the operator's keys (groq, openai)"),
        ):
            stored = person.llm.list_keys()
            self._show.person(person.name, [f"{key.provider} {key.hint}" for key in stored], preferences)
        ciphertexts, readable = self._project.stored_keys(ada, ben)
        self._claims.check(
            "the database stores only ciphertext; owners can reveal their own keys",
            {"stored": 5, "readable in the table": 0, "read back": True},
            {
                "stored": ciphertexts,
                "readable in the table": readable,
                # Compare here, since a real key must never appear in a message.
                "read back": ben.llm.reveal_key("mistral") == self._project.key("mistral", "Ben"),
            },
        )

    def _routes(self, ada: Person, ben: Person, cleo: Person) -> None:
        self._explain(
            ada,
            "speed",
            "her choice for speed comes first, and her keys before the operator's",
            ["groq user", "openai user", "groq operator", "openai operator"],
        )
        self._explain(
            ben,
            None,
            "his keys come first, in his order, then the operator's",
            ["openai user", "mistral user", "anthropic user", "openai operator", "groq operator"],
        )
        self._explain(
            cleo, None, "she gets the operator's keys, with OpenAI last", ["groq operator", "openai operator"]
        )
        offered = {"p_operator_providers": ["groq", "openai"]}
        alone: Any = cleo.sb.rpc("explain_llm_route", offered).execute().data
        self._claims.check(
            "without the secret of the app's registered runtime, she gets neither",
            {"candidates": [], "skipped": ["runtime_required"] * 2},
            {
                "candidates": alone["candidates"],
                "skipped": [line["reason"] for line in alone["skipped"] if line["key_source"] == "operator"],
            },
        )

    def _explain(self, person: Person, task: str | None, claim: str, expected: Sequence[str]) -> None:
        route = person.llm.explain_route(task)
        self._show.route(person.name, f"with the task {task}" if task else "without a task", route)
        found = [f"{candidate.provider} {candidate.key_source}" for candidate in route.candidates]
        self._claims.check(claim, expected, found)

    def _requests(self, ada: Person, ben: Person, cleo: Person) -> None:
        self._ask(ada, "sends a request for speed", "groq", "user", task="speed")
        self._ask(ben, "sends a request", "openai", "user")
        self._ask(ben, "sends a request for code", "anthropic", "user", task="code")
        self._ask(cleo, "sends a request", "groq", "operator")
        self._with_openai_client(ada)
        cleo.llm.set_settings(allow_operator_keys=False)
        self._show.event(cleo.name, "declines the operator's keys and sends another request")
        found = "a key was used"
        try:
            self._chat(cleo)
        except NoCandidateError as error:
            found = error.code
            self._show.note(str(error), " " * 7)
        self._claims.check("no declined key is used, and the error says what to do", "no_usable_key", found)
        cleo.llm.set_settings(allow_operator_keys=True)

    def _with_openai_client(self, ada: Person) -> None:
        import openai

        self._show.event(ada.name, "runs code written for the openai package, unchanged")
        receipts: list[Receipt] = []
        client = ada.llm.openai(task="speed", on_receipt=receipts.append)
        text = ""
        try:
            completion = client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": _PROMPT}]
            )
            text = completion.choices[0].message.content or ""
        except openai.OpenAIError as error:
            self._show.note(str(error), " " * 7)
        for receipt in receipts:
            ada.receipts.append(receipt)
            self._show.receipt(ada.name, receipt, text)
        self._claims.check(
            "the openai client gets the same route, key and receipt",
            [{"answered by": "groq", "key": "user"}],
            [_answerer(receipt) for receipt in receipts],
        )

    def _stream(self, ada: Person) -> None:
        self._show.event(ada.name, "asks for a story")
        text: list[str] = []
        receipt = None
        try:
            with ada.llm.stream("Tell me a story.", task="speed") as stream:
                for piece in self._show.pieces(stream):
                    text.append(piece)
            receipt = stream.receipt
        except ProviderError as error:
            self._show.note(str(error), " " * 7)
            receipt = error.receipt
        if receipt:
            ada.receipts.append(receipt)
            self._show.receipt(ada.name, receipt, None)
        self._claims.check(
            f"the answer arrived in {counted(len(text), 'piece')} with {counted(_tokens(receipt), 'token')}",
            {"answered by": "groq", "key": "user", "pieces": True, "tokens": True},
            {**_answerer(receipt), "pieces": len(text) > 1, "tokens": _tokens(receipt) > 0},
        )

    def _failures(self, ben: Person) -> None:
        """Make providers fail. Only the emulator can fail on request, so it stands in for all of them."""
        for provider in ("openai", "mistral", "anthropic"):
            if provider in self._project.real:
                self._project.emulate(provider)
                ben.llm.set_key(provider, self._project.made_up_key(provider, "Ben"))
                self._show.note(
                    f"{provider} is emulated from here on, since the real one cannot fail on request."
                )
        fail, delay = self._emulator.fail, self._emulator.delay
        before = self._standing(ben)

        fail("openai", 500, message="The server had an error")
        self._fall_back(ben, "returns a server error", "server_error")

        delay("openai", 2 * _PATIENCE)
        self._fall_back(ben, "times out", "timeout", attempt_timeout=_PATIENCE)
        self._claims.check("neither failure changes the status of his key", before, self._standing(ben))

        fail("openai", 401, message="Incorrect API key provided")
        self._fall_back(ben, "rejects the key", "auth")
        self._claims.check(
            "the key is marked as rejected, and skipped until Ben replaces it",
            [("rejected", ["key_rejected"]), ("untested", [])],
            [self._standing(ben), self._replaced(ben)],
        )

        fail("openai", 429, retry_after=_RATE_LIMITED, message="Rate limit reached")
        self._fall_back(ben, f"rate-limits the model for {_RATE_LIMITED} s", "rate_limited")
        self._claims.check(
            "requests skip the model until the rate limit ends",
            ("rate_limited", ["model_rate_limited"]),
            self._standing(ben),
        )
        self._ask(ben, "sends a request in the meantime", "mistral", "user")

    def _isolation(self, ada: Person, cleo: Person) -> None:
        self._project.server.flush()
        own = {table: _rows(ada, table, ada.id) for table in _TABLES}
        self._claims.check(
            f"Ada can read her settings, keys, usage and audit log ({counted(sum(own.values()), 'row')})",
            dict.fromkeys(_TABLES, True),
            {table: count > 0 for table, count in own.items()},
        )
        self._claims.check(
            "Cleo gets none of these rows",
            dict.fromkeys(_TABLES, 0),
            {table: _rows(cleo, table, ada.id) for table in _TABLES},
        )
        anonymous = self._project.client()
        self._claims.check(
            "clients that are not signed in are refused",
            dict.fromkeys(_TABLES, "42501"),
            {table: refusal(anonymous.table(table).select("*")) for table in _TABLES},
        )
        self._claims.check(
            "users cannot write to the tables directly",
            dict.fromkeys(_TABLES, "42501"),
            {
                table: refusal(cleo.sb.table(table).delete().eq(column, ada.id))
                for table, column in _TABLES.items()
            },
        )
        self._claims.check(
            "Cleo can neither reveal nor remove Ada's key",
            ("key_not_found", "key_not_found", "working"),
            (
                _code(lambda: cleo.llm.reveal_key("groq")),
                _code(lambda: cleo.llm.remove_key("groq")),
                _status(ada, "groq"),
            ),
        )
        self._claims.check(
            "the API exposes no ciphertext, and administrator functions refuse Cleo",
            ("PGRST106", "42501", "42501"),
            (
                refusal(cleo.sb.schema("llm_private").table("key_secrets").select("*")),
                refusal(cleo.sb.rpc("set_llm_provider", {"p_provider": {"id": "groq"}})),
                refusal(cleo.sb.rpc("set_llm_operator_settings", {"p_changes": {}})),
            ),
        )
        leases = [entry for entry in ada.llm.get_audit_log(500) if entry.action == "lease"]
        self._claims.check(
            "Ada's audit log shows until when the app's server may hold her keys",
            ("runtime", True),
            (leases[0].actor, "until" in leases[0].detail) if leases else None,
        )

    def _usage(self, people: Sequence[Person]) -> None:
        recorded = self._project.server.flush()
        usage = {person.name: person.llm.get_usage() for person in people}
        self._show.usage(usage)
        self._claims.check(
            "each user's totals match their receipts",
            {person.name: _sums_of(person.receipts) for person in people},
            {name: _sums(lines) for name, lines in usage.items()},
        )
        self._claims.check(
            "each line's cost matches the prices in genai-prices",
            {name: [_by_the_list(line) for line in lines] for name, lines in usage.items()},
            {name: [line.cost for line in lines] for name, lines in usage.items()},
        )
        self._claims.check(
            "no usage event was dropped", (True, 0), (recorded, self._project.server.dropped_usage)
        )

    def _quota(self, cleo: Person) -> None:
        used = sum(line.attempts - line.failures for line in cleo.llm.get_usage())
        self._project.admin.set_quota(
            used + _ALLOWED, "requests", "lifetime", key_source="operator", user_id=UUID(cleo.id)
        )
        # Saving her settings makes the server drop the route that it cached before the quota.
        cleo.llm.set_settings(enable_fallbacks=True)

        def ask(_: int) -> str:
            try:
                return cleo.llm.chat(_PROMPT, max_tokens=50).answered_by.key_source
            except SupaLLMError as error:
                refusals.append(str(error))
                return error.code

        refusals: list[str] = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = Counter(pool.map(ask, range(_AT_ONCE)))
        self._show.note(refusals[0] if refusals else "no request was refused", " " * 4)
        self._project.server.flush()
        (quota,) = cleo.llm.list_quotas()
        self._claims.check(
            f"{_ALLOWED} requests were answered, and the other {_AT_ONCE - _ALLOWED} were refused",
            {"operator": _ALLOWED, "quota_exceeded": _AT_ONCE - _ALLOWED},
            dict(outcomes),
        )
        self._claims.check(
            "the quota is used up exactly, and no reservation is left",
            (used + _ALLOWED, 0),
            (quota.used, quota.reserved),
        )

    def _set_keys(self, person: Person, *providers: str) -> None:
        for provider in providers:
            person.llm.set_key(provider, self._project.key(provider, person.name))

    def _ask(self, person: Person, how: str, provider: str, key_source: str, **options: Any) -> None:
        self._show.event(person.name, how)
        receipt = self._chat(person, **options)
        whose = "the operator's key" if key_source == "operator" else f"{person.name}'s own key"
        self._claims.check(
            f"{provider} answered the first attempt with {whose}",
            {"answered by": provider, "key": key_source, "attempts": 1},
            {**_answerer(receipt), "attempts": len(receipt.attempts)},
        )
        # Only a real provider can fail here, and its message shows why.
        for attempt in receipt.attempts:
            if attempt.message:
                self._show.note(f"{attempt.provider}: {attempt.message}", " " * 6)

    def _fall_back(self, ben: Person, what: str, error_class: str, **options: Any) -> None:
        self._show.event("OpenAI", what)
        receipt = self._chat(ben, aloud=False, **options)
        self._claims.check(
            "Mistral, next in Ben's order, answered instead",
            [("openai", error_class), ("mistral", None)],
            [(attempt.provider, attempt.error_class) for attempt in receipt.attempts],
        )
        self._project.server.flush()

    def _chat(self, person: Person, *, aloud: bool = True, **options: Any) -> Receipt:
        text = ""
        try:
            answer = person.llm.chat(_PROMPT, **options)
            receipt, text = answer.receipt, answer.text
        except ProviderError as error:
            receipt = error.receipt
        person.receipts.append(receipt)
        self._show.receipt(person.name, receipt, text if aloud else None)
        return receipt

    def _replaced(self, ben: Person) -> tuple[str, list[str]]:
        ben.llm.set_key("openai", self._project.made_up_key("openai", "BenNew"))
        return self._standing(ben)

    def _standing(self, ben: Person) -> tuple[str, list[str]]:
        """Return the status of Ben's OpenAI key, and the reasons why it is skipped."""
        skipped = ben.llm.explain_route().skipped
        reasons = [it.reason for it in skipped if (it.provider, it.key_source) == ("openai", "user")]
        return _status(ben, "openai"), reasons


def _by_the_list(line: UsageLine) -> Decimal:
    """Price a line with the price list, without the database."""
    from genai_prices import Usage, calc_price

    if not line.input_tokens and not line.output_tokens:
        return Decimal(0)
    tokens = Usage(input_tokens=line.input_tokens, output_tokens=line.output_tokens)
    return calc_price(tokens, line.model or "", provider_id=line.provider).total_price


def _answerer(receipt: Receipt | None) -> dict[str, Any]:
    answer = receipt.answered_by if receipt else None
    if answer is None:
        return {"answered by": "none", "key": "none"}
    return {"answered by": answer.provider, "key": answer.key_source}


def _tokens(receipt: Receipt | None) -> int:
    answer = receipt.answered_by if receipt else None
    return (answer.usage.output_tokens or 0) if answer else 0


def _rows(person: Person, table: str, user_id: str) -> int:
    return len(person.sb.table(table).select("*").eq(_TABLES[table], user_id).execute().data)


def _status(person: Person, provider: str) -> str:
    stored = person.llm.list_keys()
    return next((key.status for key in stored if key.provider == provider), "no key")


def _code(call: Any) -> str:
    try:
        call()
    except NotFoundError as error:
        return error.code
    return "allowed"


def _sums(lines: Sequence[UsageLine]) -> dict[str, int]:
    return {
        "requests": sum(line.requests for line in lines),
        "attempts": sum(line.attempts for line in lines),
        "failures": sum(line.failures for line in lines),
        "input tokens": sum(line.input_tokens for line in lines),
        "output tokens": sum(line.output_tokens for line in lines),
    }


def _sums_of(receipts: Sequence[Receipt]) -> dict[str, int]:
    attempts = [attempt for receipt in receipts for attempt in receipt.attempts]
    return {
        "requests": len(receipts),
        "attempts": len(attempts),
        "failures": sum(attempt.outcome == "failed" for attempt in attempts),
        "input tokens": sum(attempt.usage.input_tokens or 0 for attempt in attempts),
        "output tokens": sum(attempt.usage.output_tokens or 0 for attempt in attempts),
    }
