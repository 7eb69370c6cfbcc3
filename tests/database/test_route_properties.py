"""Properties of every route, over random catalogs, settings, keys and requests.

`Model` below follows the documentation one step at a time: small, slow and simple.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.database.support import (
    Connection,
    Refused,
    Transaction,
    new_user,
    owner,
    rolled_back,
    runtime_user,
)
from tests.support import Stack

PROVIDERS = ("openai", "groq", "mistral", "anthropic", "google")
TASKS = (None, "speed", "code", "other")
NEEDS = ("tools", "vision", "embeddings")
KEY_STATES = ("none", "untested", "working", "rejected", "rate_limited", "rate_limit_over")
MODELS = (
    "gpt-x",
    "claude-x",
    "unknown-model",
    *(f"{provider}/m" for provider in PROVIDERS),
    "groq",
    "groq/a/b",
)

# The prefix of each provider's models, in the catalog under test.
PREFIXES = {"openai": "gpt", "groq": "gpt", "mistral": "mistral", "anthropic": "claude", "google": "gemini"}


@dataclass(frozen=True)
class Provider:
    id: str
    position: int
    enabled: bool
    capabilities: frozenset[str]
    speed_model: bool
    embedding_model: bool

    def task_models(self) -> dict[str, str]:
        found = {"speed": f"{self.id}-speed"} if self.speed_model else {}
        return {**found, "embedding": f"{self.id}-embedding"} if self.embedding_model else found


@dataclass(frozen=True)
class Situation:
    """Everything that a route depends on."""

    providers: tuple[Provider, ...]
    task_orders: Mapping[str, Sequence[str]]
    keys: Mapping[str, str]
    default_provider: str | None
    enable_fallbacks: bool
    preferences: Mapping[str, Mapping[str, Any]]
    overrides: Mapping[str, Mapping[str, Any]]
    consent: bool | None
    consent_by_default: bool
    task: str | None
    model: str | None
    needs: tuple[str, ...]
    operator_providers: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """A provider, and perhaps a model, named by a step of the route."""

    reason: str
    provider: str
    model: str | None = None


NAMED = ("requested", "task_override", "task_fallback")


@dataclass
class Model:
    """The route, computed step by step as documented."""

    now: Situation
    candidates: list[tuple[str, str, str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)

    def run(self) -> bool:
        """Fill in candidates and skipped. Return False if no provider of the requested model is known."""
        if self.now.model is not None and not self.requested():
            return False
        named = self.named()
        targets = [*named, *self.others({target.provider for target in named})]
        operators = [target for target in targets if target.provider in self.now.operator_providers]
        lines = [(target, "user") for target in targets]
        lines += [(target, "operator") for target in self.with_openai_last(operators)]
        only = named[0].provider if named else self.now.default_provider
        for target, source in lines:
            reason = self.obstacle(target, source)
            swapped = self.candidates or target.provider != (only or target.provider)
            if reason is None and not self.now.enable_fallbacks and swapped:
                reason = "fallbacks_off"
            if reason is None:
                self.candidates.append((source, target.provider, self.model(target), target.reason))
            else:
                self.skipped.append((source, target.provider, reason))
        return True

    def provider(self, name: str) -> Provider:
        return next(provider for provider in self.now.providers if provider.id == name)

    def override(self) -> Mapping[str, Any]:
        return self.now.overrides.get(self.now.task or "", {})

    def named(self) -> list[Target]:
        """Steps 1 and 2: the requested model, then the override of the task."""
        targets = [Target("requested", *request) for request in self.requested()]
        if override := self.override():
            targets.append(Target("task_override", override["provider"], override.get("model")))
            for fallback in override.get("fallbacks", ()):
                targets.append(Target("task_fallback", fallback["provider"], fallback.get("model")))
        return targets

    def requested(self) -> list[tuple[str, str | None]]:
        model = self.now.model
        if model is None:
            return []
        prefix, _, rest = model.partition("/")
        if prefix in PROVIDERS:
            return [(prefix, rest or None)]
        having = [p for p in self.now.providers if model.startswith(PREFIXES[p.id])]
        having.sort(key=lambda p: (p.id != self.now.default_provider, p.position, p.id))
        if not having and self.now.default_provider is not None:
            return [(self.now.default_provider, model)]
        return [(p.id, model) for p in having]

    def others(self, named: set[str]) -> list[Target]:
        """Steps 3 and 4: the default provider, then the rest by priority, task and catalog."""
        order = list(self.now.task_orders.get(self.now.task or "", ()))

        def place(provider: Provider) -> tuple[Any, ...]:
            priority = self.now.preferences.get(provider.id, {}).get("priority", 10_000)
            suits = order.index(provider.id) if provider.id in order else len(order)
            return (provider.id != self.now.default_provider, priority, suits, provider.position, provider.id)

        return [
            Target("default_provider" if p.id == self.now.default_provider else "preference_order", p.id)
            for p in sorted(self.now.providers, key=place)
            if p.id not in named
        ]

    def with_openai_last(self, targets: list[Target]) -> list[Target]:
        """Step 6: the operator's OpenAI key, last unless a step above ranked OpenAI."""
        last = Target("preference_order", "openai")
        placed = "priority" in self.now.preferences.get("openai", {})
        placed |= "openai" in self.now.task_orders.get(self.now.task or "", ())
        if placed or last not in targets:
            return targets
        return [target for target in targets if target != last] + [Target("operator_openai", "openai")]

    def model(self, target: Target) -> str:
        provider = self.provider(target.provider)
        if target.model is not None:
            return target.model
        if "embeddings" in self.now.needs:
            return provider.task_models()["embedding"]
        preferred = self.now.preferences.get(provider.id, {}).get("model")
        return str(preferred or provider.task_models().get(self.now.task or "", f"{provider.id}-default"))

    def obstacle(self, target: Target, source: str) -> str | None:
        provider = self.provider(target.provider)
        if not provider.enabled:
            return "provider_off"
        if self.now.preferences.get(provider.id, {}).get("enabled") is False:
            return "provider_disabled"
        if "embeddings" in self.now.needs and self.now.model is not None and target.reason != "requested":
            return "other_model"
        if "fallbacks" in self.override() and target.reason not in NAMED:
            return "not_in_task_fallbacks"
        if not set(self.now.needs) <= provider.capabilities:
            return "lacks_capability"
        if "embeddings" in self.now.needs and target.model is None and not provider.embedding_model:
            return "no_model"
        if source == "operator":
            agreed = self.now.consent_by_default if self.now.consent is None else self.now.consent
            return None if agreed else "operator_keys_declined"
        states = {"none": "no_key", "rejected": "key_rejected", "rate_limited": "key_rate_limited"}
        return states.get(self.now.keys[provider.id])


# Random situations --------------------------------------------------------------------------------

some_providers = st.lists(st.sampled_from(PROVIDERS), unique=True, max_size=5)
model_or_not = st.sampled_from([None, "mine"])


def present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


preferences = st.builds(
    present,
    enabled=st.sampled_from([None, None, True, False]),
    priority=st.none() | st.integers(0, 3),
    model=model_or_not,
)
choice = st.builds(present, provider=st.sampled_from(PROVIDERS), model=model_or_not)
overrides = st.builds(
    lambda chosen, fallbacks: {**chosen, **present(fallbacks=fallbacks)},
    choice,
    st.none() | st.lists(choice, max_size=3),
)
situations = st.builds(
    Situation,
    providers=st.tuples(
        *(
            st.builds(
                Provider,
                id=st.just(name),
                position=st.integers(1, 3),
                enabled=st.sampled_from([True, True, True, False]),
                capabilities=st.sets(st.sampled_from(NEEDS)).map(frozenset),
                speed_model=st.booleans(),
                embedding_model=st.booleans(),
            )
            for name in PROVIDERS
        )
    ),
    task_orders=st.fixed_dictionaries({"speed": some_providers, "code": some_providers}),
    keys=st.fixed_dictionaries({name: st.sampled_from(KEY_STATES) for name in PROVIDERS}),
    default_provider=st.none() | st.sampled_from(PROVIDERS),
    enable_fallbacks=st.sampled_from([True, True, False]),
    preferences=st.dictionaries(st.sampled_from(PROVIDERS), preferences),
    overrides=st.dictionaries(st.sampled_from(["speed", "code"]), overrides),
    consent=st.none() | st.booleans(),
    consent_by_default=st.booleans(),
    task=st.sampled_from(TASKS),
    model=st.none() | st.sampled_from(MODELS),
    needs=st.sampled_from([(), (), ("tools",), ("vision",), ("embeddings",), ("tools", "vision")]),
    operator_providers=some_providers.map(tuple),
)

SET_UP = """
with situation as (select %(situation)s::jsonb as j), operator as (
  update llm_private.operator_settings
  set operator_keys_by_default = (j -> 'by_default')::boolean from situation
), catalog as (
  update public.llm_providers as p
  set "position" = (n ->> 'position')::integer, enabled = (n ->> 'enabled')::boolean,
    capabilities = array(select jsonb_array_elements_text(n -> 'capabilities')),
    task_models = n -> 'task_models',
    default_model = p.id || '-default', model_pattern = '^' || (n ->> 'prefix')
  from situation, jsonb_array_elements(j -> 'providers') as n where p.id = n ->> 'id'
), tasks as (
  update public.llm_tasks
  set provider_order = coalesce(
    (select array_agg(o) from situation, jsonb_array_elements_text(j -> 'task_orders' -> task) as o), '{}'
  )
), mine as (
  insert into public.user_llm_settings (
    user_id, default_provider, enable_fallbacks, provider_preferences, task_overrides, allow_operator_keys
  )
  select %(user)s, j ->> 'default_provider', (j ->> 'enable_fallbacks')::boolean, j -> 'preferences',
    j -> 'overrides', (j ->> 'consent')::boolean
  from situation
), keys as (
  -- Another user has a working key for every provider.
  insert into public.llm_keys (owner_id, provider, hint, status, rate_limited_until)
  select %(user)s::uuid, k.key, 'mine',
    case when k.value in ('working', 'rejected') then k.value else 'untested' end,
    case k.value
      when 'rate_limited' then now() + interval '1 hour'
      when 'rate_limit_over' then now() - interval '1 hour'
    end
  from situation, jsonb_each_text(j -> 'keys') as k where k.value <> 'none'
  union all
  select %(other)s::uuid, p.id, 'foreign', 'working', null from public.llm_providers as p
  returning owner_id, id, provider
)
insert into llm_private.key_secrets (owner_id, key_id, ciphertext)
select k.owner_id, k.id, llm_private.encrypt_key(
  k.owner_id, k.id, case when k.owner_id = %(user)s then 'mine-' else 'foreign-' end || k.provider,
  llm_private.data_key(k.owner_id)
)
from keys as k
"""


def as_json(now: Situation) -> str:
    return json.dumps(
        {
            "providers": [
                {
                    "id": provider.id,
                    "position": provider.position,
                    "enabled": provider.enabled,
                    "capabilities": sorted(provider.capabilities),
                    "task_models": provider.task_models(),
                    "prefix": PREFIXES[provider.id],
                }
                for provider in now.providers
            ],
            "task_orders": now.task_orders,
            "keys": now.keys,
            "default_provider": now.default_provider,
            "enable_fallbacks": now.enable_fallbacks,
            "preferences": now.preferences,
            "overrides": now.overrides,
            "consent": now.consent,
            "by_default": now.consent_by_default,
        }
    )


@pytest.fixture(scope="module")
def connection(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


def attempt(tx: Transaction, function: str, user: Any, request: Mapping[str, Any]) -> Any:
    try:
        return user.rpc(function, **request)
    except Refused as error:
        return error.code


@given(now=situations)
@settings(
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_route_matches_the_documented_rules(connection: Connection, now: Situation) -> None:
    request = {
        "p_task": now.task,
        "p_model": now.model,
        "p_needs": list(now.needs),
        "p_operator_providers": list(now.operator_providers),
    }
    expected = Model(now)
    with rolled_back(connection) as tx:
        user, other = runtime_user(tx), new_user(tx)
        tx.sql("delete from public.llm_providers where id <> all(%s)", list(PROVIDERS))
        for it in (user, other):
            tx.sql("select llm_private.ensure_key_owner(%s, false)", it.id)
        tx.connection.execute(SET_UP, {"situation": as_json(now), "user": user.id, "other": other.id})
        explained = attempt(tx, "explain_llm_route", user, request)
        resolved = attempt(tx, "resolve_llm_route", user, request)
        held = tx.sql("select owner_id::text as owner, id::text as id, provider from public.llm_keys")
    if not expected.run():
        assert explained == resolved == "unknown_model"
        return

    assert [
        (c["key_source"], c["provider"], c["model"], c["reason"]) for c in explained["candidates"]
    ] == expected.candidates
    assert [
        (line["key_source"], line["provider"], line["reason"]) for line in explained["skipped"]
    ] == expected.skipped
    assert bool(explained["advice"]) == (not expected.candidates)

    if not expected.candidates:
        rate_limited = any(reason == "key_rate_limited" for _, _, reason in expected.skipped)
        assert resolved == ("keys_rate_limited" if rate_limited else "no_usable_key")
        return
    without_keys = [{name: c[name] for name in c if name != "key"} for c in resolved["candidates"]]
    assert without_keys == explained["candidates"]
    mine = {(row["id"], row["provider"]) for row in held if row["owner"] == user.id}
    for candidate in resolved["candidates"]:
        if candidate["key_source"] == "user":
            assert (candidate["key_id"], candidate["provider"]) in mine
            assert candidate["key"] == f"mine-{candidate['provider']}"
        else:
            assert candidate["key"] is candidate["key_id"] is candidate["key_hint"] is None
            assert candidate["provider"] in now.operator_providers
    assert "foreign" not in json.dumps([explained, resolved])
    assert other.id not in json.dumps([explained, resolved])
