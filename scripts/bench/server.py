"""A dedicated server for a measurement: started without background work, stopped by its process id."""

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
repl-ping-replica-period 3600
auto-aof-rewrite-percentage 0
"""

STANDALONE, AOF, REPLICA = "standalone", "AOF everysec", "one replica"
SETTINGS = {STANDALONE: "", AOF: "appendonly yes\nappendfsync everysec", REPLICA: ""}


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


RUNNING = set()


def end_all():
    """Ends every server at once; the measurement of each fails and cleans up."""
    for server in list(RUNNING):
        server.process.kill()


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
        RUNNING.add(self)
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
        """Returns whether this server answers: the port was free, but not reserved."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the server stopped:\n{self.last_words()}")
        try:
            connection = Connection(self.port)
            process = int(self.info(connection)["process_id"])
            connection.close()
        except OSError:
            return False
        if process != self.process.pid:
            raise RuntimeError(f"port {self.port} is another server's")
        return True

    def last_words(self):
        """The end of its log."""
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def connect(self):
        """A new connection."""
        return Connection(self.port)

    def info(self, connection):
        """INFO as a dictionary."""
        lines = connection.call("INFO", "everything").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def cpu_seconds(self):
        """User and system time of the process so far, to the nanosecond."""
        threads = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(path.read_text().split()[0]) for path in threads) / 1e9

    def stop(self):
        """Ends it, by its process id, and removes its files."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        RUNNING.discard(self)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Group:
    """Returns a server in one of the settings, with a replica if the setting needs one."""

    def __init__(self, binary, library, setting, wrapper=()):
        self.replica = None
        self.server = Server(binary, [library], SETTINGS[setting], wrapper)
        if setting != REPLICA:
            return
        try:
            options = f"replicaof 127.0.0.1 {self.server.port}"
            self.replica = Server(binary, [library], options)
            connection = self.server.connect()
            wait_until(lambda: "state=online" in self.server.info(connection).get("slave0", ""),
                       "the replica is online")
            connection.close()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self.server

    def __exit__(self, *_):
        if self.replica:
            self.replica.stop()
        self.server.stop()
