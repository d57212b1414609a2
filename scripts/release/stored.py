#!/usr/bin/env python3
"""Moves what one build of the module stored to another build, and back, in a server:

    stored.py OLD.so NEW.so -- SERVER...

In both directions, and each way that data moves: RDB, AOF, DUMP and RESTORE, the full synchronisation
of a replica, and its stream. Every key must keep its bytes and its expiry, and every limit its state. A
build that does not know the kind of a key must refuse it, and leave it as it is. Prints a line for each
direction; on a failure the servers' logs too, and exits with 1.
"""

import argparse
import sys
import tempfile

import redis

from trial import ON_REQUEST, Server, flat, until

# What is stored, by which calls; then a call that continues, and the beginning of its reply.
ROWS = [
    ("bucket", ["RL.TAKE bucket 1/d 5 COST 2"], "RL.TAKE bucket 1/d 5", [1, 5, 2]),
    ("fraction", ["RL.TAKE fraction 7/d 50 COST 20", "RL.TAKE fraction 7/d 50"],
     "RL.TAKE fraction 7/d 50 COST 29", [29, 50, 0]),
    ("debt", ["RL.TAKE debt 1/d 5 COST 9 FORCE"], "RL.TAKE debt 1/d 5", [0, 5]),
    ("denied", ["RL.TAKE denied 1/d 5 COST 5", "RL.TAKE denied 1/d 5"], "RL.TAKE denied 1/d 5", [0, 5, 0]),
    ("{m}a", ["RL.MTAKE 2 {m}a 1/d 5 {m}b 2/d 9"], "RL.TAKE {m}b 2/d 9", [1, 9, 7]),
    ("cell", ["CL.THROTTLE cell 4 1 86400"], "CL.THROTTLE cell 4 1 86400", [0, 5, 3]),
    ("fixed", ["RL.WTAKE fixed 5 30d COST 2"], "RL.WTAKE fixed 5 30d", [1, 5, 2]),
    ("month", ["RL.WTAKE month 5 YEAR COST 5"], "RL.WTAKE month 5 YEAR", [0, 5, 0]),
    ("sliding", ["RL.WTAKE sliding 5 SLIDING 30d COST 2"], "RL.WTAKE sliding 5 SLIDING 30d", [1, 5, 2]),
    ("leases", ["RL.ACQUIRE leases 2 1h a", "RL.ACQUIRE leases 2 1h b"], "RL.ACQUIRE leases 2 1h c", [0, 2, 0]),
    ("{s}a", ["RL.ALL 3 {s}a {s}w {s}l BUCKET 1/d 5 WINDOW 5 30d LEASE 3 1h t"],
     "RL.ALL 3 {s}a {s}w {s}l BUCKET 1/d 5 WINDOW 5 30d LEASE 3 1h u", [1, 0, 1, 5, 3]),
    ("{o}l", ["RL.ALL 2 {o}w {o}l WINDOW 5 30d LEASE 1 1h id ONCE"],
     "RL.ALL 2 {o}w {o}l WINDOW 5 30d LEASE 1 1h id ONCE", [1, 0, 0, 5, 4]),
    ("{h}h", ["RL.ALL 2 {h}w {h}h WINDOW 9 30d COST 5 HOLD 1h id"],
     "RL.SETTLE 2 {h}w {h}h WINDOW 9 30d USED 3 HOLD id", [1, 0, -2, 9, 6]),
]
FOREIGN = "RL.TAKE %s 1/d 5"


class Build(Server):
    """A server with one build of the module."""

    def __init__(self, command, module):
        self.data = tempfile.TemporaryDirectory()
        super().__init__(command, module, self.data.name)

    def knows(self, line):
        return line.split()[0] in self.commands

    def start(self, appendonly):
        super().start(appendonly)
        self.commands = {flat(command[0])[0].upper() for command in self.call("COMMAND")}

    def fill(self):
        """Stores every kind that this build knows, and returns the rows."""
        rows = [row for row in ROWS if all(self.knows(line) for line in row[1])]
        stored = []
        for row in rows:
            try:
                for line in row[1]:
                    self.call(*line.split())
            except redis.ResponseError as error:
                # An older build may know the command, but not the option.
                assert is_unknown(error), f"{row[1]}: {error}"
                continue
            stored.append(row)
        return stored

    def contents(self):
        """Every key: its value, and when it expires."""
        now = until("a moment", lambda: self.call("TIME"))
        now = int(now[0]) * 1000 + int(now[1]) // 1000
        keys = sorted(self.call("KEYS", "*"))
        return {key: (self.call("DUMP", key), now + self.call("PTTL", key)) for key in keys}


def is_unknown(error):
    """Whether the build does not know the option."""
    return "option" in str(error) or "syntax" in str(error)


def assert_same(before, after):
    assert before.keys() == after.keys(), before.keys() ^ after.keys()
    for key, (value, expiry) in before.items():
        assert after[key][0] == value, f"{key}: {value} became {after[key][0]}"
        # It is computed from the time left.
        assert abs(after[key][1] - expiry) < 2000, f"{key}: expired at {expiry}, now {after[key][1]}"


def continues(server, rows):
    """Every limit goes on; what the build does not know is refused and stays. Returns how many of each."""
    known = refused = 0
    for key, filled, line, expected in rows:
        if all(server.knows(call) for call in [*filled, line]):
            try:
                reply = flat(server.call(*line.split()))
            except redis.ResponseError as error:
                assert is_unknown(error), f"{line}: {error}"
            else:
                assert reply[: len(expected)] == [str(n) for n in expected], f"{line}: {expected}, got {reply}"
                known += 1
                continue
        # Every build knows buckets.
        is_bucket = server.call("TYPE", key) in (b"string", "string") and server.call("STRLEN", key) == 16
        before = server.call("DUMP", key)
        try:
            server.call(*(FOREIGN % key).split())
        except redis.ResponseError as error:
            assert not is_bucket, f"{FOREIGN % key}: {error}"
            assert server.call("DUMP", key) == before, key
            refused += 1
        else:
            assert is_bucket, f"{FOREIGN % key}: it holds another kind"
    return known, refused


def by_rdb(first, second):
    first.call("SAVE")
    restart(first, second, "no")


def by_aof(first, second):
    restart(first, second, "yes")


def restart(first, second, appendonly):
    """The second build starts where the first was."""
    first.stop()
    second.folder = first.folder
    second.start(appendonly)


def by_restore(first, second):
    second.start("no")
    for key in first.call("KEYS", "*"):
        expiry = first.call("PTTL", key)
        second.call("RESTORE", key, expiry, first.call("DUMP", key))


def follow(second, first):
    second.start("no")
    second.call("REPLICAOF", "127.0.0.1", str(first.port))
    until("the replica is linked", lambda: second.info("master_link_status") == "up")


def promote(first, second):
    until("the replica is in step", lambda: second.info("master_repl_offset") == first.info("master_repl_offset"))
    assert_same(first.contents(), second.contents())
    second.call("REPLICAOF", "NO", "ONE")


def by_full_sync(first, second):
    follow(second, first)
    promote(first, second)


def moved(command, old, new, way):
    """Fills the old build, continues in the new one, and goes back."""
    first, second, again = Build(command, old), Build(command, new), Build(command, old)
    servers = [first, second, again]
    try:
        first.start("yes" if way == by_aof else "no")
        if way == promote:
            follow(second, first)
        rows = first.fill()
        before = first.contents()
        way(first, second)
        assert_same(before, second.contents())
        counted = continues(second, rows)
        second.call("SAVE")
        before = second.contents()
        restart(second, again, "no")
        assert_same(before, again.contents())
        return counted
    except (AssertionError, redis.RedisError):
        for server in servers:
            server.stop()
            server.log.seek(0)
            sys.stdout.buffer.write(server.log.read())
        raise
    finally:
        for server in servers:
            server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("server", nargs="+")
    options = parser.parse_args()
    ways = {"RDB": by_rdb, "AOF": by_aof, "RESTORE": by_restore, "full sync": by_full_sync, "stream": promote}
    directions = {"upgrade": (options.old, options.new), "rollback": (options.new, options.old)}
    for direction, (first, second) in directions.items():
        done = []
        for name, way in ways.items():
            try:
                known, refused = moved(options.server, first, second, way)
            except (AssertionError, redis.RedisError) as error:
                print(f"{direction} by {name}: FAILED: {error!r}")
                sys.exit(1)
            done.append(f"{name} {known} continued, {refused} refused")
        print(f"{direction}: {'; '.join(done)}")


main()
