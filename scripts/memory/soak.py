"""Millions of calls of every command on keys that come and go: no memory may stay behind.

The calls are made in rounds, and after each every limit has time to expire. What the server then
has in use for itself is the same in every round, and so is, but for what the allocator happens to
keep at hand, what it gave out: Debian's redis-server has the module allocate from the server's
allocator, so that counts both. Fails if the least of either in the second half of the rounds is
above that of the first half by a hundredth of a byte a call, far less than a block that is lost.
"""

import argparse
import pathlib
import random
import shutil
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts/bench"))

from resp import ReplyError, encode, wait_until  # noqa: E402
from server import Server  # noqa: E402

LIBRARY = ROOT / "target/release/libredis_rl.so"
# The slow log is off, so it cannot look like a leak.
OPTIONS = """
hz 100
activerehashing yes
slowlog-log-slower-than -1
"""
ROUNDS = 10
IN_BATCHES_OF = 500
GROWTH = 0.01
# The limits fill in less than a second, whatever is owed or reserved.
LIMIT = ("1000", "9")


def calls(dice, first):
    """One call of every kind, on new keys and on some earlier ones."""
    new, old = f"soak:{first}", f"soak:{first - dice.randrange(200)}"
    long = f"{'long:' * dice.randrange(80)}{first}"
    several = [word for n in range(4) for word in (f"{new}:{n}", *LIMIT)]
    return [
        ["RL.TAKE", new, *LIMIT],
        ["RL.TAKE", old, *LIMIT, "COST", dice.randrange(1, 12)],
        ["RL.TAKE", old, *LIMIT, "COST", 9, "ATMOST"],
        ["RL.TAKE", old, *LIMIT, "COST", 9, "MAXWAIT", dice.randrange(20)],
        ["RL.TAKE", old, *LIMIT, "COST", dice.randrange(1, 200), "FORCE"],
        ["RL.TAKE", long, *LIMIT, "COST", 10],
        ["RL.PEEK", old, *LIMIT],
        ["RL.PEEK", f"no:{new}", *LIMIT],
        ["RL.GIVE", old, *LIMIT, "COST", dice.randrange(1, 9)],
        ["RL.MTAKE", 4, *several, "COST", dice.randrange(1, 12)],
        ["CL.THROTTLE", new, 9, 1000, 1, dice.randrange(12)],
        ["CL.THROTTLE", f"cell:{old}", 9, 1000, 1],
        ["RL.TAKE", new, "1e9", "9"],
        ["RL.ACQUIRE", f"slots:{old}", 3, dice.choice(["10ms", "50ms", "1s"]), new],
        ["RL.ACQUIRE", f"slots:{old}", 3, "100ms", long],
        ["RL.RENEW", f"slots:{old}", "1s", new, old],
        ["RL.LEASES", f"slots:{old}", 2],
        ["RL.RELEASE", f"slots:{old}", dice.choice([new, old])],
        ["RL.MTAKE", 3, *several[:6]],
        ["RL.WTAKE", f"fixed:{new}", 9, "200ms", "COST", dice.randrange(1, 12)],
        ["RL.WTAKE", f"fixed:{old}", 9, "100ms", "FORCE"],
        ["RL.WPEEK", f"fixed:{old}", 9, "HOUR"],
        ["RL.WGIVE", f"fixed:{old}", 9, "300ms", "COST", dice.randrange(1, 9)],
        ["RL.WTAKE", f"any:{new}", 9, "SLIDING", "200ms", "COST", dice.randrange(1, 12)],
        ["RL.WTAKE", f"any:{old}", 9, "SLIDING", "300ms", "COST", 9, "ATMOST"],
        ["RL.WGIVE", f"any:{old}", 9, "SLIDING", "200ms", "COST", dice.randrange(1, 9)],
        ["RL.WTAKE", f"fixed:{old}", 9, "SLIDING", "200ms"],
        ["RL.ALL", 4, new, f"fixed:{new}", f"any:{new}", f"slots:{new}", "BUCKET", *LIMIT,
         "WINDOW", 9, "100ms", "COST", dice.randrange(1, 12), "WINDOW", 9, "SLIDING", "200ms",
         "LEASE", 2, "50ms", new],
        ["RL.ALL", 3, f"slots:{old}", f"fixed:{old}", old, "LEASE", 3, "20ms", long[:128], "ONCE",
         "WINDOW", 9, "100ms", "BUCKET", *LIMIT, "COST", 4],
        ["DEL", old],
        ["RL.TOP", dice.randrange(1, 20)] if first % 20 == 0 else ["RL.TAKE", old, *LIMIT],
        ["INFO", "rl"] if first % 50 == 0 else ["RL.TAKE", old, *LIMIT],
        ["RL.TOP", "RESET"] if first % 5000 == 0 else ["RL.TAKE", new, *LIMIT],
        ["CONFIG", "SET", "rl.top-keys", dice.choice([0, 1, 128, 4096])] if first % 2000 == 0
        else ["RL.TAKE", new, *LIMIT],
    ]


class Soak:
    """A server, and the number of calls sent to it."""

    def __init__(self, server):
        self.server = server
        self.connection = server.connect()
        self.dice = random.Random(1)
        self.made = self.refused = self.sets = 0

    def round(self, number):
        """Makes `calls` calls, and waits until all their keys are gone."""
        end = self.made + number
        while self.made < end:
            batch = []
            while len(batch) < IN_BATCHES_OF:
                self.sets += 1
                batch += calls(self.dice, self.sets)
            data = b"".join(encode(*call) for call in batch)
            replies = self.connection.exchange(data, len(batch))
            self.refused += sum(isinstance(reply, ReplyError) for reply in replies)
            self.made += len(batch)
        # The same number as at first, not counted yet.
        self.connection.call("CONFIG", "SET", "rl.top-keys", 0)
        self.connection.call("CONFIG", "SET", "rl.top-keys", 128)
        wait_until(lambda: self.connection.call("DBSIZE") == 0, "every bucket has expired")
        # Empty tables shrink in the background; the smallest of several readings counts.
        return [min(column) for column in zip(*(self.memory() for _ in range(200)))]

    def memory(self):
        """Returns the bytes in use by the server, and by its whole process."""
        info = self.server.info(self.connection)
        return int(info["used_memory"]), int(info["allocator_allocated"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("calls", type=int, nargs="?", default=10_000_000)
    total = arguments.parse_args().calls
    module = f"{LIBRARY} CL.THROTTLE"
    with Server(shutil.which("redis-server"), [module], OPTIONS) as server:
        soak = Soak(server)
        seen = []
        for _ in range(ROUNDS):
            seen.append(soak.round(total // ROUNDS))
            server_bytes, all_bytes = seen[-1]
            print(f"soak: after {soak.made:,} calls, {soak.refused:,} of them refused: "
                  f"{server_bytes:,} bytes in the server, {all_bytes:,} in all", flush=True)
    least = [list(map(min, zip(*half))) for half in (seen[:ROUNDS // 2], seen[ROUNDS // 2:])]
    grown = [late - early for early, late in zip(*least)]
    print(f"soak: from one half to the other grown by {grown[0]:,} bytes in the server, "
          f"{grown[1]:,} in all")
    sys.exit(any(growth > GROWTH * total / 2 for growth in grown))


if __name__ == "__main__":
    main()
