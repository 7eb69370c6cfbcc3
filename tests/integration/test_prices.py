"""Prices through the client and the administrator's view, on a real project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from supa_llm import (
    Admin,
    AsyncSupaLLM,
    ConfigurationError,
    InvalidInputError,
    NotFoundError,
    Price,
    PriceChange,
    SupaLLM,
)
from tests.support import Stack, User


@pytest.fixture
def llm(user: User) -> Iterator[SupaLLM]:
    with SupaLLM(user.client()) as llm:
        yield llm


@pytest.fixture
def admin(stack: Stack) -> Iterator[Admin]:
    with Admin(stack.api_url, stack.secret_key) as admin:
        yield admin


@pytest.fixture
def tariff(stack: Stack) -> Iterator[str]:
    """A provider whose prices are removed after the test."""
    stack.admin(
        "set_llm_provider",
        p_provider={"id": "tariff", "base_url": "https://tariff.example", "default_model": "m"},
    )
    yield "tariff"
    with stack.connect() as connection:
        for table in ("llm_private.price_names", "llm_private.price_list", "public.llm_prices"):
            connection.execute(f"delete from {table} where provider = 'tariff'")
        connection.execute("delete from public.llm_providers where id = 'tariff'")


def entry(rate: float, **more: Any) -> dict[str, Any]:
    return {"name": "m", "pattern": "^m", "position": 0, "prices": [{"rates": {"input": rate}, **more}]}


def test_a_users_own_price_comes_first(llm: SupaLLM, admin: Admin, tariff: str) -> None:
    general = admin.set_price(tariff, "m*", {"input": 2, "output": 8})
    assert [price.id for price in llm.list_prices(tariff, "m-1") if price.in_force] == [general.id]
    own = llm.set_price(
        tariff, "M-1", {"input": {"base": Decimal(1), "above": {"1000": 2}}, "output": Decimal("0.5")}
    )
    assert isinstance(own, Price)
    assert (own.source, own.model, own.key_source) == ("user", "m-1", "user")
    assert own.rates == {"input": {"base": 1, "above": {"1000": 2}}, "output": 0.5}
    first, second = llm.list_prices(tariff, "m-1")
    assert (first.id, first.in_force, second.id, second.in_force) == (own.id, True, general.id, False)
    assert {price.id for price in admin.list_prices(tariff)} == {general.id}
    ended = llm.end_price(own.id)
    assert ended.valid_until is not None
    assert [price.in_force for price in llm.list_prices(tariff, "m-1")] == [True]


def test_dates_are_midnight_utc_and_times_have_their_zone(llm: SupaLLM, tariff: str) -> None:
    until = datetime(2027, 1, 1, 9, tzinfo=UTC)
    price = llm.set_price(tariff, "m", {"input": 1}, valid_from=date(2026, 1, 1), valid_until=until)
    assert (price.valid_from, price.valid_until) == (datetime(2026, 1, 1, tzinfo=UTC), until)
    assert llm.set_price(tariff, "m", {"input": 1}).valid_until is None
    with pytest.raises(InvalidInputError, match="valid_from"):
        llm.set_price(tariff, "m", {"input": 1}, valid_from=datetime(2026, 1, 1))


def test_a_refusal_lists_what_is_allowed(llm: SupaLLM, admin: Admin, tariff: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        llm.set_price(tariff, "m", {"inputs": 1})
    assert caught.value.code == "invalid_price"
    assert "cached_input" in caught.value.hint
    with pytest.raises(NotFoundError):
        llm.set_price("nobody", "m", {"input": 1})
    with pytest.raises(NotFoundError):
        llm.end_price(admin.set_price(tariff, "m", {"input": 1}).id)
    with pytest.raises(InvalidInputError):
        admin.sync_prices(tariff, [{"name": "m"}], apply=True)


def test_a_sync_previews_its_changes_and_applies_them_on_request(admin: Admin, tariff: str) -> None:
    (change,) = admin.sync_prices(tariff, [entry(1)])
    assert change == PriceChange("m", "added", None, None, None, None, {"input": 1}, None, None)
    assert admin.list_prices(tariff) == []
    admin.sync_prices(tariff, [entry(1)], apply=True)
    (price,) = admin.list_prices(tariff, "m")
    assert (price.source, price.in_force, price.valid_from, price.valid_until) == (
        "catalog",
        True,
        None,
        None,
    )
    assert admin.sync_prices(tariff, [entry(1)], apply=True) == []
    night = {"daily_from": "22:00", "daily_until": "06:00"}
    changes = {change.change: change for change in admin.sync_prices(tariff, [entry(3, **night)])}
    assert changes["gone"].before == {"input": 1}
    assert (changes["added"].daily_from, changes["added"].daily_until) == (time(22), time(6))


def test_a_price_ends_when_the_next_one_begins(admin: Admin, tariff: str) -> None:
    """In transactions of their own, with different values of now()."""
    for rate in (1, 2, 3):
        admin.sync_prices(tariff, [entry(rate)], apply=True)
    (price,) = admin.list_prices(tariff, "m")
    assert price.rates == {"input": 3}
    assert price.valid_from is not None
    assert datetime.now(UTC) - price.valid_from < timedelta(minutes=5)


async def test_the_asyncio_client_does_the_same(
    new_user: Callable[[], User], admin: Admin, tariff: str
) -> None:
    client = await new_user().async_client()
    async with AsyncSupaLLM(client) as llm:
        price = await llm.set_price(tariff, "m", {"input": 1})
        assert [it.id for it in await llm.list_prices(tariff, "m")] == [price.id]
        assert (await llm.end_price(price.id)).id == price.id
        assert await llm.list_prices(tariff, "m") == []


@pytest.mark.parametrize("url", ["", "project.supabase.co", "https://"])
def test_an_invalid_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL"):
        Admin(url, "sb_secret_x")


@pytest.mark.parametrize("key", ["", "two words", "ümlaut"])
def test_an_invalid_key_is_refused_before_a_request_is_sent(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Admin("https://project.test", key)
    assert not key or key not in str(caught.value)
    assert "secret" not in repr(vars(Admin("https://project.test", "sb_secret_x")))
