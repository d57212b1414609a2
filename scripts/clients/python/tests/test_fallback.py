"""Buckets by a script, compared with the module's."""

from __future__ import annotations

import logging
import random
import time

import pytest
import redis

from redis_rl import commands
from redis_rl.fallback import Fallback
from server import Server, until

HOUR_MS = 3_600_000


def both(server: Server, call) -> tuple[list[int], list[int]]:
    """Returns the replies of the module and of the script to one call, on a key of each."""
    fallback = Fallback("lua")
    fallback.is_used = True
    words = fallback.after(call, fallback.first(call), redis.exceptions.NoScriptError("")).words
    with server.client.pipeline() as pipeline:  # Nothing comes between the two.
        pipeline.execute_command(*call.words)
        pipeline.execute_command(*words)
        replies = pipeline.execute(raise_on_error=False)
    return tuple(str(reply) if isinstance(reply, Exception) else reply for reply in replies)


@pytest.mark.parametrize("seed", range(4))
def test_script_replies_as_the_module_does(server, seed) -> None:
    """The clock runs on between the two calls, so the rates are of hours, and waits may differ by a second and by the time
    of a pair of calls."""
    random.seed(seed)
    apart = 0.0
    for step in range(150):
        key, burst = random.choice("ab"), random.choice([0, 1, 7, 10, 10, 10, 1000])
        rate = random.choice(["1/h", "1/h", "7/2h", "3/w"])
        cost = random.choice([0, 1, 1, 2, 3, 5, 11])
        options = random.choice(
            [{}, {}, {"keep": 2}, {"atmost": True}, {"atmost": True, "keep": 1}, {"force": True}]
            + [{"maxwait": hours * 3600} for hours in (0, 2, 50)]
        )
        name = random.choice(["take", "take", "take", "peek", "give"])
        call = getattr(commands, name)(key, rate, burst, cost=cost, **(options if name == "take" else {}))
        start = time.monotonic()
        ours, scripts = both(server, call)
        apart = max(apart, time.monotonic() - start)
        assert scripts[:3] == ours[:3], (step, call.words, ours, scripts)
        for one, other in zip(scripts[3:], ours[3:]):
            assert abs(one - other) <= 1000 + 2000 * apart and (one < 0) == (other < 0), (step, call.words, ours, scripts)


@pytest.mark.parametrize("rate", ["100/m", "7", "0.3/h", "1e6", "3/7ms", "1e9/h"])
def test_new_bucket_replies_to_the_millisecond(server, rate) -> None:
    """A new bucket does not depend on the clock."""
    for cost in (1, 3, 10, 999, 1000, 1001, 1500):
        for options in ({}, {"maxwait": 1000}, {"atmost": True}, {"force": True}):
            ours, scripts = both(server, commands.take(f"{cost}{options}", rate, 1000, cost=cost, **options))
            assert scripts == ours, (rate, cost, options)


def test_refund_of_part_of_a_token_is_rounded_up(server) -> None:
    for call in (
        commands.take("k", "1/h", 10, cost=3),
        commands.take("k", "1/d", 2, cost=0),
        commands.give("k", "1/h", 10, cost=99),
        commands.give("k", "1/h", 10),
    ):
        ours, scripts = both(server, call)
        assert scripts[:3] == ours[:3], call.words


def test_bucket_refills_and_its_key_expires(server, limits) -> None:
    bare = Server(module=False)
    r = limits(bare.port, timeout=30, fallback="lua")
    assert r.take("slow", "1/h", 2, cost=2) and 3_600_000 < bare.client.pttl("slow:lua") <= 7_200_000
    while not r.take("k", "20", 2, cost=2):
        pass
    while bare.client.exists("k:lua"):
        pass
    bare.stop()


def test_server_without_the_module_is_limited_by_the_script(limits, caplog) -> None:
    bare = Server(module=False)
    r = limits(bare.port, timeout=30, fallback="lua")
    r.check()
    assert [r.take("k", "1/h", 2).allowed for _ in range(3)] == [True, True, False]
    until(lambda: r.take("k", "1/h", 2).source == "memory")
    assert not r.peek("k", "1/h", 2) and r.give("k", "1/h", 2) == 1 and r.peek(b"k", "1/h", 2)
    bare.client.script_flush()
    assert r.peek("k", "1/h", 2).remaining == 1
    with pytest.raises(redis.ResponseError, match="unknown command"):
        r.wtake("k", 5, "1m")
    bare.client.rpush("list:lua", "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        r.take("list", 1, 1)
    bare.client.set("text:lua", "x")
    with pytest.raises(redis.ResponseError, match="holds something else"):
        r.take("text", 1, 1)
    with pytest.raises(redis.ResponseError, match="integer"):
        r.take("k", 1, -1)
    assert r.counts.mistakes == 4 and r.counts.outages == 0
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "scripts" in warnings[0].getMessage()
    bare.stop()


def test_module_is_preferred(server, limits) -> None:
    r = limits(server.port, timeout=30, fallback="lua")
    assert r.take("k", "1/h", 2)
    assert server.client.keys() == [b"k"]
