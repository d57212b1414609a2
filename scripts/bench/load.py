"""CPU that the server spends on a call, and calls a second, under redis-benchmark's load."""

import csv
import io
import statistics
import subprocess

from cases import (BASE, CELL, CELL_ALLOWED, CELL_DENIED, DEEP, DENIED, KEY, LUA_ALLOWED,
                   LUA_DENIED, OURS, SCRIPT, TAKE, named, send)
from server import AOF, REPLICA, STANDALONE, Group

COMPARED = ["INCR", BASE, TAKE, DENIED, CELL_ALLOWED, CELL_DENIED, LUA_ALLOWED, LUA_DENIED]
KEYS = 10_000
# (connections, calls in one write)
BUSY = (50, 16)
SHAPES = {STANDALONE: [(1, 1), (50, 1), (1, 16), BUSY], AOF: [BUSY], REPLICA: [BUSY]}
SECONDS = 0.4


def run(server, case, database, shape, calls, keys=KEYS):
    """(calls a second, CPU seconds a call) of one burst of load."""
    connections, pipeline = shape
    words = ["user:__rand_int__" if word is KEY else str(word) for word in case.call[0]]
    before = server.cpu_seconds()
    output = subprocess.run(
        ["redis-benchmark", "-p", str(server.port), "--dbnum", str(database), "--csv",
         "-c", str(connections), "-P", str(pipeline), "-n", str(calls), "-r", str(keys), *words],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout
    cpu = server.cpu_seconds() - before
    (row,) = [row for row in csv.DictReader(io.StringIO(output)) if row.get("rps")]
    return float(row["rps"]), cpu / calls


def measure(binary, libraries, setting, rounds):
    """{(case, connections, pipeline): (median calls a second, median CPU seconds a call)}."""
    samples = {}
    with Group(binary, libraries[OURS], setting) as ours, \
            Group(binary, libraries[CELL], setting) as cell:
        servers = {OURS: ours, CELL: cell}
        # A database for each case: they share the names of their keys.
        compared = list(enumerate(named(COMPARED, DEEP)))
        for database, case in compared:
            fill(servers[case.server], case, database)
        # Interleaved, so that other load of the machine affects every case alike.
        for _ in range(rounds):
            for shape in SHAPES[setting]:
                for database, case in compared:
                    at = (case.name, *shape)
                    if at not in samples:
                        rate, _ = run(servers[case.server], case, database, shape, 4_000)
                        samples[at] = [(rate, None)]
                    calls = max(2_000, int(samples[at][0][0] * SECONDS))
                    samples[at].append(run(servers[case.server], case, database, shape, calls))
        for database, case in compared:
            check(servers[case.server], case, database)
    return {at: medians(found[1:]) for at, found in samples.items()}


def medians(found):
    """The median of each column."""
    return tuple(statistics.median(column) for column in zip(*found))


def fill(server, case, database):
    connection = server.connect()
    connection.call("SELECT", database)
    connection.call("SCRIPT", "LOAD", SCRIPT)
    send(connection, case.prepare, range(KEYS), 100)
    connection.close()


def check(server, case, database):
    """Checks a reply, because redis-benchmark does not."""
    connection = server.connect()
    connection.call("SELECT", database)
    send(connection, case.call, range(100), 100, case.expected)
    connection.close()
