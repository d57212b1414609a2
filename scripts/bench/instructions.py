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
# The position of a name in its chain of the server's hash tables depends on a random seed. The
# servers get the same seeds in every run, so that two runs agree, and several seeds, so that the
# median does not depend on one.
SEEDS = [b"1", b"2", b"3"]
# Calls in one write: a server with many clients has as much to read at a time, and the cost of
# reading and writing the socket, the same for every case, does not drown what differs.
BATCH = 20

# The work of the server's timer is not counted, nor what the first call after each tick asks the
# server for (62 000 instructions; the name is that of Redis or Valkey): under valgrind, a server has
# as many ticks in 2 000 calls as otherwise in 200 000.
NOT_COUNTED = ("serverCron", "RM_GetServerInfo", "VM_GetServerInfo")
CALLGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no",
             *(f"--toggle-collect={function}" for function in NOT_COUNTED),
             "--collect-atstart=yes", "--callgrind-out-file=callgrind.%p")
# In its own mount namespace the server finds this file in place of the random device.
SEEDED = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /dev/urandom && exec "$@"')


def control(server, *words):
    """Sends a command to the server's callgrind."""
    subprocess.run(
        ["vgdb", f"--pid={server.process.pid}", *words],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
    )


def dump(server):
    """Returns the instructions since the last dump, and the file with their profile."""
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
    """Returns the command that starts a server under callgrind with this seed."""
    with tempfile.NamedTemporaryFile(prefix="rl-bench-seed-") as file:
        file.write(seed * 4096)
        file.flush()
        yield (*SEEDED, file.name, *CALLGRIND)


def use_up_memory(server, connection):
    """Lets each new key evict another."""
    connection.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    connection.call("CONFIG", "SET", "maxmemory", server.info(connection)["used_memory"])


def count(server, case, profiles):
    """Instructions for one call; None where the server lacks the command."""
    connection = server.connect()
    connection.call("FLUSHALL")
    for script in SCRIPTS:
        connection.call("SCRIPT", "LOAD", script)
    if not send(connection, case.prepare or case.call, range(0, KEYS, case.step), BATCH):
        return None
    # Reading every key lets the server finish the growth of its tables.
    connection.call("EXISTS", *map(key, range(KEYS)))
    start = 0 if case.prepare else KEYS
    numbers = range(start, start + KEYS, STEP)
    if case.evicts:
        use_up_memory(server, connection)
    control(server, "instrumentation", "on")
    dump(server)
    send(connection, case.call, numbers, BATCH, case.expected)
    total, path = dump(server)
    control(server, "instrumentation", "off")
    connection.call("CONFIG", "SET", "maxmemory", "0")
    connection.close()
    if profiles:
        profiles.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", case.name.lower()).strip("-")
        shutil.copy(path, profiles / f"callgrind.{name}")
    return total / len(numbers)
