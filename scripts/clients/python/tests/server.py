"""A real server for the tests, and a wire to it that can be cut."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import redis

ROOT = Path(__file__).resolve().parents[4]


_ports = itertools.count(os.getpid() * 397)


def free_port() -> int:
    """Returns a port on which nobody listens. Below the range for outgoing connections, so that a server
    that was killed finds it again; a cluster node also listens 10 000 above."""
    while True:
        port = 10_000 + next(_ports) % 10_000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def patient(kind: Any, port: int, **options: Any) -> Any:
    """Returns a client of this kind that waits for a busy machine. By default it gives up after 5 s."""
    return kind(host="127.0.0.1", port=port, **{"socket_timeout": 60, "socket_connect_timeout": 60, **options})


class Server:
    """A server with the module (or without), which ends with `stop`."""

    def __init__(self, *arguments: str, module: bool = True) -> None:
        binary = os.environ.get("REDIS_RL_SERVER", "redis-server")
        if "/" in binary:
            binary = str(ROOT / binary)
        library = os.environ.get("REDIS_RL_MODULE", "target/release/libredis_rl.so")
        self._dir = tempfile.TemporaryDirectory()
        command = [binary, "--bind", "127.0.0.1", "--save", "", "--logfile", "log", *arguments]
        if module:
            command += ["--loadmodule", str(ROOT / library)]
        while True:
            self.port = free_port()
            self._command = [*command, "--port", str(self.port)]
            try:
                return self.start()
            except AssertionError:
                # Another process may take the port before the server does.
                if "Address already in use" not in Path(self._dir.name, "log").read_text():
                    raise
                Path(self._dir.name, "log").unlink()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd=self._dir.name, stdout=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the server does not start"
        try:
            return self.client.info("server")["process_id"] == self._process.pid
        except redis.RedisError:
            return False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def client(self) -> redis.Redis:
        return patient(redis.Redis, self.port)

    def hang(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.kill()
        self._dir.cleanup()


class Wire:
    """A proxy to a server. Of the replies, it loses the next `lose`: it closes the connection instead of
    passing one back. It passes each of the others back after `delay` seconds."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.lose, self.delay = 0, 0.0
        self.most_open = self._open = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            with self._lock:
                self._open += 1
                self.most_open = max(self.most_open, self._open)
            threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(far, near), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while data := near.recv(65536):
                far.sendall(data)
        except OSError:
            pass
        _end(far)

    def _pass_back(self, far: socket.socket, near: socket.socket) -> None:
        try:
            while data := far.recv(65536):
                if self.lose:
                    self.lose -= 1
                    break
                time.sleep(self.delay)
                near.sendall(data)
        except OSError:
            pass
        with self._lock:
            self._open -= 1
        _end(near)
        _end(far)

    def stop(self) -> None:
        self._listener.close()


def _end(connection: socket.socket) -> None:
    # Another thread waits for it, which closing it would not end.
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


def until(condition, seconds: float = 120) -> None:
    """Waits until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting: {condition}"
        time.sleep(0.002)
