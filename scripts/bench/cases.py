"""The calls that are compared, as exact words, each with what its reply must be."""

import dataclasses
import hashlib
import pathlib
from typing import Callable

from resp import ReplyError, encode

SCRIPT = (pathlib.Path(__file__).parent / "gcra.lua").read_text(encoding="utf-8")
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()
OURS, CELL = "ours", "redis-cell"

# A call is one command, or several that belong together; these words stand for a call's keys.
KEY, SECOND_KEY = "KEY", "SECOND KEY"


def key(number):
    """A key of 17 bytes."""
    return b"user:%012d" % number


@dataclasses.dataclass(frozen=True)
class Case:
    """A call, repeated over many keys."""

    name: str
    call: tuple
    # True of a call's last reply if the call did what the case is about.
    expected: Callable[[object], bool] = lambda reply: True
    # The call that brings a key into the state the case starts from; none: the key is new.
    prepare: tuple = ()
    server: str = OURS


def send(connection, call, numbers, batch, expected=None):
    """Makes the calls, so many in one write. False if the server lacks the command."""
    first, second = key(0), key(1_000_000_000)
    names = {KEY: first, SECOND_KEY: second}
    template = b"".join(encode(*(names.get(word, word) for word in words)) for words in call)
    for at in range(0, len(numbers), batch):
        some = numbers[at:at + batch]
        data = b"".join(
            template.replace(first, key(number)).replace(second, key(number + 1_000_000_000))
            for number in some
        )
        replies = connection.exchange(data, len(some) * len(call))
        for reply in replies[len(call) - 1::len(call)]:
            if isinstance(reply, ReplyError):
                if "unknown command" in str(reply).lower():
                    return False
                raise reply
            if expected and not expected(reply):
                raise AssertionError(f"{call}: not the reply that this case is about: {reply}")
    return True


def _first_is(value):
    return lambda reply: isinstance(reply, list) and reply[0] == value


def _is(value):
    return lambda reply: reply == value


def _more_than_once(reply):
    return isinstance(reply, int) and reply > 1


BASE = "SET key v PX ms"
NEW_BASE = "SET key v PX ms, new key"
TAKE, DENIED, NEW = "RL.TAKE allowed", "RL.TAKE denied", "RL.TAKE allowed, new bucket"
PEEK, PAIR = "RL.PEEK", "RL.MTAKE of 2, allowed"
THROTTLE, THROTTLE_DENIED = "CL.THROTTLE allowed", "CL.THROTTLE denied"
CELL_ALLOWED, CELL_DENIED = "redis-cell allowed", "redis-cell denied"
LUA_ALLOWED, LUA_DENIED = "Lua script allowed", "Lua script denied"


@dataclasses.dataclass(frozen=True)
class Limit:
    """
    A rate and a burst. The refill is slow, so that what a case starts with is what it ends with: a
    bucket that is half full stays so, an empty one stays empty, none fills up and disappears.
    """

    unit: str
    period: int
    burst: int
    count: int = 100

    def words(self):
        """As RL.TAKE takes them."""
        return f"{self.count}/{self.unit}", self.burst


USUAL = Limit("h", 3600, 200)
# Deep enough for seconds of load on few keys, and as slow as minutes of it need.
DEEP = Limit("d", 86400, 2_000_000)


def cases(limit=USUAL):
    """Every case, with that limit."""
    count, period, burst, half = limit.count, limit.period, limit.burst, limit.burst // 2
    rate = limit.words()

    def take(*options):
        return (("RL.TAKE", KEY, *rate, *options),)

    def throttle(quantity):
        return (("CL.THROTTLE", KEY, burst - 1, count, period, quantity),)

    def script(cost):
        return (("EVALSHA", SHA, 1, KEY, burst, count, period, cost),)

    peek = (("RL.PEEK", KEY, *rate),)
    pair = (("RL.MTAKE", 2, KEY, *rate, SECOND_KEY, *rate),)
    halve_pair = (*take("COST", half), ("RL.TAKE", SECOND_KEY, *rate, "COST", half))
    store = (("SET", KEY, "v", "PX", 60000),)
    increase = (("INCR", KEY),)
    return [
        Case("PING", (("PING",),), _is(b"PONG")),
        Case("GET", (("GET", KEY),), _is(b"v"), store),
        Case("INCR", increase, _more_than_once, increase),
        Case("INCR + EXPIRE", (*increase, ("EXPIRE", KEY, 60)), _is(1), increase),
        Case(BASE, store, _is(b"OK"), store),
        Case(NEW_BASE, store, _is(b"OK")),
        Case(TAKE, take(), _first_is(1), take("COST", half)),
        Case(DENIED, take(), _first_is(0), take("COST", burst)),
        Case(NEW, take(), _first_is(1)),
        Case(PEEK, peek, _first_is(1), take("COST", half)),
        Case(PAIR, pair, _first_is(1), halve_pair),
        Case(THROTTLE, throttle(1), _first_is(0), throttle(half)),
        Case(THROTTLE_DENIED, throttle(1), _first_is(1), throttle(burst)),
        Case(CELL_ALLOWED, throttle(1), _first_is(0), throttle(half), CELL),
        Case(CELL_DENIED, throttle(1), _first_is(1), throttle(burst), CELL),
        Case(LUA_ALLOWED, script(1), _first_is(1), script(half)),
        # Half a token short of all: in doubles the whole burst may come out a hair too much.
        Case(LUA_DENIED, script(1), _first_is(0), script(burst - 0.5)),
    ]


def named(names, limit=USUAL):
    """Those cases, in their order above."""
    return [case for case in cases(limit) if case.name in names]
