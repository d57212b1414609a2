"""A gateway that charges an estimate, works, and settles, in an endless loop, to be killed at any
moment. It logs what it is about to settle, and what was settled.

Usage: gateway.py PORT LOG
"""

import os
import random
import socket
import sys
import time

WINDOW = ("WINDOW", "100000000", "30d")


class Gateway:
    def __init__(self, port, log):
        self.socket = socket.create_connection(("127.0.0.1", int(port)))
        self.reader = self.socket.makefile("rb")
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, *words):
        """Writes a line at once: the process may be killed before the next one."""
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def first(self, *words):
        """Sends a call and returns the first number of its reply."""
        words = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in words]
        self.socket.sendall(b"".join(parts))
        return self.read()[0]

    def read(self):
        line = self.reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind != b":":
            raise RuntimeError(line)
        return int(rest)

    def work(self, request):
        cost, used = random.randint(1, 50), random.randint(0, 80)
        reserve = ("RL.ALL", 2, "w", "h", *WINDOW, "COST", cost, "HOLD", "1s", request)
        # Some are sent again, as after a lost reply.
        for _ in range(random.choice((1, 1, 2))):
            assert self.first(*reserve) == 1
        time.sleep(random.choice((0.001, 0.01, 0.03)))
        # A stream that outlives its hold.
        if random.random() < 0.02:
            time.sleep(1.2)
        self.note("settles", request, used)
        settle = ("RL.SETTLE", 2, "w", "h", *WINDOW, "USED", used, "HOLD", request)
        assert self.first(*settle) == 1
        for _ in range(random.choice((0, 0, 1))):
            assert self.first(*settle) == 0
        self.note("settled", request, used)


def main():
    _, port, log = sys.argv
    gateway = Gateway(port, log)
    count = 0
    while True:
        count += 1
        gateway.work(f"{os.getpid()}-{count}")


main()
