"""A worker that works only while it holds one of at most 5 slots, with RL.ACQUIRE … WAIT.

pip install redis
"""

import logging
import os
import threading
import time
import uuid

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

KEY, LIMIT = "slots:reports", 5
TTL_MS = int(os.environ.get("TTL_MS", 30_000))  # About ten times the longest pause of a process.
WAIT_MS = 60_000


class Lease:
    """A slot. Inside the block, check `lost` between steps: if it is set, stop."""

    def __init__(self, redis):
        self.redis, self.token = redis, str(uuid.uuid4())
        self.lost, self.done = threading.Event(), threading.Event()

    def acquire(self):
        """Waits in the server until there is a slot, over a connection of its own."""
        with connect(WAIT_MS / 1000 + 10) as line:
            while True:
                taken, _, _, wait_ms, _ = line.execute_command(
                    "RL.ACQUIRE", KEY, LIMIT, f"{TTL_MS}ms", self.token, "WAIT", WAIT_MS)
                # The lease began at an unknown time during the wait; a renewal begins at a known one.
                if taken and self.renew():
                    return
                if not taken:
                    # The wait is over, or too many callers wait already.
                    time.sleep(max(0.01, min(wait_ms / 1000, 1)))

    def renew(self):
        """Renews the lease. Returns whether it is still live."""
        asked = time.monotonic()
        renewed = self.redis.execute_command("RL.RENEW", KEY, f"{TTL_MS}ms", self.token)
        if renewed:
            # Measured from before the call, so it ends here before it ends in the server.
            self.ends = asked + TTL_MS / 1000
        return bool(renewed)

    def __enter__(self):
        self.acquire()
        self.heart = threading.Thread(target=self.beat, daemon=True)
        self.heart.start()
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def beat(self):
        """Renews every third of the ttl, so that two renewals may fail."""
        while not self.done.wait(TTL_MS / 3000):
            try:
                if not self.renew():
                    return self.lost.set()
            except RedisError as error:
                # The lease is still live: the next renewal may reach the server.
                logging.warning("no renewal: %s", error)

    def watch(self):
        """Sets `lost` by this machine's clock if no renewal succeeded."""
        while not self.done.wait(min(0.05, TTL_MS / 3000)):
            if time.monotonic() >= self.ends:
                return self.lost.set()

    def __exit__(self, *_):
        self.done.set()
        self.heart.join()  # A late renewal does not revive the lease: it returns 0.
        try:
            self.redis.execute_command("RL.RELEASE", KEY, self.token)
        except RedisError as error:
            logging.warning("no release, the slot comes back by itself: %s", error)


def connect(timeout):
    return Redis.from_url(os.environ["REDIS_URL"], retry=Retry(NoBackoff(), 1),
                          socket_timeout=timeout, socket_connect_timeout=timeout)


def main():
    # A renewal must not take longer than the interval between two.
    with Lease(connect(TTL_MS / 3000)) as lease:
        print("working", flush=True)
        for step in range(int(os.environ.get("STEPS", 100))):
            if lease.lost.is_set():
                print(f"stopped at step {step}: the lease has ended", flush=True)
                return
            time.sleep(0.05)  # The work, in steps much shorter than the ttl.
    print("done", flush=True)


main()
