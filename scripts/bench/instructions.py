"""Instructions that the server's process executes for one call, counted by callgrind."""

import pathlib
import re
import shutil
import statistics
import subprocess

from cases import CELL, OURS, SCRIPT
from resp import ReplyError
from server import Server, wait_for_replica

KEYS = 10_000
WINDOW = 2_000
WINDOWS = 5
# Calls sent in one write. A service with many clients keeps its server this busy, and the cost of
# reading and writing the socket, the same for every case, does not drown what differs.
BATCH = 20

SETTINGS = {"standalone": "", "AOF": "appendonly yes\nappendfsync everysec", "replica": ""}


class Callgrind:
    """A server under callgrind, off until a window is measured."""

    def __init__(self, binary, modules, options):
        self.server = Server(binary, modules, options, [
            "valgrind", "--tool=callgrind", "--instr-atstart=no",
            "--callgrind-out-file=callgrind.%p",
        ])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()

    def command(self, *words):
        subprocess.run(
            ["vgdb", f"--pid={self.server.process.pid}", *words],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
        )

    def dump(self):
        """Instructions since the last `zero`, and the file that says where they went."""
        def files():
            return set(self.server.directory.glob(f"callgrind.{self.server.process.pid}.*"))
        before = files()
        self.command("dump")
        (path,) = files() - before
        total = re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)
        return int(total.group(1)), path


def measure(binary, modules, cases, setting, profiles=None):
    """{case's name: instructions a call, or None where the server lacks the command}."""
    results = {}
    for kind in (OURS, CELL):
        group = [case for case in cases if case.server == kind]
        if not group or kind not in modules:
            continue
        with Callgrind(binary, [modules[kind]], SETTINGS[setting]) as grind:
            replica = attach_replica(binary, modules[kind], grind, setting)
            try:
                for case in group:
                    results[case.name] = measure_case(grind, case, profiles)
            finally:
                if replica:
                    replica.stop()
    return results


def attach_replica(binary, module, grind, setting):
    if setting != "replica":
        return None
    replica = Server(binary, [module], f"replicaof 127.0.0.1 {grind.server.port}")
    try:
        wait_for_replica(grind.server, grind.server.connect())
    except BaseException:
        replica.stop()
        raise
    return replica


def measure_case(grind, case, profiles):
    connection = grind.server.connect()
    connection.call("FLUSHALL")
    connection.call("SCRIPT", "LOAD", SCRIPT)
    prepare = case.call if case.new_keys else case.prepare
    if prepare and not run(connection, prepare, range(KEYS), None):
        return None
    start = KEYS if case.new_keys else 0
    grind.command("instrumentation", "on")
    try:
        # The first calls after a switch translate the code and fill the caches.
        if not run(connection, case.call, range(start, start + 5 * BATCH), case.expected):
            return None
        start += 5 * BATCH
        counts = []
        for window in range(WINDOWS):
            first = start + window * WINDOW
            numbers = range(first, first + WINDOW)
            if not case.new_keys:
                numbers = [number % KEYS for number in numbers]
            grind.command("zero")
            run(connection, case.call, numbers, case.expected)
            count, path = grind.dump()
            counts.append(count / WINDOW)
    finally:
        grind.command("instrumentation", "off")
        connection.close()
    if profiles:
        profiles.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", case.name.lower()).strip("-")
        shutil.copy(path, profiles / f"callgrind.{name}")
    # The median: a window in which the server's timer fired is a little dearer.
    return statistics.median(counts)


def run(connection, call, numbers, expected):
    """Makes the calls in batches. False if the server lacks the command."""
    numbers = list(numbers)
    for at in range(0, len(numbers), BATCH):
        calls = [call(number) for number in numbers[at:at + BATCH]]
        replies = connection.batch([command for one in calls for command in one])
        step = len(calls[0])
        for reply in replies[step - 1::step]:
            if isinstance(reply, ReplyError):
                if "unknown command" in str(reply).lower():
                    return False
                raise reply
            if expected and not expected(reply):
                raise AssertionError(f"not the reply that this case is about: {reply}")
    return True


def profile(path, lines=40):
    """Where the instructions went, as callgrind_annotate tells it."""
    return subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", f"--threshold=99.5", str(path)],
        check=True, capture_output=True, text=True,
    ).stdout
