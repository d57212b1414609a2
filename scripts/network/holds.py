"""Reservations and their settlements, each of which must count once in the end."""

import itertools
import time

import redis

from net import until

LIMIT, COST = 10_000_000, 5
KEYS = (2, "{k}:u", "{k}:h", "WINDOW", LIMIT, "1h")
# Fewer than the records that a holds key has room for, so that each is remembered for a minute.
PAUSE = 0.02
# Settled holds are forgotten after a minute, and their calls would count again.
REMEMBERED = 50


class Holds:
    """The reservations of some callers: what each used, and when the reply to its settlement came."""

    def __init__(self):
        self.numbers = itertools.count()
        self.used, self.settled = {}, {}
        self.next = 0.0

    def make(self, client):
        """Reserves and settles, if it is time to."""
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + PAUSE
        number = next(self.numbers)
        hold = f"hold-{id(self)}-{number}"
        # Less and more than is reserved, and sometimes nothing.
        self.used[hold] = number % 9
        self.send(client, hold)

    def send(self, client, hold):
        """Sends both calls. If they were sent before, nothing is charged again."""
        try:
            client.execute_command("RL.ALL", *KEYS, "COST", COST, "HOLD", "10m", hold)
        except redis.ResponseError as error:
            if "was settled" not in str(error):
                raise
        client.execute_command("RL.SETTLE", *KEYS, "USED", self.used[hold], "HOLD", hold)
        self.settled[hold] = time.monotonic()

    def settle_all(self, node, others, shipped):
        """
        Repeats the calls that `node` may not know: those without a reply, and ours since `shipped`.
        Returns what was used in all.
        """
        with node.client() as client:
            for holds, since in ((self, shipped), (others, float("inf"))):
                for hold in holds.used:
                    if holds.settled.get(hold, since) >= since:
                        seconds = shipped + REMEMBERED - time.monotonic()
                        until("the settlement is accepted", lambda: holds.is_accepted(client, hold), seconds)
        return sum(self.used.values()) + sum(others.used.values())

    def is_accepted(self, client, hold):
        try:
            self.send(client, hold)
            return True
        except (redis.RedisError, OSError):
            return False


def charged(node):
    """Returns what the window of all holds says was used, at a master or a replica."""
    with node.client(single_connection_client=True) as client:
        try:
            client.execute_command("READONLY")
        except redis.ResponseError:
            pass  # It is not in a cluster.
        return LIMIT - client.execute_command("RL.WPEEK", "{k}:u", LIMIT, "1h")[2]
