"""Instructions that the server's process executes for one call, counted by callgrind."""

import re
import shutil
import statistics
import subprocess

from cases import CELL, OURS, SCRIPT, send
from server import SETTINGS, Group, Server

KEYS = 10_000
# Every key once, in as many windows; the median is no window in which the server's timer fired.
WINDOW, WINDOWS = 2_500, 4
# Calls in one write: a server with many clients has as much to read at a time, and the cost of
# reading and writing the socket, the same for every case, does not drown what differs.
BATCH = 20

CALLGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no",
             "--callgrind-out-file=callgrind.%p")


def control(server, *words):
    """Tells the server's callgrind something."""
    subprocess.run(
        ["vgdb", f"--pid={server.process.pid}", *words],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
    )


def dump(server):
    """Instructions since the last dump, and the file that says where they went."""
    def files():
        return set(server.directory.glob(f"callgrind.{server.process.pid}.*"))
    before = files()
    control(server, "dump")
    (path,) = files() - before
    total = re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)
    return int(total.group(1)), path


def measure(binary, libraries, cases, setting, profiles=None):
    """{case: instructions a call}; None where the server lacks the command."""
    results = {}
    for kind in (OURS, CELL):
        mine = [case for case in cases if case.server == kind]
        if not mine or kind not in libraries:
            continue
        with Group(binary, libraries[kind], setting, CALLGRIND) as server:
            for case in mine:
                results[case.name] = measure_case(server, case, profiles)
    return results


def measure_case(server, case, profiles):
    connection = server.connect()
    connection.call("FLUSHALL")
    connection.call("SCRIPT", "LOAD", SCRIPT)
    if not send(connection, case.prepare or case.call, range(KEYS), BATCH):
        return None
    start = 0 if case.prepare else KEYS
    counts = []
    control(server, "instrumentation", "on")
    dump(server)
    for first in range(start, start + WINDOW * WINDOWS, WINDOW):
        send(connection, case.call, range(first, first + WINDOW), BATCH, case.expected)
        count, path = dump(server)
        counts.append(count / WINDOW)
    control(server, "instrumentation", "off")
    connection.close()
    if profiles:
        profiles.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", case.name.lower()).strip("-")
        shutil.copy(path, profiles / f"callgrind.{name}")
    return statistics.median(counts)
