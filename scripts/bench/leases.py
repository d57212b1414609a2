"""Instructions to acquire and release a lease, compared with a semaphore in Lua and the minimum."""

import hashlib
import pathlib
import statistics
import time

from cases import OURS
from instructions import SEEDS, control, dump, seeded
from resp import ReplyError, encode
from server import Group

SCRIPT = (pathlib.Path(__file__).parent / "semaphore.lua").read_text(encoding="utf-8")
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()

LIVE = (5, 128, 1_000)
# Sets in turn, and pairs of calls on each.
SETS, ROUNDS = 20, 20
TTL_MS = 3_600_000

ACQUIRE, DENIED, RENEW = "RL.ACQUIRE + RL.RELEASE", "RL.ACQUIRE denied", "RL.RENEW"
SEMAPHORE, SEMAPHORE_DENIED = "Lua semaphore + ZREM", "Lua semaphore denied"
FLOOR = "ZADD + ZREM"


def calls(live):
    """{case: (the call that adds a token, the measured calls, their last reply)}."""
    now = int(time.time() * 1000)
    limit = live + 1

    def acquire(most):
        return lambda key, token: ("RL.ACQUIRE", key, most, "1h", token)

    def semaphore(most):
        return lambda key, token: ("EVALSHA", SHA, 1, key, most, TTL_MS, token, now)

    def release(key, token):
        return ("RL.RELEASE", key, token)

    def add(key, token):
        return ("ZADD", key, now, token)

    def remove(key, token):
        return ("ZREM", key, token)

    def renew(key, token):
        return ("RL.RENEW", key, "2h", token)

    return {
        ACQUIRE: (acquire(limit), (acquire(limit), release), lambda reply: reply == 1),
        DENIED: (acquire(live), (acquire(live),), lambda reply: reply[0] == 0),
        SEMAPHORE: (semaphore(limit), (semaphore(limit), remove), lambda reply: reply == 1),
        SEMAPHORE_DENIED: (semaphore(live), (semaphore(live),), lambda reply: reply == 0),
        FLOOR: (add, (add, remove), lambda reply: reply == 1),
        RENEW: (acquire(limit), (renew,), lambda reply: reply in (0, 1)),
    }


def measure(binary, library, setting):
    """{live: {case: instructions for its calls}}: the median over the seeds of the server's tables."""
    found = {}
    for seed in SEEDS:
        with seeded(seed) as wrapper, Group(binary, library, setting, wrapper) as server:
            for live in LIVE:
                for name, case in calls(live).items():
                    counted = count(server, live, *case)
                    found.setdefault(live, {}).setdefault(name, []).append(counted)
    return {live: {name: statistics.median(counts) for name, counts in cases.items()}
            for live, cases in found.items()}


def count(server, live, fill, measured, expected):
    """Instructions for the measured calls, once through."""
    connection = server.connect()
    connection.call("FLUSHALL")
    connection.call("SCRIPT", "LOAD", SCRIPT)
    keys = [b"slots:%03d" % number for number in range(SETS)]
    for key in keys:
        data = b"".join(encode(*fill(key, b"request-%08d" % token)) for token in range(live))
        for reply in connection.exchange(data, live):
            if isinstance(reply, ReplyError):
                raise reply
    pairs = [(key, b"request-%08d" % (live + number)) for number in range(ROUNDS) for key in keys]
    batches = []
    for at in range(0, len(pairs), 20):
        some = pairs[at:at + 20]
        batches.append(b"".join(encode(*call(*pair)) for pair in some for call in measured))
    control(server, "instrumentation", "on")
    dump(server)
    for data in batches:
        replies = connection.exchange(data, 20 * len(measured))
        for reply in replies[len(measured) - 1::len(measured)]:
            if isinstance(reply, ReplyError) or not expected(reply):
                raise AssertionError(f"not the reply that this case is about: {reply}")
    total, _ = dump(server)
    control(server, "instrumentation", "off")
    connection.close()
    return total / len(pairs)


def table(found):
    """The figures as a table, with their ratio to the script's."""
    head = "| call | " + " | ".join(f"{live} live" for live in found) + " |"
    rows = [head, "|---|" + "--:|" * len(found)]
    for name in (FLOOR, ACQUIRE, SEMAPHORE, DENIED, SEMAPHORE_DENIED, RENEW):
        base = {ACQUIRE: SEMAPHORE, FLOOR: SEMAPHORE, DENIED: SEMAPHORE_DENIED}.get(name)
        cells = [
            f"{cases[name]:,.0f}".replace(",", " ")
            + (f" · {cases[name] / cases[base]:.2f}" if base else "")
            for cases in found.values()
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)
