"""Instructions that the server's process executes for one call, counted by callgrind."""

import contextlib
import re
import shutil
import statistics
import subprocess
import tempfile

from cases import CELL, FLOOR, OURS, SCRIPTS, STEP, key, send
from server import Group

KEYS = 10_000
# How far a name is down its chain in the server's hash tables depends on a seed that is random.
# The servers are given the same seeds in every run, so that two runs agree, and several, so that
# the median is not one seed's luck.
SEEDS = (b"1", b"2", b"3")
# Calls in one write: a server with many clients has as much to read at a time, and the cost of
# reading and writing the socket, the same for every case, does not drown what differs.
BATCH = 20

# What the server's timer does is not counted.
CALLGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no",
             "--toggle-collect=serverCron", "--collect-atstart=yes",
             "--callgrind-out-file=callgrind.%p")
# In a mount namespace of its own the server finds this file where it looks for random bytes.
SEEDED = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /dev/urandom && exec "$@"')


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
    counts = {}
    for kind in (OURS, CELL, FLOOR):
        mine = [case for case in cases if case.server == kind]
        for seed in SEEDS if mine else ():
            with seeded(seed) as wrapper, \
                    Group(binary, libraries[kind], setting, wrapper) as server:
                for case in mine:
                    counts.setdefault(case.name, []).append(count(server, case, profiles))
    return {name: None if None in found else statistics.median(found)
            for name, found in counts.items()}


@contextlib.contextmanager
def seeded(seed):
    """What starts a server under callgrind with this seed."""
    with tempfile.NamedTemporaryFile(prefix="rl-bench-seed-") as file:
        file.write(seed * 4096)
        file.flush()
        yield (*SEEDED, file.name, *CALLGRIND)


def count(server, case, profiles):
    """Instructions for one call; None where the server lacks the command."""
    connection = server.connect()
    connection.call("FLUSHALL")
    for script in SCRIPTS:
        connection.call("SCRIPT", "LOAD", script)
    if not send(connection, case.prepare or case.call, range(0, KEYS, case.step), BATCH):
        return None
    # Looking at every key lets the server finish the growth of its tables.
    connection.call("EXISTS", *map(key, range(KEYS)))
    start = 0 if case.prepare else KEYS
    numbers = range(start, start + KEYS, STEP)
    control(server, "instrumentation", "on")
    dump(server)
    send(connection, case.call, numbers, BATCH, case.expected)
    total, path = dump(server)
    control(server, "instrumentation", "off")
    connection.close()
    if profiles:
        profiles.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", case.name.lower()).strip("-")
        shutil.copy(path, profiles / f"callgrind.{name}")
    return total / len(numbers)
