"""An estimate that is charged while a body runs, and settled once."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import pytest
import redis.asyncio

from redis_rl import AsyncLimiter, Denied, HoldEnded, Limiter, bucket, hold, lease, window
from server import Server, Wire, patient

TPM, MONTH, RUN, HOLDS = "{u}:tpm", "{u}:month", "{u}:run", "{u}:holds"


def limits(cost: int = 1500):
    return (
        bucket(TPM, "1/d", 20000, cost=cost),
        window(MONTH, 2_000_000, "30d", cost=cost),
        lease(RUN, 5, 3600, "req"),
    )


def state(server: Server) -> tuple[int, int, int, int]:
    """Returns the tokens missing, the month's use, the slots held and the open holds."""
    ask = server.client.execute_command
    return (
        20000 - ask("RL.PEEK", TPM, "1/d", 20000)[2],
        2_000_000 - ask("RL.WPEEK", MONTH, 2_000_000, "30d")[2],
        ask("RL.LEASES", RUN, 5)[0],
        ask("RL.HOLDS", HOLDS)[0],
    )


async def until_state(server: Server, expected) -> None:
    async with asyncio.timeout(120):
        while state(server) != expected:
            await asyncio.sleep(0.01)


def run(server: Server, test, port: int = 0, timeout: float = 30) -> None:
    async def connected() -> None:
        client = patient(redis.asyncio.Redis, port or server.port)
        await test(AsyncLimiter(client, timeout=timeout))
        await client.aclose()

    asyncio.run(asyncio.wait_for(connected(), 120))


def test_estimate_is_settled_by_what_was_used(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
            assert state(server) == (1500, 1500, 1, 1)
            reservation.used = {TPM: 1120, MONTH: 1700}
        assert state(server) == (1120, 1700, 0, 0)
        async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600):
            pass  # Without an amount it is the estimate.
        assert state(server) == (2620, 3200, 0, 0)

    run(server, test)


def test_error_and_cancellation_of_the_body_are_settled_with_0(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        with pytest.raises(KeyError):
            async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600):
                raise KeyError
        assert state(server) == (0, 0, 0, 0)

        async def body() -> None:
            async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600):
                await asyncio.sleep(50)

        task = asyncio.create_task(body())
        await until_state(server, (1500, 1500, 1, 1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_state(server, (0, 0, 0, 0))

    run(server, test)


def test_amounts_used_by_a_failed_body_are_charged(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        with pytest.raises(ConnectionError):
            async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
                reservation.used[TPM] = 700
                raise ConnectionError
        assert state(server) == (700, 0, 0, 0)

        has_used = asyncio.Event()

        async def body() -> None:
            async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
                reservation.used = {TPM: 1, MONTH: 2}
                has_used.set()
                await asyncio.sleep(50)

        task = asyncio.create_task(body())
        await has_used.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_state(server, (701, 2, 0, 0))

    run(server, test)


@pytest.mark.parametrize("used", [{"{u}:tmp": 1}, {RUN: 1}, {TPM: -1}, {TPM: 1.5}, {TPM: None}])
def test_amount_that_cannot_be_charged_raises_and_its_limit_is_charged_the_cost(server, used) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        with pytest.raises(ValueError, match=next(iter(used))):
            async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
                reservation.used = {MONTH: 20, **used}
        assert state(server) == (1500, 20, 0, 0)
        with pytest.raises(KeyError, match="mine"):  # The error of the body is not hidden.
            async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
                reservation.used = used
                raise KeyError("mine")
        assert state(server) == (1500, 20, 0, 0)

    run(server, test)
    with pytest.raises(ValueError), Limiter(patient(redis.Redis, server.port), timeout=30).reserve(
        *limits(), holds=HOLDS, ttl=3600
    ) as reservation:
        reservation.used = used


def test_denial_charges_nothing_and_leaves_no_hold(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        with pytest.raises(Denied) as denied:
            async with limiter.reserve(*limits(20001), holds=HOLDS, ttl=3600):
                raise AssertionError("it is denied")
        assert [one.allowed for one in denied.value.decisions.each[:3]] == [False, True, True]
        assert denied.value.keys == (TPM,) and str(denied.value) == f"denied by {TPM}; retrying does not help"
        assert state(server) == (0, 0, 0, 0)

    run(server, test)


def test_lost_replies_charge_once_and_settle_once(server) -> None:
    wire = Wire(server.port)

    async def test(limiter: AsyncLimiter) -> None:
        assert await limiter.take("connects", 1, 1)
        wire.lose = 1  # The reply of RL.ALL.
        async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
            assert wire.lose == 0 and state(server) == (1500, 1500, 1, 1)
            reservation.used = {TPM: 1000, MONTH: 1000}
            wire.lose = 1  # The reply of RL.SETTLE.
        await until_state(server, (1000, 1000, 0, 0))

    run(server, test, wire.port)
    wire.stop()


def test_work_longer_than_its_ttl_keeps_its_hold(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        async with limiter.reserve(bucket(TPM, "1/d", 20000, cost=5), holds=HOLDS, ttl=9):
            left = []
            while len(left) < 2 or left[-1] <= left[-2]:  # Until a repeat moves the deadline.
                left.append((await limiter.holds(HOLDS)).holds[0][1])
                await asyncio.sleep(0.02)

    run(server, test)


def test_body_is_cancelled_when_its_hold_was_settled(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        taken = bucket(TPM, "1/d", 20000, cost=5)
        with pytest.raises(HoldEnded):
            async with limiter.reserve(taken, holds=HOLDS, ttl=9, id="mine"):
                settled = await limiter.settle((taken, 7), (hold(HOLDS, 9, "mine"), 0))
                assert (settled.state, settled.each[0]) == (1, 2)
                await asyncio.sleep(50)
        assert state(server)[0] == 7
        assert (await limiter.settle((taken, 7), (hold(HOLDS, 9, "mine"), 0))).state == 0

    run(server, test)


def test_hold_that_is_not_known_any_more_is_charged_by_force(server) -> None:
    async def test(limiter: AsyncLimiter) -> None:
        async with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
            server.client.flushall()
            reservation.used = {TPM: 10, MONTH: 20}
        await until_state(server, (10, 20, 0, 0))

    run(server, test)


def test_calls_of_threads(server) -> None:
    client = patient(redis.Redis, server.port)
    limiter = Limiter(client, timeout=30)
    held = hold(HOLDS, 60, "a", charge=True)
    assert limiter.all(*limits(), held)
    told = limiter.holds(HOLDS)
    assert (told.open, told.holds[0][0], told.holds[0][2:]) == (1, "a", (True, {TPM: 1500, MONTH: 1500}))
    settled = limiter.settle(*((one, 1000) for one in limits()), (held, 0))
    assert (settled.state, settled.each[:3]) == (1, (-500, -500, 1))
    client.close()


@contextmanager
def threads(server: Server, port: int = 0, timeout: float = 30):
    """Yields a limiter for threads."""
    client = patient(redis.Redis, port or server.port)
    yield Limiter(client, timeout=timeout)
    client.close()


def until(what) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_thread_settles_by_what_was_used_or_with_0(server) -> None:
    with threads(server) as limiter:
        with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
            assert state(server) == (1500, 1500, 1, 1)
            reservation.used = {TPM: 1120, MONTH: 1700}
        assert state(server) == (1120, 1700, 0, 0)
        with pytest.raises(KeyError):
            with limiter.reserve(*limits(), holds=HOLDS, ttl=3600):
                raise KeyError
        assert state(server) == (1120, 1700, 0, 0)
        with pytest.raises(Denied):
            with limiter.reserve(*limits(20001), holds=HOLDS, ttl=3600):
                raise AssertionError("it is denied")
        assert state(server) == (1120, 1700, 0, 0)


def test_threads_lost_replies_charge_once_and_settle_once(server) -> None:
    wire = Wire(server.port)
    with threads(server, wire.port) as limiter:
        assert limiter.take("connects", 1, 1)
        wire.lose = 1  # The reply of RL.ALL.
        with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
            assert wire.lose == 0 and state(server) == (1500, 1500, 1, 1)
            reservation.used = {TPM: 1000, MONTH: 1000}
            wire.lose = 1  # The reply of RL.SETTLE.
        until(lambda: state(server) == (1000, 1000, 0, 0))
    wire.stop()


def test_thread_whose_work_is_longer_than_its_ttl_keeps_its_hold(server) -> None:
    with threads(server) as limiter:
        with limiter.reserve(bucket(TPM, "1/d", 20000, cost=5), holds=HOLDS, ttl=9):
            left = []

            def was_repeated() -> bool:
                left.append(limiter.holds(HOLDS).holds[0][1])
                return len(left) > 1 and left[-1] > left[-2]

            until(was_repeated)


def test_thread_sees_that_its_hold_was_settled(server) -> None:
    with threads(server) as limiter:
        taken = bucket(TPM, "1/d", 20000, cost=5)
        with pytest.raises(HoldEnded):
            with limiter.reserve(taken, holds=HOLDS, ttl=9, id="mine") as reservation:
                assert not reservation.ended
                reservation.check()
                limiter.settle((taken, 7), (hold(HOLDS, 9, "mine"), 0))
                until(lambda: reservation.ended)
        assert state(server)[0] == 7


def test_threads_hold_that_is_not_known_any_more_is_charged_by_force(server) -> None:
    with threads(server) as limiter:
        with limiter.reserve(*limits(), holds=HOLDS, ttl=3600) as reservation:
            server.client.flushall()
            reservation.used = {TPM: 10, MONTH: 20}
        until(lambda: state(server) == (10, 20, 0, 0))
        assert [one for one in threading.enumerate() if one.name == "redis_rl hold"] == []
