"""Measures how many decisions a cluster of one, two and three masters makes in a second.

python3 scripts/bench/cluster.py [path of the server]

One redis-benchmark spreads its load over all slots. The masters and their client share the cores
of one machine. Therefore the CPU time of the masters per decision is printed next to the decisions per
second: it stays the same, so with a core for each master the decisions grow with the number of masters.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

from resp import wait_until
from server import Server, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = ROOT / "target" / "release" / "libredis_rl.so"
SLOTS = 16384
CALLS = 600_000
ROUNDS = 3
TAKE = ["RL.TAKE", "k:{tag}:__rand_int__", "1000", "1000"]


def ask(server, *words):
    connection = server.connect()
    try:
        return connection.call(*words)
    finally:
        connection.close()


def knows(server, others):
    about = ask(server, "CLUSTER", "INFO").decode()
    return "cluster_state:ok" in about and f"cluster_known_nodes:{others}\r" in about


def join(masters, first_bus):
    """Gives each its share of the slots, and makes them one cluster."""
    for n, master in enumerate(masters):
        slots = range(n * SLOTS // len(masters), (n + 1) * SLOTS // len(masters))
        ask(master, "CLUSTER", "ADDSLOTS", *slots)
        ask(master, "CLUSTER", "MEET", "127.0.0.1", masters[0].port, first_bus)
    for master in masters:
        wait_until(lambda: knows(master, len(masters)), "the cluster is up")


def decisions_a_second(masters):
    """Decisions a second, and microseconds of the masters' processors for each."""
    before = sum(master.cpu_seconds() for master in masters)
    run = subprocess.run(
        ["redis-benchmark", "-p", str(masters[0].port), "-c", "60", "-P", "16",
         "-n", str(CALLS), "-r", "20000", "-q",
         # It refuses to treat a single node as a cluster.
         *(["--cluster"] if len(masters) > 1 else []), *TAKE],
        check=True, capture_output=True, text=True)
    rates = re.findall(r"([0-9.]+) requests per second", run.stdout)
    used = sum(master.cpu_seconds() for master in masters) - before
    return float(rates[-1]), used / CALLS * 1e6


def measure(binary, count):
    with contextlib.ExitStack() as running:
        # A node's port may be one above which there is no room for the usual bus port.
        buses = [free_port() for _ in range(count)]
        masters = [
            running.enter_context(
                Server(binary, [MODULE], f"cluster-enabled yes\ncluster-port {bus}"))
            for bus in buses
        ]
        join(masters, buses[0])
        return max(decisions_a_second(masters) for _ in range(ROUNDS))


binary = sys.argv[1] if len(sys.argv) > 1 else "redis-server"
print(f"{os.cpu_count()} cores, the best of {ROUNDS} runs of {CALLS} calls")
for count in (1, 2, 3):
    rate, cost = measure(binary, count)
    print(f"{count} masters: {rate:,.0f} decisions a second, {cost:.2f} µs of their CPU for each")
