"""Batches that are spent in the process."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import selectors
import struct
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from starlette.applications import Starlette
from starlette.routing import Route

import redis_rl.local
from redis_rl import AsyncLimiter, Decision, Local
from redis_rl.asgi import RateLimit
from redis_rl.local import HOLD, _Stash
from redis_rl.rate import rate
from server import Server, Wire, patient, until
from test_asgi import Site, hello

BURST = 10_000


@pytest.fixture(autouse=True)
def no_calls(server) -> None:
    server.client.config_resetstat()


@asynccontextmanager
async def connected(port: int, **arguments):
    client = patient(redis.asyncio.Redis, port)
    local = Local(AsyncLimiter(client, **{"timeout": 30, **arguments}))
    yield local
    await local.aclose()
    await client.aclose()


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test, 120))


def calls(server: Server) -> dict[str, int]:
    stats = server.client.info("commandstats")
    return {name[8:].lower(): of["calls"] for name, of in stats.items() if name.lower().startswith("cmdstat_rl.")}


def missing(server: Server, rate: str) -> int:
    return BURST - server.client.execute_command("RL.PEEK", "k", rate, BURST)[2]


def test_ten_thousand_calls_a_second_cost_at_most_a_hundred_commands(server) -> None:
    async def test() -> None:
        async with connected(server.port) as local:
            start, passed = time.monotonic(), 0
            while (seconds := time.monotonic() - start) < 2 or passed <= 1000:
                if passed < 10_000 * seconds:
                    passed += (await local.take("k", "10000", BURST)).allowed
                else:
                    await asyncio.sleep(0.001)
            sent = sum(calls(server).values())
            assert sent <= 100 * seconds, (passed, sent, seconds)

    run(test())


def test_batch_grows_to_an_eighth_of_the_burst_and_what_is_left_is_refunded(server) -> None:
    async def test() -> None:
        async with connected(server.port) as local:
            rate = "1/h"
            assert (await local.take("k", rate, BURST)).source == "server"
            passed, sizes, take = 1, [], local.limiter.take

            async def recorded(*arguments, cost, **options):
                sizes.append(cost)
                return await take(*arguments, cost=cost, **options)

            local.limiter.take = recorded
            while passed < 5000:
                passed += (await local.take("k", rate, BURST)).allowed
            assert 10 < max(sizes) <= BURST // 8
            await asyncio.sleep(2 * HOLD)
            await local.aclose()
            # Each refund is rounded down.
            refunds = calls(server)["rl.give"]
            assert refunds > 0 and passed <= missing(server, rate) <= passed + refunds

    run(test())


def test_middleware_accepts_it_in_place_of_a_limiter(server) -> None:
    async def test() -> None:
        async with connected(server.port) as local:
            site = Site.__new__(Site)
            site.app = RateLimit(Starlette(routes=[Route("/", hello)]), local, "1/h", BURST)
            got = await asyncio.gather(*(site.ask() for _ in range(200)))
            assert {start["status"] for start, _ in got} == {200}
            assert sum(calls(server).values()) < 100

    run(test())


def test_small_burst_is_taken_one_call_at_a_time(server) -> None:
    async def test() -> None:
        async with connected(server.port) as local:
            got = [await local.take("k", "1/h", 15) for _ in range(20)]
            assert [one.allowed for one in got] == [True] * 15 + [False] * 5
            assert {one.source for one in got} == {"server", "memory"}

    run(test())


def test_short_answer_and_denial(server) -> None:
    async def test() -> None:
        async with connected(server.port) as local:
            server.client.execute_command("RL.TAKE", "k", "1/h", BURST, "COST", BURST - 500)
            passed = 0
            while (denied := await local.take("k", "1/h", BURST)).allowed:
                passed += 1
            # A batch that a busy machine did not spend in time is back later.
            assert 250 < passed <= 500 and denied.retry_after > 3000
            while (await local.take("k", "1/h", BURST)).source != "memory":
                pass
            server.client.execute_command("RL.GIVE", "k", "1/h", BURST, "COST", 100)
            server.client.config_resetstat()
            until_seen = time.monotonic() + 60
            while not (await local.take("k", "1/h", BURST)).allowed:
                assert time.monotonic() < until_seen
                await asyncio.sleep(0.01)
            got = [await local.take("k", "1/h", BURST) for _ in range(50)]
            # Until the bucket would be full again.
            assert {one.source for one in got} == {"server"}

    run(test())


def test_callers_at_once_share_one_call_in_flight(server) -> None:
    async def test() -> None:
        async with connected(server.port) as local:
            await asyncio.gather(*(local.take("k", "1/h", BURST) for _ in range(1000)))
            # Two, unless a busy machine gets a reply too late to spend the batch.
            assert calls(server)["rl.take"] < 20

    run(test())


def test_costs_larger_than_the_batch_are_decided_by_the_server(server) -> None:
    async def test() -> None:
        async with connected(server.port) as local:
            await asyncio.gather(*(local.take("k", "1/h", BURST) for _ in range(100)))
            assert (await local.take("k", "1/h", BURST, cost=5000)).allowed
            server.client.config_resetstat()
            assert (await local.take("k", "1/h", BURST, cost=0)).allowed
            assert calls(server)["rl.take"] == 1
            denied = await local.take("k", "1/h", BURST, cost=5000)
            assert not denied.allowed and denied.retry_after > 90 * 3600

    run(test())


def test_without_the_server_the_bucket_in_the_process_is_spent() -> None:
    async def test() -> None:
        async with connected(1, timeout=0.05, share=0.002) as local:
            got = [await local.take("k", "1/h", BURST) for _ in range(40)]
            assert sum(one.allowed for one in got) == 20

    run(test())


def test_call_without_an_answer_decides_about_those_that_wait_for_it(server) -> None:
    async def test() -> None:
        async with connected(server.port, timeout=0.05) as local:
            server.hang()
            try:
                got = await asyncio.gather(*(local.take("k", "1/h", 7) for _ in range(100)))
            finally:
                server.go_on()
            assert {one.source for one in got} == {"local"} and sum(one.allowed for one in got) == 7
            assert local.limiter.counts.late == 1

    run(test())


def test_nobody_waits_longer_for_a_turn_than_for_ten_time_outs(server) -> None:
    wire = Wire(server.port)

    async def test() -> None:
        async with connected(wire.port, timeout=0.1) as local:
            await local.check()
            wire.delay = 0.04
            # So small a burst has no batches, and so high a rate no denials.
            got = await asyncio.gather(*(local.take("k", 1_000_000, 7) for _ in range(100)))
            sources = [one.source for one in got]
            assert sources.count("server") + sources.count("local") == 100
            assert sources.count("local") > 0 and calls(server)["rl.take"] < 100

    run(test())
    wire.stop()


def granted(tokens: int, source="server") -> Decision:
    return Decision(True, BURST, 3, 0.0, 1.0, tokens, source)


def test_batch_is_refunded_once_less_the_gain_meanwhile() -> None:
    """The bucket might have been full, and have gained nothing: a full refund would admit its gain twice."""
    stash = _Stash("k", rate(90), BURST)
    stash.begin(granted(302), 1000.0)
    assert stash.spend(2, 1000.0) is not None
    assert stash.refund(1000.0 + HOLD) == 300 - 14  # 13.5 tokens in 0.15 s.
    assert stash.refund(1000.0 + HOLD) == 0
    stash.begin(granted(10), 1000.0)
    assert stash.refund(1000.0 + HOLD) == 0


@pytest.mark.parametrize("source", ["local", "policy"])
def test_tokens_that_the_server_did_not_grant_are_not_refunded(source) -> None:
    stash = _Stash("k", rate("1/h"), BURST)
    stash.begin(granted(302, source), 1000.0)
    assert stash.refund(1000.0) == 0


def test_batch_is_not_spent_late() -> None:
    stash = _Stash("k", rate(90), BURST)
    stash.begin(granted(5), 1000.0)
    spent = stash.spend(2, 1000.0 + HOLD - 0.001)
    assert spent is not None and (spent.taken, spent.remaining, spent.source) == (2, 3 + 3, "batch")
    assert spent.reset_after == pytest.approx(0.901)
    assert stash.spend(0, 1000.0) is None and stash.spend(4, 1000.0) is None
    assert stash.spend(2, 1000.0 + HOLD) is None


def test_use_is_that_of_the_last_tenth_of_a_second() -> None:
    stash, now = _Stash("k", rate(1), BURST), 1000.0
    for pause, cost, size in ((0, 401, 401), (0.125, 8, 409), (0.05, 2, 210), (0.2, 3000, 1250)):
        now += pause
        stash.count(cost, now)
        assert stash.batch(now) == size


RATE, SMALL = 1600, 1600


def excess(units: list[float]) -> float:
    """Returns the least burst b so that in no time t more than b + RATE × t units are spent."""
    fewest = most = 0.0
    for count, at in enumerate(sorted(units)):
        beyond = count - RATE * at
        fewest = min(fewest, beyond) if count else beyond
        most = max(most, beyond + 1 - fewest)
    return most


async def spend(local: Local, rng: random.Random, pause: float) -> None:
    """Takes without end, then pauses, and so on."""
    while True:
        end = time.monotonic() + rng.uniform(0, 0.2)
        while time.monotonic() < end:
            await local.take("k", RATE, SMALL)
            await asyncio.sleep(pause)
        await asyncio.sleep(rng.uniform(0, 1))


def spend_until_killed(port: int, path: Path) -> None:
    """Logs the time at which each unit is spent. A unit that the server granted alone counts from its reply, or
    a tenth of a second after its call."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def log(at: float) -> None:
        os.write(file, struct.pack("d", at))

    class LoggedStash(_Stash):
        def spend(self, cost, now):
            decision = super().spend(cost, now)
            if decision:
                log(now)
            return decision

    class Logged(Local):
        async def _take(self, stash, cost):
            sent = time.monotonic()
            decision = await super()._take(stash, cost)
            if decision.allowed and decision.source == "server":
                log(min(time.monotonic(), sent + HOLD))
            return decision

    # This process spends and does nothing else.
    redis_rl.local._Stash = LoggedStash  # type: ignore[misc]

    async def run() -> None:
        limiter = AsyncLimiter(patient(redis.asyncio.Redis, port), timeout=30, on_error="closed")
        await spend(Logged(limiter), random.Random(), 0)

    asyncio.run(run())


def test_log_of_every_unit_is_within_the_limit_while_processes_are_killed(server, tmp_path) -> None:
    processes: list[tuple[Any, Path]] = []

    def start() -> None:
        path = tmp_path / str(time.monotonic_ns())
        process = multiprocessing.get_context("fork").Process(target=spend_until_killed, args=(server.port, path))
        processes.append((process, path))
        process.start()

    for _ in range(4):
        start()
    for _ in range(10):
        process, path = processes.pop(0)
        until(lambda: path.exists() and path.stat().st_size > 0)
        time.sleep(0.2)
        process.kill()
        start()
    for process, _ in processes:
        process.kill()
        process.join()
    logs = [log.read_bytes() for log in tmp_path.iterdir()]
    units = [at for log in logs for (at,) in struct.iter_unpack("d", log)]
    assert len(units) > 100 and excess(units) <= SMALL + RATE * HOLD, (excess(units), len(units))
