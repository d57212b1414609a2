"""The storage for the package `limits`, by its URI, under each of its strategies."""

from __future__ import annotations

import asyncio
import time

import limits.aio.strategies
import limits.strategies
import pytest
from limits import parse
from limits.storage import storage_from_string

import redis_rl.limits_storage  # noqa: F401, registers the scheme
from server import until

STRATEGIES = ["FixedWindowRateLimiter", "MovingWindowRateLimiter", "SlidingWindowCounterRateLimiter"]


class Sync:
    def __init__(self, port: int, strategy: str) -> None:
        self.storage = storage_from_string(f"redis-rl://127.0.0.1:{port}/0", socket_timeout=60)
        self.limiter = getattr(limits.strategies, strategy)(self.storage)

    def __call__(self, name, *args, of=None, **kwargs):
        return getattr(of or self.limiter, name)(*args, **kwargs)


class Async(Sync):
    def __init__(self, port: int, strategy: str) -> None:
        self.runner = asyncio.Runner()
        self.storage = storage_from_string(f"async+redis-rl://127.0.0.1:{port}/0", socket_timeout=60)
        self.limiter = getattr(limits.aio.strategies, strategy)(self.storage)

    def __call__(self, name, *args, of=None, **kwargs):
        async def call():
            return await getattr(of or self.limiter, name)(*args, **kwargs)

        return self.runner.run(call())


@pytest.fixture(params=STRATEGIES)
def ask(request, server, kind):
    return (Sync if kind == "sync" else Async)(server.port, request.param)


def test_limit_admits_its_number_and_reports_what_is_left(server, ask) -> None:
    limit = parse("5/hour")
    assert ask("get_window_stats", limit, "u").remaining == 5
    assert [ask("hit", limit, "u") for _ in range(6)] == [True] * 5 + [False]
    assert not ask("test", limit, "u") and ask("test", limit, "other")
    stats = ask("get_window_stats", limit, "u")
    assert stats.remaining == 0 and 3000 < stats.reset_time - time.time() <= 3600 * 17 / 16
    ask("clear", limit, "u")
    assert ask("hit", limit, "u", cost=5)


def test_hits_are_free_again_after_their_window(server, ask) -> None:
    limit = parse("2/second")
    until(lambda: ask("hit", limit, "u", cost=2))
    until(lambda: ask("hit", limit, "u", cost=2))


def test_reset_and_check(server, ask) -> None:
    ask("hit", parse("5/hour"), "u")
    server.client.set("other", 1)
    assert ask("check", of=ask.storage)
    assert ask("reset", of=ask.storage) == 1
    assert server.client.keys() == [b"other"]
