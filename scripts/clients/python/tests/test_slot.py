"""A slot that is held while a body runs."""

from __future__ import annotations

import asyncio
import threading
import time
import pytest
import redis
import redis.asyncio

from redis_rl import AsyncLimiter, Limiter, NoSlot, Outage, SlotLost
from server import Server, patient, until


# The ttl of a slot that is renewed, in seconds. It doubles after each attempt in which the machine stalled.
TTL = 1.5


def held(server: Server) -> int:
    return server.client.execute_command("RL.LEASES", "jobs", 5)[0]


def run_async(server: Server, test) -> None:
    async def run() -> None:
        client = patient(redis.asyncio.Redis, server.port)
        await test(AsyncLimiter(client, timeout=30))
        await client.aclose()

    asyncio.run(asyncio.wait_for(run(), 120))


@pytest.fixture
def limiter(server):
    client = patient(redis.Redis, server.port)
    yield Limiter(client, timeout=30)
    client.close()


class Stalls:
    """Detects pauses of more than a third of a slot's ttl: the slot may have ended meanwhile."""

    def __init__(self, ttl: float) -> None:
        self._most, self._last, self._longest = ttl / 3, time.monotonic(), 0.0

    def happened(self) -> bool:
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        return self._longest > self._most


def test_async_slot_is_renewed_while_the_body_runs_and_released(server) -> None:
    async def attempt(limiter: AsyncLimiter, ttl: float, stalls: Stalls) -> None:
        async with limiter.slot("jobs", 1, ttl) as slot:
            first = slot.ends
            while slot.ends < first + 2 * ttl:
                assert held(server) == 1
                await asyncio.sleep(0.02)
                stalls.happened()
            with pytest.raises(NoSlot):
                async with limiter.slot("jobs", 1, ttl):
                    raise AssertionError("the only slot is held")
        assert held(server) == 0

    async def test(limiter: AsyncLimiter) -> None:
        ttl = TTL
        while True:
            server.client.delete("jobs")
            stalls = Stalls(ttl)
            try:
                return await attempt(limiter, ttl, stalls)
            except (AssertionError, SlotLost, pytest.fail.Exception):
                if not stalls.happened():
                    raise
            ttl *= 2

    run_async(server, test)


def test_async_body_is_cancelled_when_a_renewal_returns_0(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        with pytest.raises(SlotLost):
            async with limiter.slot("jobs", 1, 0.6):
                server.client.delete("jobs")
                await asyncio.sleep(50)
        # The cancellation is over: the task goes on.
        await asyncio.sleep(0)
        assert not asyncio.current_task().cancelling()

    run_async(server, test)


def test_async_body_is_cancelled_when_no_renewal_comes_through() -> None:
    own = Server()

    async def test(limiter: AsyncLimiter) -> None:
        while True:
            try:
                async with limiter.slot("jobs", 1, 0.6):
                    own.hang()
                    await asyncio.sleep(50)
            except SlotLost:
                return
            except (NoSlot, Outage):
                pass  # On a busy machine the server may not answer in time.

    async def run() -> None:
        client = patient(redis.asyncio.Redis, own.port)
        await test(AsyncLimiter(client, timeout=0.05))
        await client.aclose()

    asyncio.run(asyncio.wait_for(run(), 120))
    own.go_on()
    own.stop()


def test_async_error_and_cancellation_of_the_body_release_the_slot(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        with pytest.raises(KeyError):
            async with limiter.slot("jobs", 1, 3600):
                raise KeyError
        assert held(server) == 0

        async def body() -> None:
            async with limiter.slot("jobs", 1, 3600):
                await asyncio.sleep(50)

        task = asyncio.create_task(body())
        while held(server) == 0:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert held(server) == 0

    run_async(server, test)


def test_slot_is_renewed_while_the_body_runs_and_released(server, limiter) -> None:
    def attempt(ttl: float, stalls: Stalls) -> None:
        with limiter.slot("jobs", 1, ttl) as slot:
            first = slot.ends
            until(lambda: stalls.happened() and slot.lost or slot.ends >= first + 2 * ttl)
            assert held(server) == 1 and not slot.lost
            with pytest.raises(NoSlot):
                limiter.slot("jobs", 1, ttl).__enter__()
        assert held(server) == 0

    ttl = TTL
    while True:
        server.client.delete("jobs")
        stalls = Stalls(ttl)
        try:
            return attempt(ttl, stalls)
        except (AssertionError, SlotLost, pytest.fail.Exception):
            if not stalls.happened():
                raise
        ttl *= 2


def test_body_sees_that_its_slot_is_lost(server, limiter) -> None:
    with pytest.raises(SlotLost):
        with limiter.slot("jobs", 1, 0.6) as slot:
            server.client.delete("jobs")
            until(lambda: slot.lost)
            slot.check()


def test_slot_waits_in_the_server(server, limiter) -> None:
    events = []

    def second() -> None:
        with limiter.slot("jobs", 1, 3600, wait=50):
            events.append("second")

    with limiter.slot("jobs", 1, 3600):
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: server.client.execute_command("RL.LEASES", "jobs", 1)[6] == 1)
        events.append("first")
    thread.join()
    assert events == ["first", "second"]
    with limiter.slot("jobs", 1, 3600):
        start = time.monotonic()
        with pytest.raises(NoSlot):
            limiter.slot("jobs", 1, 3600, wait=0.2).__enter__()
        assert time.monotonic() - start >= 0.2
