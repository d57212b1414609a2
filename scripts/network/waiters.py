"""Callers that wait for a slot, each on a connection of its own."""

import threading
import time

import redis

# Leases end, and callers still wait, when the server has refused writes for longer than a reply takes.
SLOTS, TTL_MS, WAIT_MS = 2, 1500, 6000
CALLERS = 6
# Longer than a wait takes on a busy machine, in seconds.
PATIENCE = 20


class Waiters:
    """Callers that wait at the server that `find` returns, over and over."""

    def __init__(self, find):
        self.find, self.stop = find, False
        self.answers = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.call, args=(n,), daemon=True) for n in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def call(self, number):
        count, client = 0, None
        while not self.stop:
            count += 1
            try:
                if not client:
                    client = self.find().client(PATIENCE)
                    client.ping()
            except (redis.RedisError, OSError, StopIteration):
                client = None
                time.sleep(0.05)
                continue
            try:
                self.wait(client, f"waiter{id(self)}-{number}-{count}", releases=count % 2)
            except redis.TimeoutError:
                self.note("unanswered")
                client = None
            except (redis.RedisError, OSError):
                # Refused, unblocked, or its connection was closed.
                self.note("ended")
                client = None
                time.sleep(0.05)

    def wait(self, client, token, releases):
        words = ("{k}:q", SLOTS, f"{TTL_MS}ms", token, "WAIT", WAIT_MS)
        taken = client.execute_command("RL.ACQUIRE", *words)[0]
        self.note("granted" if taken else "denied")
        if taken and releases:
            client.execute_command("RL.RELEASE", "{k}:q", token)

    def note(self, answer):
        with self.lock:
            self.answers.append((answer, time.monotonic()))

    def count(self, answer, start=0.0, end=float("inf")):
        """Returns the number of these answers between two times."""
        return sum(kind == answer and start < at < end for kind, at in self.answers)

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()
