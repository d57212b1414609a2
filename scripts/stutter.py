#!/usr/bin/env python3
"""Runs a command and, until it ends, stops one of its processes after the other for up to 1.5 s, as a
busy machine does. A test that depends on time fails then. By hand, two minutes for each server:

    cargo test -p redis-rl-tests --test server --no-run
    scripts/stutter.py cargo test -p redis-rl-tests --test server -- --test-threads 8

A process that a test stops itself may be continued too early; such a test fails sometimes.
REDIS_RL_STUTTER_SEED repeats the order of the pauses, though not the moments at which they come.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

# How many processes are stopped at once, at most.
STOPPED = 3
PAUSES = [0.002, 0.01, 0.05, 0.2, 0.5, 1.5]
# All tests run in one process, which must have time to go on.
LONGEST_OF_COMMAND = 0.2


def running(root):
    """Returns the processes below `root` that nobody has stopped."""
    children = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may contain anything.
            stat = Path("/proc", pid, "stat").read_text()
            state, parent = stat.rpartition(")")[2].split()[:2]
            children.setdefault(int(parent), []).append((int(pid), state))
    found, todo = [], [root]
    while todo:
        for pid, state in children.get(todo.pop(), []):
            todo.append(pid)
            if state not in "TZ":
                found.append(pid)
    return found


def stop_one_after_the_other(command, dice):
    while command.poll() is None:
        time.sleep(dice.uniform(0, 0.03))
        pid = dice.choice([command.pid, *running(command.pid)])
        pause = dice.choice(PAUSES)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(min(pause, LONGEST_OF_COMMAND) if pid == command.pid else pause)
            os.kill(pid, signal.SIGCONT)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    seed = int(os.environ.get("REDIS_RL_STUTTER_SEED", time.time_ns()))
    print(f"REDIS_RL_STUTTER_SEED={seed}", flush=True)
    command = subprocess.Popen(sys.argv[1:])
    for n in range(STOPPED):
        arguments = (command, random.Random(seed + n))
        threading.Thread(target=stop_one_after_the_other, args=arguments, daemon=True).start()
    sys.exit(command.wait())


if __name__ == "__main__":
    main()
