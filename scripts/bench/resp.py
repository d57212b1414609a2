"""A client that sends exactly the given bytes, in batches of known size."""

import socket
import time


class ReplyError(Exception):
    """The server answered with an error."""


def encode(*words):
    """One command as the bytes a client sends."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Connection:
    """A blocking connection."""

    def __init__(self, port, timeout=120):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", 1 << 16)

    def close(self):
        self.reader.close()
        self.socket.close()

    def call(self, *words):
        """One command's reply; an error reply is raised."""
        reply = self.exchange(encode(*words), 1)[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def exchange(self, data, replies):
        """The replies to encoded commands that are sent as one write."""
        self.socket.sendall(data)
        return [self.read() for _ in range(replies)]

    def read(self):
        """The next reply; an error reply is returned, not raised."""
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.reader.read(size + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ConnectionError(f"not RESP2: {line!r}")


def wait_until(condition, what, seconds=60):
    """Polls until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
