"""The calls that are compared, as exact bytes, each with what its reply must be."""

import dataclasses
import hashlib
import pathlib
from typing import Callable, Optional

from resp import encode

SCRIPT = (pathlib.Path(__file__).parent / "gcra.lua").read_text(encoding="utf-8")
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()
PLAIN, OURS, CELL = "plain", "ours", "redis-cell"

# The refill is slow, so that what a case starts with is what it ends with: a bucket that is
# half full stays so, an empty one stays empty, and none fills up and disappears.
RATE, BURST, PERIOD = 100, 200, 86400
LIMIT = (f"{RATE}/d", BURST)


def key(number):
    """A key of 17 bytes."""
    return b"user:%012d" % number


@dataclasses.dataclass(frozen=True)
class Case:
    """A call, repeated over many keys."""

    name: str
    # A call for a key's number: one encoded command, or several that belong together.
    call: Callable[[int], list]
    # True if the last reply of a call is what this case is about.
    expected: Callable[[object], bool] = lambda reply: True
    # The call that brings a key into the state the case starts from.
    prepare: Optional[Callable[[int], list]] = None
    server: str = OURS
    new_keys: bool = False


def _calls(*words):
    """The call whose words are these, KEY standing for the key."""
    return lambda number: [encode(*(key(number) if word is KEY else word for word in words))]


KEY = object()


def _take(cost=None):
    return _calls("RL.TAKE", KEY, *LIMIT, *(() if cost is None else ("COST", cost)))


def _throttle(quantity):
    return _calls("CL.THROTTLE", KEY, BURST - 1, RATE, PERIOD, quantity)


def _script(cost):
    return _calls("EVALSHA", SHA, 1, KEY, BURST, RATE, PERIOD, cost)


def _pair(number):
    first, second = key(number), key(number + 1_000_000)
    return [encode("RL.MTAKE", 2, first, *LIMIT, second, *LIMIT)]


def _prepare_pair(number):
    return _take(BURST // 2)(number) + _take(BURST // 2)(number + 1_000_000)


def _first_is(value):
    return lambda reply: isinstance(reply, list) and reply[0] == value


HALF, ALL = BURST // 2, BURST
SET = _calls("SET", KEY, "v", "PX", 60000)

BASE = "SET key v PX ms"
TAKE, DENIED, NEW = "RL.TAKE allowed", "RL.TAKE denied", "RL.TAKE, a new bucket"
CELL_ALLOWED, CELL_DENIED = "redis-cell, allowed", "redis-cell, denied"
LUA_ALLOWED, LUA_DENIED = "Lua script, allowed", "Lua script, denied"

CASES = [
    Case("PING", lambda number: [encode("PING")]),
    Case("GET", _calls("GET", KEY), lambda reply: reply == b"v", SET),
    Case("INCR", _calls("INCR", KEY), lambda reply: reply > 1, _calls("INCR", KEY)),
    Case(
        "INCR + EXPIRE",
        lambda number: [encode("INCR", key(number)), encode("EXPIRE", key(number), 60)],
        lambda reply: reply == 1,
        _calls("INCR", KEY),
    ),
    Case(BASE, SET, lambda reply: reply == b"OK", SET),
    Case("SET key v PX ms, a new key", SET, lambda reply: reply == b"OK", new_keys=True),
    Case(TAKE, _take(), _first_is(1), _take(HALF)),
    Case(DENIED, _take(), _first_is(0), _take(ALL)),
    Case(NEW, _take(), _first_is(1), new_keys=True),
    Case("RL.PEEK", _calls("RL.PEEK", KEY, *LIMIT), _first_is(1), _take(HALF)),
    Case("RL.MTAKE of 2, allowed", _pair, _first_is(1), _prepare_pair),
    Case("CL.THROTTLE allowed", _throttle(1), _first_is(0), _throttle(HALF)),
    Case("CL.THROTTLE denied", _throttle(1), _first_is(1), _throttle(ALL)),
    Case(CELL_ALLOWED, _throttle(1), _first_is(0), _throttle(HALF), CELL),
    Case(CELL_DENIED, _throttle(1), _first_is(1), _throttle(ALL), CELL),
    Case(LUA_ALLOWED, _script(1), _first_is(1), _script(HALF)),
    Case(LUA_DENIED, _script(1), _first_is(0), _script(ALL)),
]
