"""The compared calls, as exact words, each with its expected reply."""

import dataclasses
import hashlib
import pathlib
from typing import Callable

from resp import ReplyError, encode

def _script(name):
    """A script, and its hash once it is loaded."""
    text = (pathlib.Path(__file__).parent / name).read_text(encoding="utf-8")
    return text, hashlib.sha1(text.encode()).hexdigest()


SCRIPT, SHA = _script("gcra.lua")
FIXED_SCRIPT, FIXED_SHA = _script("fixed_window.lua")
LOG_SCRIPT, LOG_SHA = _script("sliding_log.lua")
TWO_SCRIPT, TWO_SHA = _script("two_counters.lua")
# The commands sent to a server before any case.
SCRIPTS = (SCRIPT, FIXED_SCRIPT, LOG_SCRIPT, TWO_SCRIPT)
OURS, CELL, FLOOR = "ours", "redis-cell", "floor"
# Only every STRIDE-th key is called for, because old keys are dearer to find than new ones.
STEP = 5

# A call is one command, or several that belong together; these words stand for a call's keys.
KEYS = tuple(f"KEY {n}" for n in range(8))
KEY = KEYS[0]
# The second key of a call has that much more than the first in its name, and so on.
APART = 1_000_000_000


def key(number):
    """A key of 17 bytes."""
    return b"user:%012d" % number


@dataclasses.dataclass(frozen=True)
class Case:
    """A call, repeated over many keys."""

    name: str
    call: tuple
    # Returns whether a call's last reply is as the case expects.
    expected: Callable[[object], bool] = lambda reply: True
    # The call that prepares a key for the case; none: the key is new.
    prepare: tuple = ()
    server: str = OURS
    # If preparing a key takes long, only the keys that are called for exist.
    step: int = 1
    # The server's memory is used up, and each new key evicts another.
    evicts: bool = False


def send(connection, call, numbers, batch, expected=None):
    """Makes the calls, several per write. Returns False if the server lacks the command."""
    names = {word: key(n * APART) for n, word in enumerate(KEYS)}
    template = b"".join(encode(*(names.get(word, word) for word in words)) for words in call)
    used = [n for n, name in enumerate(names.values()) if name in template]
    for at in range(0, len(numbers), batch):
        some = numbers[at:at + batch]
        data = b"".join(_about(template, used, number) for number in some)
        replies = connection.exchange(data, len(some) * len(call))
        for reply in replies[len(call) - 1::len(call)]:
            if isinstance(reply, ReplyError):
                if "unknown command" in str(reply).lower():
                    return False
                raise reply
            if expected and not expected(reply):
                raise AssertionError(f"{call}: not the reply that this case is about: {reply}")
    return True


def _about(template, used, number):
    """Returns the template with the keys of this number."""
    for n in used:
        template = template.replace(key(n * APART), key(n * APART + number))
    return template


def _first_is(value):
    return lambda reply: isinstance(reply, list) and reply[0] == value


def _first_is_not_below(reply):
    """Returns whether it was admitted; scripts reply 1 or the remaining amount."""
    return isinstance(reply, list) and reply[0] >= 1


def _is(value):
    return lambda reply: reply == value


def _more_than_once(reply):
    return isinstance(reply, int) and reply > 1


BASE = "SET key v PX ms"
NEW_BASE = "SET key v PX ms, new key"
TAKE, DENIED, NEW = "RL.TAKE allowed", "RL.TAKE denied", "RL.TAKE allowed, new bucket"
EVICTS_BASE, EVICTS = f"{NEW_BASE}, evicts another", f"{NEW}, evicts another"
MOVES = "RL.TAKE allowed, the expiry moves"
PEEK = "RL.PEEK"
FLOOR_TAKE = "floor of RL.TAKE"
THROTTLE, THROTTLE_DENIED = "CL.THROTTLE allowed", "CL.THROTTLE denied"
CELL_ALLOWED, CELL_DENIED = "redis-cell allowed", "redis-cell denied"
LUA_ALLOWED, LUA_DENIED = "Lua script allowed", "Lua script denied"
FIXED, FIXED_DENIED = "RL.WTAKE of a duration, allowed", "RL.WTAKE of a duration, denied"
FIXED_NEW, FIXED_PEEK = "RL.WTAKE of a duration, new window", "RL.WPEEK of a duration"
DAY, DAY_DENIED, DAY_NEW = ("RL.WTAKE of a DAY, allowed", "RL.WTAKE of a DAY, denied",
                            "RL.WTAKE of a DAY, new window")
MONTH_NEW = "RL.WTAKE of a MONTH ANCHOR 31, new window"
OFFSET = "RL.WTAKE of a DAY OFFSET +02:00, allowed"
SLIDING, SLIDING_DENIED = "RL.WTAKE SLIDING, allowed", "RL.WTAKE SLIDING, denied"
SLIDING_NEW = "RL.WTAKE SLIDING, new window"
LUA_FIXED, LUA_FIXED_DENIED = "Lua fixed window, allowed", "Lua fixed window, denied"
LUA_LOG, LUA_LOG_DENIED = "Lua sliding log, allowed", "Lua sliding log, denied"
LUA_TWO, LUA_TWO_DENIED = "Lua two counters, allowed", "Lua two counters, denied"


@dataclasses.dataclass(frozen=True)
class Limit:
    """
    A rate and a burst. The refill is slow, so that what a case starts with is what it ends with: a
    bucket that is half full stays so, an empty one stays empty, none fills up and disappears, even
    if the keys take minutes to prepare. At 100 a day a token comes back after a quarter of an hour.
    """

    unit: str
    period: int
    burst: int
    count: int = 100

    def words(self):
        """As RL.TAKE takes them."""
        return f"{self.count}/{self.unit}", self.burst


USUAL = Limit("d", 86400, 200)
# Large enough for seconds of load on few keys, and slow enough for minutes.
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

    def several(keys):
        return (("RL.MTAKE", len(keys), *(word for key in keys for word in (key, *rate))),)

    def mixed(keys):
        return (("RL.ALL", len(keys), *keys, *(("BUCKET", *rate) * len(keys))),)

    def use(keys, last):
        """Takes half of each bucket, and `last` tokens of the last one."""
        costs = [half] * (len(keys) - 1) + [last]
        return tuple(("RL.TAKE", key, *rate, "COST", cost) for key, cost in zip(keys, costs))

    def floor(name, keys):
        return ((name, len(keys), *(word for key in keys for word in (key, *rate))),)

    def hold(keys):
        return tuple(("SET", key, "sixteen letters.", "PX", 3636000) for key in keys)

    store = (("SET", KEY, "v", "PX", 60000),)
    # Lives until the call comes, however slow the machine is.
    stored = (("SET", KEY, "v", "PX", 86400000),)
    # One token is more than a sixteenth of a burst of 10, so each take moves the expiry.
    small = ("RL.TAKE", KEY, rate[0], 10)
    increase = (("INCR", KEY),)
    return [
        Case("PING", (("PING",),), _is(b"PONG")),
        Case("GET", (("GET", KEY),), _is(b"v"), stored),
        Case("INCR", increase, _more_than_once, increase),
        Case("INCR + EXPIRE", (*increase, ("EXPIRE", KEY, 60)), _is(1), increase),
        Case(BASE, store, _is(b"OK"), stored),
        Case(NEW_BASE, store, _is(b"OK")),
        Case(TAKE, take(), _first_is(1), take("COST", half)),
        Case(DENIED, take(), _first_is(0), take("COST", burst)),
        Case(MOVES, (small,), _first_is(1), ((*small, "COST", 5),)),
        Case(NEW, take(), _first_is(1)),
        Case(EVICTS_BASE, store, _is(b"OK"), evicts=True),
        Case(EVICTS, take(), _first_is(1), evicts=True),
        Case(PEEK, peek, _first_is(1), take("COST", half)),
        Case(FLOOR_TAKE, (("FLOOR.TAKE", KEY, *rate),), _first_is(1), hold([KEY]), FLOOR),
        *(Case(f"{name} of {len(keys)}, {what}", call(keys), _first_is(taken), use(keys, last))
          for keys in (KEYS[:2], KEYS)
          for name, call in (("RL.MTAKE", several), ("RL.ALL", mixed))
          for what, taken, last in (("allowed", 1, half), ("denied by the last", 0, burst))),
        *(Case(f"{name} of {len(keys)}", floor(command, keys), _first_is(1), hold(keys), FLOOR)
          for keys in (KEYS[:2], KEYS)
          for name, command in (("floor", "FLOOR.MTAKE"), ("floor that writes", "FLOOR.WRITE"))),
        Case(THROTTLE, throttle(1), _first_is(0), throttle(half)),
        Case(THROTTLE_DENIED, throttle(1), _first_is(1), throttle(burst)),
        Case(CELL_ALLOWED, throttle(1), _first_is(0), throttle(half), CELL),
        Case(CELL_DENIED, throttle(1), _first_is(1), throttle(burst), CELL),
        Case(LUA_ALLOWED, script(1), _first_is(1), script(half)),
        # Half a token less than everything: in doubles the whole burst may come out slightly too
        # large.
        Case(LUA_DENIED, script(1), _first_is(0), script(burst - 0.5)),
    ]


WINDOW_MS = 3_600_000
# The time at which both counters count: half an hour into a window.
NOW_MS = 1_800_000_000_000 + WINDOW_MS // 2


def window_cases(limit=200):
    """Windows and their alternatives; each prepared with half of the limit used, or all."""
    half = limit // 2

    def take(*window):
        def of(cost):
            return (("RL.WTAKE", KEY, limit, *window, "COST", cost),)
        return (("RL.WTAKE", KEY, limit, *window),), of(half), of(limit)

    def script(sha, keys, *arguments):
        def of(cost):
            return (("EVALSHA", sha, len(keys), *keys, *arguments, cost),)
        return of(1), of(half), of(limit)

    found = []
    for window, allowed, denied, new in [
        (("1h",), FIXED, FIXED_DENIED, FIXED_NEW),
        (("DAY",), DAY, DAY_DENIED, DAY_NEW),
        (("SLIDING", "1h"), SLIDING, SLIDING_DENIED, SLIDING_NEW),
    ]:
        call, some, all_of_it = take(*window)
        found += [Case(allowed, call, _first_is(1), some), Case(denied, call, _first_is(0), all_of_it),
                  Case(new, call, _first_is(1))]
    offset, some, _ = take("DAY", "OFFSET", "+02:00")
    found.append(Case(OFFSET, offset, _first_is(1), some))
    month, _, _ = take("MONTH", "ANCHOR", "31")
    _, some, _ = take("1h")
    found += [Case(MONTH_NEW, month, _first_is(1)),
              Case(FIXED_PEEK, (("RL.WPEEK", KEY, limit, "1h"),), _first_is(1), some)]
    for sha, keys, arguments, names, is_denied in [
        (FIXED_SHA, (KEY,), (limit, WINDOW_MS), (LUA_FIXED, LUA_FIXED_DENIED), _first_is(0)),
        (LOG_SHA, (KEY,), (limit, WINDOW_MS, NOW_MS, "call"), (LUA_LOG, LUA_LOG_DENIED), _first_is(0)),
        (TWO_SHA, KEYS[:2], (limit, NOW_MS, WINDOW_MS), (LUA_TWO, LUA_TWO_DENIED),
         _first_is(-1)),
    ]:
        call, some, all_of_it = script(sha, keys, *arguments)
        allowed, denied = names
        step = STEP if sha == LOG_SHA else 1
        found += [Case(allowed, call, _first_is_not_below, some, step=step),
                  Case(denied, call, is_denied, all_of_it, step=step)]
    return found


def full_windows(limit):
    """(what, the keys, calls that use all of it): half an hour apart where both counters count."""
    one, other = key(0), key(1_000_000_000)
    log = ["EVALSHA", LOG_SHA, 1, one, limit, WINDOW_MS, NOW_MS]
    return [
        ("RL.WTAKE of a duration or DAY", [one], [["RL.WTAKE", one, limit, "1h", "COST", limit]]),
        ("RL.WTAKE SLIDING", [one], [["RL.WTAKE", one, limit, "SLIDING", "1h", "COST", limit]]),
        ("Lua fixed window", [one], [["EVALSHA", FIXED_SHA, 1, one, limit, WINDOW_MS, limit]]),
        ("Lua two counters", [one, other],
         [["EVALSHA", TWO_SHA, 2, *keys, limit, NOW_MS, WINDOW_MS, limit // 2]
          for keys in ([other, b"none"], [one, b"none"])]),
        # A name as long as a request's id.
        ("Lua sliding log", [one], [[*log, "0123456789abcdef", limit]]),
    ]


def named(names, limit=USUAL):
    """Those cases, in their order above."""
    return [case for case in [*cases(limit), *window_cases()] if case.name in names]
