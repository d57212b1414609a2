#!/usr/bin/env python3
"""Tries a library in a server, as an operator uses it: every command, CONFIG, INFO, RDB and AOF
reload, unload and load.

    trial.py NAME --version V --module FILE [--configured] [--dir FOLDER] -- SERVER...

SERVER starts the server, and gets more arguments; FILE and FOLDER are its paths, which need not be
this script's. With --configured the server loads FILE by a configuration that SERVER names.
Prints a line; on a failure the server's log too, and exits with 1.
"""

import argparse
import contextlib
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import redis

CALLS = pathlib.Path(__file__).with_name("commands.txt")
ON_REQUEST = "CL.THROTTLE"
PATIENCE = 60


def until(what, condition):
    """Waits until the condition is true, and returns what it was."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out waiting: {what}"
        time.sleep(0.01)
    return value


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def flat(reply):
    """A reply as words, nested lists laid flat."""
    if isinstance(reply, list):
        return [word for part in reply for word in flat(part)]
    return [reply.decode() if isinstance(reply, bytes) else str(reply)]


def fits(found, expected):
    for i, word in enumerate(expected):
        if word == "...":
            return True
        if i >= len(found) or word not in ("*", found[i]):
            return False
    return len(found) == len(expected)


class Server:
    """The server under test, which is stopped and restarted."""

    def __init__(self, command, module, folder):
        self.command, self.module, self.folder = command, module, folder
        self.port = free_port()
        self.log = tempfile.TemporaryFile()
        # Redis 6 has no module settings. The servers that are configured by a file are newer.
        self.is_redis_6 = bool(module) and " v=6." in subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=True
        ).stdout
        self.process = self.client = None

    def start(self, appendonly):
        arguments = ["--port", str(self.port), "--daemonize", "no", "--logfile", "", "--save", ""]
        arguments += ["--appendonly", appendonly]
        if self.folder:
            arguments += ["--dir", self.folder]
        if not self.is_redis_6:
            arguments += ["--enable-module-command", "local"]
        if self.module:
            arguments += ["--loadmodule", self.module, ON_REQUEST]
        self.process = subprocess.Popen(
            [*self.command, *arguments], stdout=self.log, stderr=subprocess.STDOUT
        )
        self.client = redis.Redis(port=self.port, protocol=2, socket_timeout=PATIENCE)
        until("the server answers", self.answers)

    def answers(self):
        assert self.process.poll() is None, "the server ended"
        try:
            return self.client.ping()
        except redis.ConnectionError:
            return False
        except redis.exceptions.BusyLoadingError:
            return False

    def call(self, *words):
        # The reply as on the wire, not as redis-py converts it.
        connection = self.client.connection_pool.get_connection()
        try:
            connection.send_command(*words)
            return connection.read_response()
        finally:
            self.client.connection_pool.release(connection)

    def stop(self):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(redis.RedisError):
                self.call("SHUTDOWN", "NOSAVE")
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def contents(self):
        keys = sorted(self.call("KEYS", "*"))
        return {key: self.call("DUMP", key) for key in keys}

    def info(self, field, default=None):
        lines = self.call("INFO", "everything").decode().splitlines()
        values = [line.split(":", 1)[1] for line in lines if line.startswith(field + ":")]
        return values[0] if values else default

    def about(self):
        valkey = self.info("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {self.info('redis_version')}"


def try_commands(server):
    """Calls every command of the list, and checks that the list is complete."""
    known = {command[0].decode().upper() for command in server.call("COMMAND")}
    ours = {name for name in known if name.startswith("RL.") or name == ON_REQUEST}
    called = set()
    for line in CALLS.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        call, _, expected = (part.strip() for part in line.partition(" = "))
        words, expected = call.split(), expected.split()
        if words[0] == ON_REQUEST and ON_REQUEST not in ours and not server.module:
            continue  # Not enabled by the server's own configuration.
        called.add(words[0])
        found = flat(server.call(*words))
        assert fits(found, expected), f"{call}: expected {expected}, got {found}"
    assert ours == called, f"not in {CALLS.name}, or not in the server: {ours ^ called}"
    return len(called)


def try_settings(server, version):
    assert server.info("rl_version") == version, server.info("rl_version")
    server.call("RL.TAKE", "counted", "1/d", "5")
    assert int(server.info("rl_takes_allowed")) > 0
    if server.is_redis_6:
        return "no CONFIG (6.2)"
    number = flat(server.call("CONFIG", "GET", "rl.top-keys"))[1]
    assert number == "128", number
    server.call("CONFIG", "SET", "rl.top-keys", "64")
    assert flat(server.call("CONFIG", "GET", "rl.top-keys")) == ["rl.top-keys", "64"]
    assert server.info("rl_top_keys") == "64"
    try:
        server.call("CONFIG", "REWRITE")
    except redis.ResponseError:
        return "CONFIG"  # There is no file, or the server may not write it.
    # The server must start with the file that it wrote.
    server.stop()
    server.start("no")
    assert flat(server.call("CONFIG", "GET", "rl.top-keys")) == ["rl.top-keys", "64"]
    return "CONFIG with REWRITE"


def try_reloads(server):
    """RDB and AOF keep the data."""
    before = server.contents()
    assert before, "nothing to keep"
    server.call("SAVE")
    server.stop()
    server.start("no")
    assert server.contents() == before, "RDB"

    server.call("CONFIG", "SET", "appendonly", "yes")
    until("the AOF is written", lambda: server.info("aof_rewrite_in_progress") == "0"
          and server.info("aof_rewrite_scheduled") == "0")
    server.call("RL.TAKE", "after the rewrite", "1/d", "5")
    before = server.contents()
    server.stop()
    server.start("yes")
    assert server.contents() == before and b"after the rewrite" in before, "AOF"


def try_unload(server, module):
    before = server.contents()
    server.call("MODULE", "UNLOAD", "rl")
    try:
        server.call("RL.PEEK", "left", "1/d", "5")
    except redis.ResponseError as error:
        assert "unknown command" in str(error), error
    else:
        raise AssertionError("answers without its module")
    server.call("MODULE", "LOAD", module, ON_REQUEST)
    assert server.contents() == before, "unloaded"
    found = flat(server.call("RL.PEEK", "left", "1/d", "5"))
    assert found[:3] == ["1", "5", "3"], found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--version", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--dir")
    parser.add_argument("--configured", action="store_true")
    parser.add_argument("server", nargs="+")
    options = parser.parse_args()
    given = None if options.configured else options.module
    server = Server(options.server, given, options.dir)
    try:
        server.start("no")
        server.call("FLUSHALL")
        tried = try_commands(server)
        try_reloads(server)
        config = try_settings(server, options.version)
        try_unload(server, options.module)
        about = server.about()
    except (AssertionError, redis.RedisError) as error:
        server.stop()
        server.log.seek(0)
        sys.stdout.buffer.write(server.log.read())
        print(f"{options.name}: FAILED: {error!r}")
        sys.exit(1)
    finally:
        server.stop()
    print(f"{options.name}\t{about}\t{tried} commands, {config}, INFO, RDB, AOF, unload, load")


if __name__ == "__main__":
    main()
