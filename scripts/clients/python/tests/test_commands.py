"""Each command's typed call, against a real server."""

from __future__ import annotations

import inspect
import time

import pytest

from redis_rl import AsyncLimiter, Limiter, bucket, hold, lease, window
from redis_rl.slot import Slot


def test_bucket_calls(server, limits) -> None:
    r = limits(server.port, timeout=30)
    taken = r.take("b", "1/d", 20, cost=5)
    assert taken and (taken.taken, taken.limit, taken.remaining, taken.source) == (5, 20, 15, "server")
    assert taken.retry_after == 0 and taken.reset_after == 5 * 86_400
    assert not r.take("b", "1/d", 20, cost=12, keep=10)
    assert r.take("b", "1/d", 20, cost=100, atmost=True, keep=3).taken == 12
    waits = r.take("b", "1/h", 20, cost=4, maxwait=7200)
    assert waits and 3000 < waits.retry_after <= 3600
    assert r.take("b", "1/h", 20, cost=5, force=True)
    denied = r.peek("b", "1/h", 20, cost=3)
    assert not denied and 8 * 3600 < denied.retry_after <= 9 * 3600 and denied.remaining == 0
    assert r.take("b", "1/h", 20, cost=21).retry_after is None
    assert r.give("c", "1/h", 20, cost=3) == 0 and r.give("b", "1/h", 20, cost=2) == 2


def test_cost_of_zero_is_allowed_unless_the_bucket_owes(server, limits) -> None:
    r = limits(server.port, timeout=30)
    assert r.take("z", "1/h", 5, cost=0).allowed
    assert r.take("z", "1/h", 5, cost=9, force=True)
    assert not r.take("z", "1/h", 5, cost=0).allowed


def test_several_buckets(server, limits) -> None:
    r = limits(server.port, timeout=30)
    both = r.mtake([("{a}", "1/h", 5), ("{a}:b", "1/h", 2)], cost=2)
    assert both and [one.remaining for one in both.each] == [3, 0] and both.taken == 2
    denied = r.mtake([("{a}", "1/h", 5), ("{a}:b", "1/h", 2)], cost=2)
    assert not denied and [one.allowed for one in denied.each] == [True, False]
    assert denied.retry_after == pytest.approx(7200, abs=600)


def test_window_calls(server, limits) -> None:
    r = limits(server.port, timeout=30)
    # It neither begins nor ends within ten hours of now.
    day = f"DAY OFFSET {12 - time.gmtime().tm_hour:+03}:00"
    assert r.wtake("w", 10, day, cost=4).remaining == 6
    assert r.wpeek("w", 10, day, cost=7).allowed is False
    assert r.wtake("w", 10, "DAY", cost=8, atmost=True, keep=1).taken == 5
    assert r.wgive("w", 10, "DAY", cost=3) == 3
    now = round(server.client.time()[0] * 1000)
    assert r.wgive("w", 10, "DAY", cost=1, at=now - 3 * 86_400_000) == 0
    assert r.wtake("s", 3, "SLIDING 1m", force=True, cost=5).remaining == 0


def test_lease_calls(server, limits) -> None:
    r = limits(server.port, timeout=30)
    assert r.acquire("l", 2, 7200, "a").remaining == 1
    assert not r.acquire("l", 2, 7200, "b", keep=1)
    assert r.acquire("l", 2, 3600, "b")
    told = r.leases("l", 2)
    assert (told.held, told.limit, told.remaining) == (2, 2, 0)
    assert [token for token, _ in told.tokens] == ["b", "a"] and 3000 < told.tokens[0][1] <= 3600
    assert r.renew("l", 9000, "a", "c") == 1
    assert r.release("l", "a", "b", "c") == 2


def test_all_or_nothing(server, limits) -> None:
    r = limits(server.port, timeout=30)
    limits_ = (
        bucket("{u}:rpm", "60/m", 10),
        window("{u}:month", 2000, "30d", cost=1500),
        lease("{u}:run", 5, 3600, "req", once=True),
    )
    first = r.all(*limits_)
    assert first and [one.taken for one in first.each] == [1, 1500, 1]
    repeated = r.all(*limits_)
    assert repeated and [one.taken for one in repeated.each] == [0, 0, 1]
    denied = r.all(window("{u}:month", 2000, "30d", cost=501), bucket("{u}:rpm", "60/m", 10))
    assert not denied and [one.allowed for one in denied.each] == [False, True]


def test_time_that_is_not_a_number_names_the_mistake(server, limits) -> None:
    limiter = limits(server.port, timeout=30)
    calls = [
        lambda: limiter.acquire("k", 5, "30s", "t"),
        lambda: limiter.acquire("k", 5, 30, "t", wait="2s"),
        lambda: limiter.renew("k", "30s", "t"),
        lambda: limiter.take("k", 1, 1, maxwait="2s"),
        lambda: lease("k", 5, "30s", "t"),
        lambda: hold("h", "30s", "id"),
        lambda: Slot(None, "k", 5, "30s", "t", 0, 0),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="a time is a number of seconds, such as 30, not '"):
            call()


@pytest.mark.parametrize("kind", [AsyncLimiter, Limiter])
def test_help_has_the_arguments_of_each_command(kind) -> None:
    assert str(inspect.signature(kind.renew)) == "(self, /, key: 'Key', ttl: 'float', *tokens: 'str')"
    assert "keep" in inspect.signature(kind(None).acquire).parameters
