"""Prices of holds: instructions of a call with a HOLD and of its settlement, walks, and bytes."""

import statistics
import time

from instructions import SEEDS, control, dump, seeded
from resp import ReplyError, encode
from server import STANDALONE, Group

# Records in a holds key.
OPEN = (0, 100, 5_000)
# Accounts in turn, and calls for each.
ACCOUNTS, ROUNDS, BATCH = 20, 20, 20

WITHOUT, MADE, REPEATED = "RL.ALL, without HOLD", "RL.ALL … HOLD", "RL.ALL … HOLD, a repeat"
SETTLED, AGAIN = "RL.SETTLE", "RL.SETTLE, a duplicate"
# (what, over what, most): the project's own bounds.
BARS = ((MADE, WITHOUT, 1.5), (SETTLED, MADE, 1.5))
# Records of a walk, and the most milliseconds that it may take.
WALKS = {3_000: 2, 10_000: 10}

BUCKET, WINDOW = ("BUCKET", "10000/m", "100000000"), ("WINDOW", "2000000000", "MONTH")


def keys(account):
    """The keys of an account: a bucket, a window, and its holds."""
    return [b"{u%07d}:%s" % (account, name) for name in (b"tpm", b"month", b"holds")]


def reserve(account, number, ttl="2h"):
    """A call that makes a hold."""
    cost = ("COST", 1500)
    return ("RL.ALL", 3, *keys(account), *BUCKET, *cost, *WINDOW, *cost, "HOLD", ttl, request(number))


def settle(account, number):
    """Its settlement."""
    used = ("USED", 1120)
    return ("RL.SETTLE", 3, *keys(account), *BUCKET, *used, *WINDOW, *used, "HOLD", request(number))


def charge(account, _number):
    """The same without a hold."""
    cost = ("COST", 1500)
    return ("RL.ALL", 2, *keys(account)[:2], *BUCKET, *cost, *WINDOW, *cost)


def request(number):
    """The id of a hold."""
    return b"request-%08d" % number


def exchange(connection, calls, first):
    """Makes the calls, and checks the first number of each reply."""
    calls = list(calls)
    for at in range(0, len(calls), BATCH):
        some = calls[at:at + BATCH]
        for reply in connection.exchange(b"".join(encode(*call) for call in some), len(some)):
            if isinstance(reply, ReplyError) or reply[0] != first:
                raise AssertionError(f"not the reply that this case is about: {reply}")


def measure(binary, library, setting):
    """{open holds: {case: instructions of a call}}: the median over the seeds of the server's tables."""
    found = {}
    for seed in SEEDS:
        with seeded(seed) as wrapper, Group(binary, library, setting, wrapper) as server:
            for live in OPEN:
                for name, counted in count(server, live).items():
                    found.setdefault(live, {}).setdefault(name, []).append(counted)
    return {live: {name: statistics.median(counts) for name, counts in cases.items()}
            for live, cases in found.items()}


def count(server, live):
    """Instructions of each case, with `live` open holds in every account."""
    connection = server.connect()
    connection.call("FLUSHALL")
    exchange(connection, (reserve(account, number) for number in range(live)
                          for account in range(ACCOUNTS)), 1)
    pairs = [(account, live + n) for n in range(ROUNDS) for account in range(ACCOUNTS)]
    exchange(connection, (charge(*pair) for pair in pairs[:ACCOUNTS]), 1)
    found = {}
    for name, call, first in ((WITHOUT, charge, 1), (MADE, reserve, 1), (REPEATED, reserve, 1),
                              (SETTLED, settle, 1), (AGAIN, settle, 0)):
        control(server, "instrumentation", "on")
        dump(server)
        exchange(connection, (call(*pair) for pair in pairs), first)
        total, _ = dump(server)
        control(server, "instrumentation", "off")
        found[name] = total / len(pairs)
    connection.close()
    return found


def walks(binary, library):
    """{records: [CPU milliseconds of a walk, of one that refunds 1000 holds]}: the best of some."""
    found = {}
    with Group(binary, library, STANDALONE) as server:
        connection = server.connect()
        for records in WALKS:
            for account, of in ((1, 0), (0, 1)):
                times = []
                for _ in range(2):
                    connection.call("FLUSHALL")
                    exchange(connection, (reserve(0, n, "5s") for n in range(records - 1)), 1)
                    # Until all are overdue and a walk is allowed.
                    time.sleep(max(5, records / 1000) + 0.5)
                    call = reserve(account, records)
                    call = (*call[:4], keys(0)[2], *call[5:])
                    before = server.cpu_seconds()
                    exchange(connection, [call], 1)
                    times.append(1000 * (server.cpu_seconds() - before))
                found.setdefault(records, [0, 0])[of] = min(times)
    return found


def memory(binary, library):
    """{state: bytes of a record}, by MEMORY USAGE of a key with 4096 of them."""
    found, most = {}, 4096
    with Group(binary, library, STANDALONE) as server:
        connection = server.connect()
        for name, settles in (("open", False), ("settled", True)):
            connection.call("FLUSHALL")
            exchange(connection, (reserve(0, number) for number in range(most)), 1)
            if settles:
                exchange(connection, (settle(0, number) for number in range(most)), 1)
            found[name] = connection.call("MEMORY", "USAGE", keys(0)[2], "SAMPLES", 0) / most
    return found


def table(counts):
    """The instructions, with their ratios."""
    head = "| call | " + " | ".join(f"{live} open" for live in counts) + " |"
    rows = [head, "|---|" + "--:|" * len(counts)]
    for name in (WITHOUT, MADE, REPEATED, SETTLED, AGAIN):
        base = {MADE: WITHOUT, REPEATED: WITHOUT, SETTLED: MADE, AGAIN: MADE}.get(name)
        cells = [f"{cases[name]:,.0f}".replace(",", " ")
                 + (f" · {cases[name] / cases[base]:.2f}" if base else "")
                 for cases in counts.values()]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def rest(times, sizes):
    """The walks and the size of a record."""
    rows = [f"- a walk of {records:,} records: {alone:.1f} ms; with 1000 refunds {refunds:.1f} ms"
            for records, (alone, refunds) in times.items()]
    rows += [f"- bytes of a record, {name}: {size:.0f}" for name, size in sizes.items()]
    return "\n".join(rows)
