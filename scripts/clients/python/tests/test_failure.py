"""The behaviour when the server does not answer, or refuses."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest
import redis
import redis.asyncio

from redis_rl import AsyncLimiter, Limiter, Outage
from redis_rl.failure import is_outage
from server import Server, Wire, patient, until


@pytest.fixture
def own():
    """A server of the test's own, to be killed."""
    server = Server()
    yield server
    server.go_on()
    server.stop()


def test_missing_module_is_raised_and_logged_with_its_text(limits, caplog) -> None:
    bare = Server(module=False)
    r = limits(bare.port, timeout=30)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        r.take("k", 1, 1)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        r.check()
    bare.stop()
    assert r.counts.mistakes == 2 and r.counts.outages == 0
    assert "unknown command" in caplog.text and caplog.records[0].levelno == logging.ERROR


def test_wrong_type_syntax_and_permission_are_raised(server, limits) -> None:
    r = limits(server.port, timeout=30)
    server.client.rpush("list", "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        r.take("list", 1, 1)
    with pytest.raises(redis.ResponseError):
        r.take("k", 1, -1)
    server.client.execute_command("ACL SETUSER app on nopass ~* -@all")
    denied = limits(server.port, timeout=30, connection={"username": "app", "password": "x"})
    with pytest.raises(redis.ResponseError, match="(?i)no permissions"):
        denied.take("k", 1, 1)
    assert (r.counts.mistakes, denied.counts.mistakes) == (2, 1)


@pytest.mark.parametrize("code", ["LOADING", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "BUSY", "CLUSTERDOWN"])
def test_state_of_the_server_is_an_outage(code: str) -> None:
    assert is_outage(redis.ResponseError(f"{code} for a while"))
    assert not is_outage(redis.ResponseError("ERR for ever"))
    assert not is_outage(redis.AuthenticationError("who?"))


def test_server_that_hangs_leaves_the_bucket_in_the_process(own, limits, caplog) -> None:
    r = limits(own.port, share=0.5)
    until(lambda: r.take("first", "1/h", 20).source == "server")
    before = r.counts.outages
    own.hang()
    start = time.monotonic()
    got = [r.take("k", "1/h", 20) for _ in range(15)]
    # Fifteen times 50 ms, however busy the machine: far less than any client waits by itself.
    assert time.monotonic() - start < 30
    assert {one.source for one in got} == {"local"}
    assert sum(one.allowed for one in got) == 10
    assert got[-1].retry_after > 0 and r.counts.outages - before == 15
    assert "no answer" in caplog.text
    own.go_on()
    until(lambda: r.take("other", "100", 20).source == "server")


def test_server_that_is_gone_is_decided_by_the_policy(own, kind, limits) -> None:
    r = {name: limits(own.port, on_error=name) for name in ("open", "closed", "local")}
    own.kill()
    got = {name: [one.take("k", "1/h", 2) for _ in range(3)] for name, one in r.items()}
    assert [one.allowed for one in got["open"]] == [True] * 3
    assert [one.allowed for one in got["closed"]] == [False] * 3 and got["closed"][0].source == "policy"
    assert [one.allowed for one in got["local"]] == [True, True, False]
    with pytest.raises(Outage):
        r["open"].peek("k", 1, 2)
    own.start()
    for one in r.values():
        until(lambda: one.take("k2", 1, 2).source != "local" and one.counts.answered > 0)


def test_every_place_taken_by_a_late_call_decides_at_once(own, limits) -> None:
    r = limits(own.port, in_flight=2, timeout=0.2)
    until(lambda: r.take("first", "1/h", 9).source == "server")
    before = r.counts.late
    own.hang()
    late = [r.take(f"k{n}", 1, 1) for n in range(2)]
    assert r.counts.late - before == 2 and {one.source for one in late} == {"local"}
    for n in range(50):
        assert r.take(f"j{n}", 1, 1).source == "local"
    # Only those that were sent count as late: nobody else waited.
    assert r.counts.late - before < 20


@pytest.mark.parametrize("cluster", [False, True])
def test_take_is_never_sent_again_after_a_lost_reply(kind, cluster) -> None:
    arguments = ("--cluster-enabled", "yes") if cluster else ()
    server = Server(*arguments)
    wire = Wire(server.port)
    if cluster:
        server.client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383" if _ranges(server) else _slots())
        server.client.config_set("cluster-announce-port", wire.port)
        until(lambda: server.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    try:
        if kind == "async":
            asyncio.run(_lose_async(wire, cluster))
        else:
            _lose(wire, cluster)
        # By default the client would send it again.
        taken = 100 - server.client.execute_command("RL.PEEK", "k", "1/d", 100)[2]
        assert taken == 2  # One whose reply came, one whose reply was lost.
    finally:
        wire.stop()
        server.stop()


def _ranges(server: Server) -> bool:
    return not server.client.info("server")["redis_version"].startswith("6.")


def _slots() -> str:
    return "CLUSTER ADDSLOTS " + " ".join(map(str, range(16384)))


async def _lose_async(wire: Wire, cluster: bool) -> None:
    kind = redis.asyncio.RedisCluster if cluster else redis.asyncio.Redis
    client = patient(kind, wire.port)
    limiter = AsyncLimiter(client, timeout=30)
    assert (await limiter.take("k", "1/d", 100)).source == "server"
    wire.lose = 1
    assert (await limiter.take("k", "1/d", 100)).source == "local"
    await client.aclose()


def _lose(wire: Wire, cluster: bool) -> None:
    kind = redis.RedisCluster if cluster else redis.Redis
    client = patient(kind, wire.port)
    limiter = Limiter(client, timeout=30)
    assert limiter.take("k", "1/d", 100).source == "server"
    wire.lose = 1
    assert limiter.take("k", "1/d", 100).source == "local"
    client.close()


def test_flood_passes_no_more_than_the_limit(server, kind) -> None:
    """200 callers at once, for a second and 20 calls each; whatever the machine, the bucket in the process decides nothing."""
    start = time.monotonic()
    flood = _flood_async if kind == "async" else _flood
    limiter, passed, most_open = flood(server, timeout=30)
    elapsed = time.monotonic() - start
    assert limiter.counts.local_allowed == 0 and limiter.counts.outages == 0
    assert passed <= (20 + 100 / 60 * elapsed) * 1.02
    assert passed >= 20
    assert most_open <= 32
    assert limiter.counts.from_memory > limiter.counts.answered


def test_flood_past_the_time_out_passes_at_most_the_share_more(server, kind) -> None:
    """The time-out is so short that it passes under load."""
    start = time.monotonic()
    flood = _flood_async if kind == "async" else _flood
    limiter, passed, _ = flood(server, timeout=0.0005)
    elapsed = time.monotonic() - start
    assert passed <= (20 + 100 / 60 * elapsed) * 2 * 1.02
    assert limiter.counts.local_allowed <= (20 + 100 / 60 * elapsed) * 1.02


def _flood_async(server: Server, timeout: float):
    async def run():
        wire = Wire(server.port)
        client = patient(redis.asyncio.Redis, wire.port)
        limiter = AsyncLimiter(client, timeout=timeout)
        passed, end = 0, time.monotonic() + 1

        async def caller() -> None:
            nonlocal passed
            asked = 0
            while asked < 20 or time.monotonic() < end:
                asked += 1
                decision = await limiter.take("flood", "100/m", 20)
                passed += decision.allowed
                await asyncio.sleep(0)

        await asyncio.gather(*(caller() for _ in range(200)))
        await client.aclose()
        wire.stop()
        return limiter, passed, wire.most_open

    return asyncio.run(run())


def _flood(server: Server, timeout: float):
    wire = Wire(server.port)
    client = patient(redis.Redis, wire.port)
    limiter = Limiter(client, timeout=timeout)
    passed, end = [], time.monotonic() + 1

    def caller() -> None:
        asked = 0
        while asked < 20 or time.monotonic() < end:
            asked += 1
            if limiter.take("flood", "100/m", 20):
                passed.append(1)
            time.sleep(0.001)

    callers = [threading.Thread(target=caller) for _ in range(200)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    client.close()
    wire.stop()
    return limiter, len(passed), wire.most_open


def test_denial_is_remembered_until_its_wait_is_over(server, limits) -> None:
    r = limits(server.port, timeout=30)
    assert r.take("k", "2", 1)

    def remembered() -> bool:
        # On a busy machine the wait may be over before the next call.
        denied, again = r.take("k", "2", 1), r.take("k", "2", 1)
        return again.source == "memory" and again.retry_after <= denied.retry_after

    until(remembered)
    until(lambda: r.take("k", "2", 1).allowed)


def test_denial_is_remembered_for_a_second_at_most(server, limits) -> None:
    r = limits(server.port, timeout=30)
    r.take("k", "1/h", 1)
    start = time.monotonic()
    assert not r.take("k", "1/h", 1)
    server.client.delete("k")
    until(lambda: r.take("k", "1/h", 1).allowed)
    # A refund is seen; that it is not seen at once shows that the denial was remembered.
    assert time.monotonic() - start > 0.9


def test_denial_says_nothing_of_other_limits_and_costs(server, limits) -> None:
    r = limits(server.port, timeout=30)
    r.take("k", "1/h", 5, cost=4)
    until(lambda: r.take("k", "1/h", 5, cost=3).source == "memory")
    assert r.take("k", "1/h", 5, cost=2).source == "server"
    assert r.take("k", "1/h", 5).allowed
    assert not r.take("k", "1/h", 5)
    assert r.take("k", "1/s", 6).source == "server"
    assert r.take("k", "1/h", 5, force=True).allowed


def test_late_denial_is_remembered(own, limits, kind) -> None:
    r = limits(own.port, timeout=0.1)
    until(lambda: r.take("k", "1/h", 1).source == "server")

    def remembered() -> bool:
        own.hang()
        late = r.take("k", "1/h", 1).source == "local"
        before = r.counts.answered
        own.go_on()
        while late and r.counts.answered == before:
            if kind == "async":
                r.runner.run(asyncio.sleep(0.01))
        # On a busy machine more than the second may have passed.
        return late and r.take("k", "1/h", 1).source == "memory"

    until(remembered)


def test_wrong_settings_are_errors() -> None:
    for wrong in ({"timeout": 0}, {"on_error": "maybe"}, {"share": 0}, {"share": 2}, {"in_flight": 0}):
        with pytest.raises(ValueError):
            Limiter(redis.Redis(), **wrong)
    with pytest.raises(ValueError):
        Limiter(redis.Redis()).take("k", "many", 1)
