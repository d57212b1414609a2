"""Measures callers that wait for slots, on one server. See scripts/bench.sh --waiters.

Prints: the CPU time of many waiters next to that of as many idle connections, their memory, the longest
stall of a PING while all are served by a FLUSHALL; the time from a release to the waiter's reply next to
BLPOP's; and a queue of workers that wait next to one that polls.
"""

import argparse
import collections
import heapq
import pathlib
import random
import resource
import select
import shutil
import statistics
import sys
import threading
import time

from resp import ReplyError, encode, wait_until
from server import Server

LIBRARY = pathlib.Path(__file__).resolve().parents[2] / "target/release/libredis_rl.so"
# The timer needs the server's usual rhythm.
OPTIONS = "hz 10\nmaxclients 30000\nslowlog-log-slower-than -1"
SECONDS = 10
HANDOVERS = 2_000
WORKERS, SLOTS, WORK_MS, POLL_MS = 1_000, 10, 20, 50


def acquire(key, limit, token, *options):
    return encode("RL.ACQUIRE", key, limit, "1h", token, *options)


class Crowd:
    """Connections that wait, or that are idle."""

    def __init__(self, server, count):
        self.server, self.control = server, server.connect()
        self.connections = [server.connect() for _ in range(count)]

    def info(self, name):
        return int(self.server.info(self.control)[name])

    def wait(self, key, rooms=1):
        """Has all of them wait. `key` returns the key of each."""
        for n, connection in enumerate(self.connections):
            # The key has as many slots as rooms, all of them taken.
            options = ["KEEP", rooms - 1 - n % rooms] if rooms > 1 else []
            connection.socket.sendall(acquire(key(n), rooms, f"w{n}", *options, "WAIT", 600_000))
        wait_until(lambda: self.info("rl_lease_waiting") == len(self.connections), "all wait")

    def replies(self):
        """Returns the replies of all."""
        return [connection.read() for connection in self.connections]

    def cpu(self):
        """Returns the share of a core that the server uses while nothing happens."""
        before, start = self.server.cpu_seconds(), time.monotonic()
        time.sleep(SECONDS)
        return (self.server.cpu_seconds() - before) / (time.monotonic() - start)


class Pings:
    """Asks a server without pause, from a thread of its own, and keeps the longest time."""

    def __init__(self, server):
        self.connection, self.stop, self.longest = server.connect(), False, 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop:
            start = time.perf_counter()
            self.connection.call("PING")
            self.longest = max(self.longest, time.perf_counter() - start)
            time.sleep(0.0005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()


def many(binary, count):
    """CPU, memory and stalls with `count` waiters."""
    with server_of(binary, count) as server:
        crowd = Crowd(server, count)
        idle = crowd.cpu()
        print(f"{count} idle connections: {idle:.2%} of a core")
        ways = [("on one key", lambda n: "one", 1), (f"on {count} keys", lambda n: f"key{n}", 1),
                ("in 64 rooms of one key", lambda n: "rooms", 64)]
        for name, key, rooms in ways:
            before = crowd.info("used_memory")
            for each in {key(n) for n in range(count)}:
                data = b"".join(acquire(each, rooms, f"holder{n}") for n in range(rooms))
                crowd.control.exchange(data, rooms)
            crowd.wait(key, rooms)
            each = (crowd.info("used_memory") - before) / count
            used = crowd.cpu()
            with Pings(server) as pings:
                time.sleep(1)
                quiet, pings.longest = pings.longest, 0
                start = time.perf_counter()
                crowd.control.call("FLUSHALL")
                # A slot is free for as many as there are rooms; each of them passes it on.
                served = 0
                if rooms == 1 and name != "on one key":
                    served = sum(reply[0] for reply in crowd.replies())
                took = time.perf_counter() - start
            print(f"{count} waiters {name}: {used - idle:+.2%} of a core, {each / 1000:.1f} kB each; "
                  f"longest PING {quiet * 1e3:.1f} ms before a FLUSHALL, {pings.longest * 1e3:.1f} ms "
                  f"under it" + (f"; {served} served in {took:.2f} s" if served else ""))
            if not served:
                drain(crowd)
            crowd.control.call("FLUSHALL")
        unload(crowd.control)


def drain(crowd):
    """Ends all waits."""
    crowd.control.call("CONFIG", "SET", "rl.max-waiters", 0)
    crowd.replies()
    crowd.control.call("CONFIG", "SET", "rl.max-waiters", 100_000)


def unload(control):
    """Proves that no handle was lost."""
    def is_unloaded():
        try:
            return control.call("MODULE", "UNLOAD", "rl") == b"OK"
        except ReplyError:
            return False
    wait_until(is_unloaded, "the module is unloaded")
    print("the module was unloaded")


def percentiles(times):
    times = sorted(times)
    return f"median {times[len(times) // 2] * 1e6:.0f} µs, p99 {times[len(times) * 99 // 100] * 1e6:.0f} µs"


def handovers(binary):
    """The time from sending the release, or the push, to the reply of the one that waits."""
    with server_of(binary, 10) as server:
        control, line = server.connect(), server.connect()
        times = collections.defaultdict(list)
        control.call("RL.ACQUIRE", "k", 1, "1h", "t0")
        for n in range(HANDOVERS):
            line.socket.sendall(acquire("k", 1, f"t{n + 1}", "WAIT", 60_000))
            wait_until(lambda: control.call("RL.LEASES", "k", 1)[6] == 1, "it waits")
            start = time.perf_counter()
            control.socket.sendall(encode("RL.RELEASE", "k", f"t{n}"))
            assert line.read()[0] == 1
            times["RL.RELEASE to RL.ACQUIRE … WAIT"].append(time.perf_counter() - start)
            control.read()
            line.socket.sendall(encode("BLPOP", "list", 60))
            wait_until(lambda: server.info(control)["blocked_clients"] == "1", "it waits")
            start = time.perf_counter()
            control.socket.sendall(encode("RPUSH", "list", "job"))
            assert line.read()[1] == b"job"
            times["RPUSH to BLPOP"].append(time.perf_counter() - start)
            control.read()
        for name, found in times.items():
            print(f"{name}: {percentiles(found)}")
        # From the end of a lease, by the server's clock, to the grant.
        late = []
        for n in range(100):
            control.call("DEL", "k")
            control.call("RL.ACQUIRE", "k", 1, f"{random.randrange(10, 60)}ms", "old")
            end = float(control.call("ZSCORE", "k", "old"))
            assert line.exchange(acquire("k", 1, "new", "WAIT", 60_000), 1)[0][0] == 1
            late.append(float(control.call("ZSCORE", "k", "new")) - 3_600_000 - end)
        print(f"from the end of a lease to the grant: median {statistics.median(late):.0f} ms, "
              f"longest {max(late):.0f} ms")


class Queue:
    """Workers that take a slot, work and give it back, again and again."""

    def __init__(self, server, waits):
        self.server, self.waits = server, waits
        self.poll = select.epoll()
        self.lines = [server.connect() for _ in range(WORKERS)]
        self.by_socket = {line.socket.fileno(): n for n, line in enumerate(self.lines)}
        for line in self.lines:
            self.poll.register(line.socket, select.EPOLLIN)
        self.jobs = [0] * WORKERS
        self.calls = 0
        self.later = []  # (when, worker, whether it works)

    def ask(self, n):
        self.calls += 1
        options = ["WAIT", 60_000] if self.waits else []
        self.lines[n].socket.sendall(acquire("queue", SLOTS, f"worker{n}", *options))

    def run(self):
        start = time.perf_counter()
        for n in range(WORKERS):
            heapq.heappush(self.later, (start + random.random() * POLL_MS / 1000, n, False))
        while (now := time.perf_counter()) < start + SECONDS:
            while self.later and self.later[0][0] <= now:
                _, n, works = heapq.heappop(self.later)
                if works:
                    self.calls += 1
                    self.jobs[n] += 1
                    self.lines[n].socket.sendall(encode("RL.RELEASE", "queue", f"worker{n}"))
                else:
                    self.ask(n)
            wait = self.later[0][0] - now if self.later else 1
            for descriptor, _ in self.poll.poll(max(0, min(wait, 0.01))):
                self.answered(self.by_socket[descriptor])

    def answered(self, n):
        reply = self.lines[n].read()
        now = time.perf_counter()
        if isinstance(reply, int):
            self.ask(n)
        elif reply[0]:
            heapq.heappush(self.later, (now + WORK_MS / 1000, n, True))
        else:
            heapq.heappush(self.later, (now + POLL_MS / 1000, n, False))


def queues(binary):
    """Jobs and calls a second, and how evenly the jobs are spread, waiting and polling."""
    for waits in (True, False):
        with server_of(binary, WORKERS) as server:
            queue = Queue(server, waits)
            before = server.cpu_seconds()
            queue.run()
            cpu = (server.cpu_seconds() - before) / SECONDS
            jobs = sorted(queue.jobs)
            how = "waiting" if waits else f"polling every {POLL_MS} ms"
            print(f"{WORKERS} workers over {SLOTS} slots, {WORK_MS} ms a job, {how}: "
                  f"{sum(jobs) / SECONDS:.0f} jobs a second (most possible "
                  f"{SLOTS * 1000 // WORK_MS}), {queue.calls / SECONDS:.0f} calls a second, "
                  f"{cpu:.1%} of a core; jobs of a worker: {jobs[0]} to {jobs[-1]}, "
                  f"median {jobs[WORKERS // 2]}")


def server_of(binary, clients):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    options = OPTIONS
    if b"enable-module-command" in pathlib.Path(binary).read_bytes():
        options += "\nenable-module-command yes"
    return Server(binary, [f"{LIBRARY} MAX-WAITERS 100000"], options)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("server", nargs="?", default=shutil.which("redis-server"))
    arguments.add_argument("--waiters", type=int, default=10_000)
    arguments.add_argument("--only", choices=["many", "handovers", "queues"])
    options = arguments.parse_args()
    options.server = pathlib.Path(options.server).absolute()
    parts = {"many": lambda: many(options.server, options.waiters),
             "handovers": lambda: handovers(options.server),
             "queues": lambda: queues(options.server)}
    for name, part in parts.items():
        if options.only in (None, name):
            part()
            sys.stdout.flush()


if __name__ == "__main__":
    main()
