"""The latency of a call at half of the highest rate that the server and this client reach."""

import collections
import resource
import select
import statistics
import time

from cases import (BASE, DEEP, DENIED, FIXED, KEY, OURS, SCRIPT, TAKE, key, named,
                   send)
from resp import encode
from server import STANDALONE, Group

CONNECTIONS, BATCH, KEYS = (1, 50, 500), 10, 10_000
SECONDS, ROUNDS = 1, 5


class Stream:
    """A connection that sends a batch on demand and notices the replies."""

    def __init__(self, server, database):
        self.connection = server.connect()
        self.connection.call("SELECT", database)
        self.socket = self.connection.socket
        self.due = collections.deque()
        self.lines = 0

    def send(self, data, due):
        self.socket.sendall(data)
        self.due.append(due)

    def receive(self, lines_a_batch):
        """When each batch that is now answered was due."""
        self.lines += self.socket.recv(1 << 16).count(b"\n")
        while self.due and self.lines >= lines_a_batch:
            self.lines -= lines_a_batch
            yield self.due.popleft()


def measure(binary, libraries):
    """{connections: (calls a second, {case: [p50, p99, p99.9] in seconds})}."""
    # Each case has its own connections, and the server inherits the limit set here.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return {connections: with_so_many(binary, libraries, connections) for connections in CONNECTIONS}


def with_so_many(binary, libraries, connections):
    with Group(binary, libraries[OURS], STANDALONE) as server:
        wanted = named([BASE, TAKE, DENIED, FIXED], DEEP)
        server.connect().call("CONFIG", "SET", "maxclients", len(wanted) * connections + 100)
        loads = [Load(server, case, database, connections) for database, case in enumerate(wanted)]
        rate = loads[0].maximum() / 2
        rounds = [[load.paced(rate) for load in loads] for _ in range(ROUNDS)]
    found = {}
    for load, samples in zip(loads, zip(*rounds)):
        found[load.case.name] = [statistics.median(column) for column in zip(*samples)]
    return rate * BATCH, found


class Load:
    """A case's calls over many connections."""

    def __init__(self, server, case, database, connections):
        self.case = case
        self.streams = {}
        self.poll = select.epoll()
        for _ in range(connections):
            stream = Stream(server, database)
            self.streams[stream.socket.fileno()] = stream
            self.poll.register(stream.socket, select.EPOLLIN)
        connection = server.connect()
        connection.call("SELECT", database)
        connection.call("SCRIPT", "LOAD", SCRIPT)
        send(connection, case.prepare, range(KEYS), 100)
        reply = connection.exchange(encode(*self.words(0)), 1)[0]
        assert case.expected(reply), reply
        connection.close()
        # +OK is one line; an array of integers is one and one for each.
        self.lines = BATCH * (1 + len(reply) if isinstance(reply, list) else 1)
        self.batches = [
            b"".join(encode(*self.words(number)) for number in range(first, first + BATCH))
            for first in range(0, KEYS, BATCH)
        ]

    def words(self, number):
        return [key(number) if word is KEY else word for word in self.case.call[0]]

    def maximum(self):
        """Batches a second when every connection sends the next as soon as it is answered."""
        streams = list(self.streams.values())
        start = time.perf_counter()
        for stream in streams:
            stream.send(self.batches[0], 0)
        done = 0
        while time.perf_counter() < start + SECONDS:
            for descriptor, _ in self.poll.poll(1):
                stream = self.streams[descriptor]
                for _ in stream.receive(self.lines):
                    done += 1
                    stream.send(self.batches[done % len(self.batches)], 0)
        elapsed = time.perf_counter() - start
        self.drain()
        return done / elapsed

    def drain(self):
        deadline = time.perf_counter() + 10
        while any(stream.due for stream in self.streams.values()):
            if time.perf_counter() > deadline:
                raise TimeoutError("replies are missing")
            for descriptor, _ in self.poll.poll(1):
                list(self.streams[descriptor].receive(self.lines))

    def paced(self, rate):
        """
        [p50, p99, p99.9] of the time from when a batch was due, sent late or not, to its reply.
        """
        streams = list(self.streams.values())
        total = int(rate * SECONDS)
        sent, times = 0, []
        start = time.perf_counter()
        deadline = start + 10 * SECONDS
        while len(times) < total:
            now = time.perf_counter()
            if now > deadline:
                raise TimeoutError("replies are missing")
            while sent < total and start + sent / rate <= now:
                stream = streams[sent % len(streams)]
                stream.send(self.batches[sent % len(self.batches)], start + sent / rate)
                sent += 1
            # Polls without waiting: a sleep would be measured with the server.
            for descriptor, _ in self.poll.poll(0):
                answered = self.streams[descriptor].receive(self.lines)
                arrived = time.perf_counter()
                times += [arrived - due for due in answered]
        times.sort()
        return [times[int(len(times) * part)] for part in (0.5, 0.99, 0.999)]
