"""Bytes of memory a limit takes, and bytes of AOF and of replication a call makes."""

import time

from cases import (BASE, CELL, CELL_ALLOWED, CELL_DENIED, DENIED, KEY, LUA_ALLOWED, LUA_DENIED,
                   OURS, SCRIPT, SCRIPTS, TAKE, full_windows, named, send)
from growth import fill
from resp import wait_until
from server import AOF, REPLICA, STANDALONE, Group

KEYS = 500_000
CALLS = 1_000
PLAIN = "SET k 1 EX"


def memory(binary, libraries):
    """{what: bytes for a key}."""
    found = {}
    kinds = [(OURS, PLAIN, ["SET", KEY, "1", "EX", "86400"]),
             (OURS, "bucket", ["RL.TAKE", KEY, "100/d", "200"]),
             (OURS, "fixed window", ["RL.WTAKE", KEY, "200", "1d"]),
             (OURS, "sliding window", ["RL.WTAKE", KEY, "200", "SLIDING", "1d"]),
             (OURS, "one lease", ["RL.ACQUIRE", KEY, "5", "1d", "0123456789abcdef"]),
             (OURS, "one hold of one limit", ["RL.ALL", "2", "one:bucket", KEY, "BUCKET", "1", KEYS + 1,
                                              "HOLD", "1d", "0123456789abcdef"]),
             (CELL, "redis-cell", ["CL.THROTTLE", KEY, "199", "100", "86400", "1"])]
    for kind, name, words in kinds:
        with Group(binary, libraries[kind], STANDALONE) as server:
            connection = server.connect()
            connection.call("CONFIG", "SET", "activerehashing", "yes", "hz", "100")
            # The script that fills the keys is itself in the memory.
            fill(connection, words, 1)
            before = settled(server, connection)
            fill(connection, words, KEYS)
            found[name] = (settled(server, connection) - before) / (KEYS - 1)
    return found


# The limits of windows, all used.
LIMITS = (10, 100, 10_000)


def windows(binary, libraries):
    """{(what, limit): bytes of a key, or of the two keys of one limit}, by MEMORY USAGE."""
    found = {}
    with Group(binary, libraries[OURS], STANDALONE) as server:
        connection = server.connect()
        for script in SCRIPTS:
            connection.call("SCRIPT", "LOAD", script)
        for limit in LIMITS:
            for name, keys, call in full_windows(limit):
                connection.call("FLUSHALL")
                for words in call:
                    connection.call(*words)
                used = (connection.call("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys)
                found[name, limit] = sum(used)
    return found


def settled(server, connection):
    """Memory in use once the tables are resized and nothing moves any more."""
    def used():
        return int(server.info(connection)["used_memory"])
    seen = [used()]

    def unchanged():
        time.sleep(0.3)  # The tables are moved in the background, a little every tick.
        seen.append(used())
        return len(seen) > 3 and max(seen[-3:]) - min(seen[-3:]) < 4096
    wait_until(unchanged, "the memory in use settles")
    return seen[-1]


def written(binary, libraries):
    """{case: (AOF bytes a call, replication bytes a call)}."""
    found = {}
    names = [BASE, TAKE, DENIED, CELL_ALLOWED, CELL_DENIED, LUA_ALLOWED, LUA_DENIED]
    sources = [(AOF, "aof_current_size"), (REPLICA, "master_repl_offset")]
    for setting, field in sources:
        for kind in (OURS, CELL):
            with Group(binary, libraries[kind], setting) as server:
                connection = server.connect()
                connection.call("SCRIPT", "LOAD", SCRIPT)
                for case in named(names):
                    if case.server == kind:
                        grown = growth(server, connection, case, field)
                        found.setdefault(case.name, []).append(grown / CALLS)
    return {name: tuple(both) for name, both in found.items()}


def growth(server, connection, case, field):
    connection.call("FLUSHALL")
    send(connection, case.prepare, range(CALLS), 100)
    before = int(server.info(connection)[field])
    send(connection, case.call, range(CALLS), 100, case.expected)
    return int(server.info(connection)[field]) - before
