"""A server of its own for a measurement: started quiet, stopped by its process id."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from resp import Connection, wait_until

# Nothing may run in the background and be counted as the cost of a command.
QUIET = """
bind 127.0.0.1
save ""
hz 1
dynamic-hz no
activerehashing no
activedefrag no
lazyfree-lazy-expire no
maxclients 200
loglevel warning
repl-diskless-sync-delay 0
auto-aof-rewrite-percentage 0
"""


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running server in a directory of its own. Use it as a context manager."""

    def __init__(self, binary, modules=(), options="", wrapper=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rl-bench-"))
        self.port = free_port()
        config = [QUIET, f"port {self.port}", f"dir {self.directory}", options]
        config += [f"loadmodule {module}" for module in modules]
        (self.directory / "server.conf").write_text("\n".join(config) + "\n")
        self.log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(
            [*wrapper, str(binary), str(self.directory / "server.conf")],
            stdout=self.log, stderr=self.log, cwd=self.directory,
        )
        try:
            wait_until(self.answers, f"{binary} answers", 120)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def answers(self):
        if self.process.poll() is not None:
            log = (self.directory / "log").read_text(errors="replace")
            raise RuntimeError(f"the server stopped:\n{log[-2000:]}")
        try:
            connection = Connection(self.port)
        except OSError:
            return False
        connection.close()
        return True

    def connect(self):
        return Connection(self.port)

    def info(self, connection):
        """INFO as a dictionary."""
        lines = connection.call("INFO", "everything").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def cpu_seconds(self):
        """User and system time of the process so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def wait_for_replica(master, connection):
    """Until the master streams to a replica that has caught up."""
    def in_step():
        info = master.info(connection)
        return "state=online" in info.get("slave0", "")
    wait_until(in_step, "the replica is online", 120)
