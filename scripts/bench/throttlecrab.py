"""RL.TAKE compared with throttlecrab-server's THROTTLE: CPU time per call, and calls a second.

Each server has core 0, and redis-benchmark core 1. Run it with scripts/bench.sh --throttlecrab.
"""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "target" / "bench" / "throttlecrab"
VERSION = "0.4.40"
CALLS, ROUNDS = 100_000, 3
# As `RL.TAKE key 100/h 200`, and one whose bucket is empty.
SHAPES = [(50, 16), (50, 1), (500, 1)]


def install():
    """The server of crates.io; its build needs protoc."""
    binary = TOOL / "bin" / "throttlecrab-server"
    if not binary.exists():
        if not shutil.which("protoc"):
            subprocess.run(["apt-get", "install", "-y", "-qq", "protobuf-compiler"], check=True,
                           stdout=subprocess.DEVNULL)
        subprocess.run(["cargo", "install", "--quiet", "--version", VERSION, "--root", TOOL,
                        "throttlecrab-server"], check=True)
    return binary


def seconds(pid):
    """User and system time of a process, all of its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port, connections, depth, words):
    """Calls a second."""
    out = subprocess.run(
        ["taskset", "-c", "1", "redis-benchmark", "-p", str(port), "-n", str(CALLS), "-c", str(connections),
         "-P", str(depth), "-r", "10000", "-q", *words],
        check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return float(re.search(r"([\d.]+) requests per second", out).group(1))


def main():
    binary = install()
    ours, theirs = 7391, 7392
    folder = tempfile.mkdtemp(prefix="rl-bench-")
    pinned = ("taskset", "-c", "0")
    servers = [
        subprocess.Popen([*pinned, "redis-server", "--port", str(ours), "--save", "", "--dir", folder,
                          "--loadmodule", str(ROOT / "target/release/libredis_rl.so")],
                         stdout=subprocess.DEVNULL),
        subprocess.Popen([*pinned, binary, "--redis", "--redis-port", str(theirs), "--log-level", "error"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
    ]
    try:
        time.sleep(1)
        cases = [
            ("SET key v PX ms", ours, servers[0], ["SET", "s:__rand_int__", "v", "PX", "60000"]),
            ("RL.TAKE", ours, servers[0], ["RL.TAKE", "user:__rand_int__", "100/h", "200"]),
            ("RL.TAKE, denied", ours, servers[0], ["RL.TAKE", "d:__rand_int__", "1/d", "1"]),
            ("throttlecrab", theirs, servers[1], ["THROTTLE", "user:__rand_int__", "200", "100", "3600"]),
            ("throttlecrab, denied", theirs, servers[1], ["THROTTLE", "d:__rand_int__", "1", "1", "86400"]),
        ]
        print("| call | " + " | ".join(f"{c} conn., {d} in a write" for c, d in SHAPES) + " |")
        print("|---|" + "--:|" * len(SHAPES))
        found = {}
        for _ in range(ROUNDS):
            for connections, depth in SHAPES:
                for name, port, server, words in cases:
                    before = seconds(server.pid)
                    rate = load(port, connections, depth, words)
                    spent = (seconds(server.pid) - before) / CALLS * 1e6
                    found.setdefault((name, connections, depth), []).append((spent, rate))
        for name, *_ in cases:
            cells = []
            for shape in SHAPES:
                spent = statistics.median(spent for spent, _ in found[(name, *shape)])
                rate = statistics.median(rate for _, rate in found[(name, *shape)])
                cells.append(f"{spent:.2f} µs · {rate / 1000:.0f}")
            print(f"| {name} | " + " | ".join(cells) + " |")
    finally:
        for server in servers:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
