"""Calls of every command: right, wrong and hostile."""

import itertools
import random

RATES = ["10", "0.5", "100/m", "1/15m", "5000/h", "1/d", "1000000000000", "1/ms", "1/36525d"]
BURSTS = ["1", "2", "20", "100000"]
COSTS = [[], ["COST", "1"], ["cost", "7"], ["COST", "100000"]]
MODES = [[], ["ATMOST"], ["MAXWAIT", "0"], ["MAXWAIT", "1000000000000"], ["FORCE"]]
NO_NUMBERS = ["", " ", "0", "-1", "+1", "1e9", "nan", "1.", ".", "/", "1/", "/s", "1/0s", "1/w",
              "1" * 40, "x" * 100_000, b"\xff" * 70, b"\0", b"\xc3("]
NO_OPTIONS = [["COST"], ["FOO"], [""], ["COST", "1", "COST", "1"], ["ATMOST", "FORCE"],
              ["MAXWAIT"], ["MAXWAIT", "-1"], ["FORCE", "FORCE"], [b"\xff" * 1000]]
KEYS = ["k", "", b"\0\xff\r\n", "long" * 5_000]
# The commands that store something else than a bucket in k.
OTHERS = [["RPUSH", "k", "a"], ["HSET", "k", "a", "b"], ["SADD", "k", "a"], ["ZADD", "k", "1", "a"],
          ["XADD", "k", "*", "a", "b"], ["SET", "k", ""], ["SET", "k", "42"], ["SET", "k", "x" * 16],
          ["SET", "k", "1234567890123456"], ["SET", "k", "1700000000000000000"],
          ["SETRANGE", "k", "100000", "x"], ["SETBIT", "k", "119", "1"], ["SETBIT", "k", "120", "0"],
          ["SETBIT", "k", "135", "1"], ["SET", "k", b"\xff" * 16]]
ON_BUCKETS = ["RL.TAKE", "RL.PEEK", "RL.GIVE"]
ON_LEASES = ["RL.ACQUIRE", "RL.RENEW", "RL.RELEASE", "RL.LEASES"]
ON_WINDOWS = ["RL.WTAKE", "RL.WPEEK", "RL.WGIVE"]
FIXED = ["1ms", "15m", "36525d", "HOUR", "DAY OFFSET -23:59", "WEEK ANCHOR 7",
         "MONTH OFFSET +09:00 ANCHOR 31", "YEAR", "UNTIL 2000000000000"]
SLIDING = ["SLIDING 1ms", "SLIDING 20s", "SLIDING 1h", "SLIDING 36525d"]
# The commands that store a window, or nearly one, in k.
WINDOWS = [b"\xf8" + bytes(24), b"\xf8" + b"\xff" * 24, b"\xf9" + bytes(152), b"\xf9" + b"\xff" * 152,
           b"\xf8" + bytes(8) + (2 ** 62).to_bytes(8, "little") + (7).to_bytes(8, "little"),
           b"\xf9" + (1).to_bytes(8, "little") + b"\xff" * 8 + (3).to_bytes(8, "little") * 17]


def right():
    """Every option with every limit, on keys of any bytes."""
    for key, rate, burst, cost in itertools.product(KEYS, RATES, BURSTS, COSTS):
        for mode in MODES:
            yield ["RL.TAKE", key, rate, burst, *cost, *mode]
            yield ["RL.TAKE", key, rate, burst, *mode, *cost]
        yield ["RL.PEEK", key, rate, burst, *cost]
        yield ["RL.GIVE", key, rate, burst, *cost]
    for window, cost, limit in itertools.product(FIXED + SLIDING, COSTS, ["0", "9", "100000000000"]):
        key = "sliding" if window in SLIDING else "fixed"
        for mode in [[], ["ATMOST"], ["KEEP", "2"], ["FORCE"]]:
            yield ["RL.WTAKE", key, limit, *window.split(), *cost, *mode]
            yield ["RL.WTAKE", f"{key}:{window}", limit, *window.split(), *mode, *cost]
        yield ["RL.WPEEK", key, limit, *window.split(), *cost]
        for at in [[], ["AT", "0"], ["AT", "9223372036854775807"]]:
            yield ["RL.WGIVE", key, limit, *window.split(), *cost, *at]
    for max_burst, count, period, quantity in itertools.product(
            ["0", "15"], ["1", "30"], ["1", "60"], [[], ["0"], ["1"], ["99"]]):
        yield ["CL.THROTTLE", "cell", max_burst, count, period, *quantity]


def wrong():
    """Every argument wrong, and every number of arguments."""
    for command in [*ON_BUCKETS, *ON_WINDOWS, "RL.MTAKE", "RL.TOP", "CL.THROTTLE"]:
        for arguments in range(7):
            yield [command, *["1"] * arguments]
    for command, text in itertools.product(ON_BUCKETS, NO_NUMBERS):
        yield [command, "k", text, "5"]
        yield [command, "k", "5", text]
        yield [command, "k", "5", "5", "COST", text]
        yield [command, "k", "5", "5", "MAXWAIT", text]
    for command, options in itertools.product(ON_BUCKETS, NO_OPTIONS):
        yield [command, "k", "5", "5", *options]
    for command, text in itertools.product(ON_WINDOWS, NO_NUMBERS):
        yield [command, "k", text, "1h"]
        yield [command, "k", "5", text]
        for before in ["SLIDING", "UNTIL", "DAY OFFSET", "WEEK ANCHOR", "MONTH ANCHOR 31 OFFSET",
                       "DAY ANCHOR", "1h COST", "1h KEEP", "SLIDING 1h AT"]:
            yield [command, "k", "5", *before.split(), text]
    for command, options in itertools.product(ON_WINDOWS, NO_OPTIONS):
        yield [command, "k", "5", "DAY", *options]
    for text in NO_NUMBERS:
        yield ["RL.MTAKE", text, "k", "5", "5"]
        yield ["RL.MTAKE", "1", "k", text, "5"]
        yield ["RL.TOP", text]
        for position in range(4):
            arguments = ["5"] * 4
            arguments[position] = text
            yield ["CL.THROTTLE", "k", *arguments]
    for _ in range(3):
        for window in ["30d", "SLIDING 30d"]:
            yield ["RL.WTAKE", f"owes:{window}", "1", *window.split(), "FORCE", "COST", "100000000000"]
        yield ["RL.TAKE", "owes", "1000000", "1", "FORCE", "COST", "100000000000"]


def on_others():
    """Keys that hold something else, and limits that were written over."""
    for other in [*OTHERS, *(["SET", "k", window] for window in WINDOWS)]:
        yield ["DEL", "k"]
        yield other
        for command in ON_BUCKETS:
            yield [command, "k", "1", "5"]
        for command, window in itertools.product(ON_WINDOWS, ["1h", "DAY", "SLIDING 1h", "SLIDING 2h"]):
            yield [command, "k", "5", *window.split()]
        yield ["RL.MTAKE", "2", "m", "1", "5", "k", "1", "5"]
        yield ["RL.MTAKE", "2", "k", "1", "5", "m", "1", "5"]
        yield ["CL.THROTTLE", "k", "4", "1", "1"]
        yield ["RL.INSPECT", "k"]
        yield ["OBJECT", "ENCODING", "k"]
    yield ["DEL", "k", "m"]


def leases():
    """Leases: acquired, renewed, released, expired and trimmed, listed, edited by hand; valid and invalid."""
    tokens = [b"t", "x" * 128, b"\xff\0", "12345", "KEEP", "", "rl:leases", "x" * 129]
    for key, token, ttl, limit in itertools.product(
            KEYS, tokens, ["10ms", "1h", "30d", "9ms", "x"], ["0", "2", "100000", "-1"]):
        yield ["RL.ACQUIRE", key, limit, ttl, token]
        yield ["RL.ACQUIRE", key, limit, ttl, token, "KEEP", "1"]
        yield ["RL.ACQUIRE", key, limit, ttl, token, "NX"]
    for n in range(200):
        yield ["RL.ACQUIRE", "many", "150", "1h", f"t{n}"]
        yield ["ZADD", "many", str(n + 1), f"dead{n}"]
    for limit in ["150", "1", "60", "0"]:
        yield ["RL.ACQUIRE", "many", limit, "1h", "more"]
        yield ["RL.LEASES", "many", limit]
        yield ["RL.INSPECT", "many"]
        yield ["RL.LEASES", "many", limit, "COUNT", "100000"]
    yield ["ZADD", "many", "+inf", "ever", "-inf", "never", "1e300", "far"]
    for _ in range(20):
        yield ["RL.ACQUIRE", "many", "1000", "2h", "t1"]
    yield ["RL.RENEW", "many", "3h", *(f"t{n}" for n in range(128))]
    yield ["RL.RENEW", "many", "3h", *(f"t{n}" for n in range(129))]
    yield ["RL.RELEASE", "many", "ever", "far", *(f"t{n}" for n in range(100))]
    yield ["RL.RELEASE", "many", *(f"t{n}" for n in range(100, 200))]
    for command in ON_LEASES:
        for arguments in range(7):
            yield [command, *["1"] * arguments]
        for other in [*OTHERS, ["ZADD", "k", "0", "rl:leases"], ["ZADD", "k", "1", "rl:leases"]]:
            yield ["DEL", "k"]
            yield other
            yield [command, "k", "5", "1h", "t"] if command == "RL.ACQUIRE" else [command, "k", "5"]
            yield [command, "k", "1h", "t"]
    yield ["DEL", "k", "many"]


def mixed(limits=128):
    """Limits of every kind in one call: charged, denied by each, retried, too many, truncated."""
    kinds = ["BUCKET 1/h 9", "WINDOW 9 30d", "WINDOW 9 SLIDING 30d", "LEASE 9 1h"]

    def call(n, cost=1, token="t", once=()):
        specs = []
        for i in range(n):
            spec = kinds[i % 4].split()
            specs += [*spec, token, *once] if spec[0] == "LEASE" else [*spec, "COST", cost]
        return ["RL.ALL", n, *(f"{kinds[i % 4].split()[0]}:{i % 4}:{i}" for i in range(n)), *specs]
    for cost in range(1, 12):
        yield call(limits, cost, f"t{cost}")
        yield call(cost, cost, f"s{cost}", ["ONCE"])
        yield call(cost, cost, f"s{cost}", ["ONCE"])
    for spoilt in [call(limits + 1), call(limits)[:-1], call(4, 0), call(4, "x"), call(4, 1, ""),
                   call(4)[:-3], [*call(4), "KEEP"], [*call(4), "KEEP", "9"], call(4)[:2], ["RL.ALL"]]:
        yield spoilt
        yield ["COMMAND", "GETKEYS", *spoilt]
    for other in OTHERS:
        yield ["DEL", "k"]
        yield other
        for kind in kinds:
            yield ["RL.ALL", 2, "BUCKET:0:0", "k", *kinds[0].split(), *kind.split(), *["t"] * kind.startswith("L")]
    yield ["DEL", "k"]


def several(buckets=128):
    """The maximum number of buckets in a call: allowed, denied, repeated, too many, truncated."""
    def call(n, *options, burst="9"):
        return ["RL.MTAKE", n, *itertools.chain(*((f"m:{i}", "1/h", burst) for i in range(n))), *options]
    for cost in range(1, 12):
        yield call(buckets, "COST", cost)
        yield call(cost)
    yield call(buckets + 1)
    yield call(buckets)[:-1]
    yield call(buckets)[:-3] + ["m:0", "1/h", "9"]
    yield call(buckets, burst="0")
    yield call(buckets, "FORCE")
    yield ["COMMAND", "GETKEYS", *call(buckets)]
    yield ["COMMAND", "GETKEYS", "RL.MTAKE", "999999999999999999999", "k", "1", "1"]
    yield ["COMMAND", "GETKEYS", *call(3)[:-2]]


def denied(keys, seed):
    """Denials of always new keys, long and short, and of a few old ones."""
    dice = random.Random(seed)
    for n in range(keys):
        key = f"{'long:' * 60 if n % 9 == 0 else ''}{dice.randrange(n % 50 + 1) if n % 3 else n}"
        yield ["RL.TAKE", f"top:{key}", "1/h", "1", "COST", "2"]
        if n % 100 == 0:
            yield ["RL.TOP"]
            yield ["RL.TOP", "5"]
