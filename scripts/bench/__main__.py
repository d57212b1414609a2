"""Measures the cost of a decision, here and in the alternatives. See scripts/bench.sh."""

import argparse
import collections
import concurrent.futures
import pathlib
import pickle
import platform
import shutil
import signal
import subprocess
import sys
import time

import bytes_used
import chart
import growth
import holds
import instructions
import latency
import leases
import load
import report
import rivals
from bars import MAIN
from cases import (BASE, CELL, CELL_ALLOWED, CELL_DENIED, DENIED, FIXED, FIXED_DENIED, FIXED_NEW,
                   FLOOR, LUA_ALLOWED, LUA_DENIED, LUA_FIXED, MOVES, NEW, NEW_BASE, OURS, PEEK,
                   SLIDING, TAKE, cases, named, window_cases)
from server import AOF, REPLICA, SETTINGS, STANDALONE, end_all

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "bench"
ROUNDS = 5
SERVERS = [MAIN, "redis-8.2", "valkey-9.1"]
# With persistence or replication, only the calls that these make dearer are worth the time.
WRITTEN = [BASE, NEW_BASE, TAKE, DENIED, MOVES, NEW, FIXED, FIXED_DENIED, FIXED_NEW, SLIDING,
           *(f"{name} of {keys}, allowed" for name in ("RL.MTAKE", "RL.ALL") for keys in (2, 8)),
           CELL_ALLOWED, CELL_DENIED, LUA_ALLOWED, LUA_DENIED, LUA_FIXED]


def servers(names):
    """{name: path} of these servers."""
    if names == [MAIN]:
        return {MAIN: shutil.which("redis-server")}
    lines = subprocess.run([ROOT / "scripts" / "servers.sh"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    found = dict(line.split(" ", 1) for line in lines)
    return {name: found[name] for name in names}


def count_instructions(found, libraries, results):
    """On two cores at a time: other load does not change a count of instructions."""
    pool = concurrent.futures.ThreadPoolExecutor(2)
    jobs = {}
    try:
        for name, binary in found.items():
            for setting in (STANDALONE, AOF, REPLICA):
                wanted = [*cases(), *window_cases()] if setting == STANDALONE else named(WRITTEN)
                profiles = TARGET / "profiles" / name / setting.replace(" ", "-")
                jobs[name, setting] = pool.submit(
                    instructions.measure, binary, libraries, wanted, setting, profiles)
        for (name, setting), job in jobs.items():
            results[name].setdefault("instructions", {})[setting] = job.result()
            say(f"instructions: {name}, {setting}")
    finally:
        pool.shutdown(cancel_futures=True)


def print_counts(word, binary, libraries, settings):
    """The cases with `word` in their names, in each setting, as ratios to SET."""
    wanted = [case for case in [*cases(), *window_cases()] if case.name == BASE or word in case.name]
    for setting in settings:
        profiles = TARGET / "profiles" / "count" / setting.replace(" ", "-")
        counts = instructions.measure(binary, libraries, wanted, setting, profiles)
        for name, count in counts.items():
            if count:
                print(f"{setting:12} {name:45} {count:8,.0f} {count / counts[BASE]:7.3f}", flush=True)


def measure_rest(found, libraries, results):
    for name, binary in found.items():
        parts = results[name]
        parts["load"] = {}
        for setting in (STANDALONE, AOF, REPLICA) if name == MAIN else (STANDALONE,):
            parts["load"][setting] = load.measure(binary, libraries, setting, ROUNDS)
            say(f"CPU: {name}, {setting}")
        parts["latency"] = latency.measure(binary, libraries)
        say(f"latency: {name}")
        parts["memory"] = bytes_used.memory(binary, libraries)
        parts["windows"] = bytes_used.windows(binary, libraries)
        parts["written"] = bytes_used.written(binary, libraries)
        say(f"bytes: {name}")


def measure_leases(binary, library, results):
    """Leases alone, and with an AOF or a replica."""
    results[MAIN]["leases"] = {setting: leases.measure(binary, library, setting)
                               for setting in (STANDALONE, AOF, REPLICA)}


def measure_holds(binary, library, settings, results):
    """Holds in these settings; walks and bytes alone."""
    counts = {}
    for setting in settings:
        counts[setting] = holds.measure(binary, library, setting)
        say(f"holds: {setting}")
    results[MAIN]["holds"] = {"instructions": counts, "walks": holds.walks(binary, library),
                              "memory": holds.memory(binary, library)}


def measure_windows(binary, libraries, results):
    """Only windows."""
    wanted = [*named([BASE, PEEK]), *window_cases()]
    counts = instructions.measure(binary, libraries, wanted, STANDALONE)
    results[MAIN]["instructions"] = {STANDALONE: counts}
    results[MAIN]["windows"] = bytes_used.windows(binary, libraries)


def merged(results):
    """The new measurements, and those of earlier runs that were not repeated."""
    path = TARGET / "results.pickle"
    known = pickle.loads(path.read_bytes()) if path.exists() else {}
    for server, parts in results.items():
        for part, figures in parts.items():
            of_server = known.setdefault(server, {})
            if part == "instructions":
                for setting, counts in figures.items():
                    of_server.setdefault(part, {}).setdefault(setting, {}).update(counts)
            else:
                of_server[part] = figures
    path.write_bytes(pickle.dumps(known))
    return known


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def about():
    """The machine and the versions of the measurement."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    return (f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {model}; "
            f"redis-cell {rivals.redis_cell_version(TARGET) or 'not built'}.")


def end(*_):
    """Ending this program ends its servers too."""
    end_all()
    sys.exit(1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true",
                           help="only instructions, only on the installed redis-server")
    arguments.add_argument("--windows", action="store_true",
                           help="only windows, only on the installed redis-server")
    arguments.add_argument("--leases", action="store_true",
                           help="only leases, only on the installed redis-server")
    arguments.add_argument("--holds", action="store_true",
                           help="only holds, only on the installed redis-server")
    arguments.add_argument("--count", metavar="WORD",
                           help="only instructions of the cases with this word in their names")
    arguments.add_argument("--server", default=MAIN, metavar="NAME",
                           help="with --count: the server, as scripts/servers.sh names it")
    arguments.add_argument("--setting", choices=SETTINGS, action="append",
                           help="with --count and --holds: only there (may be repeated)")
    arguments.add_argument("--seeds", type=int, default=len(instructions.SEEDS), metavar="N",
                           help="only the first N of three seeds of the server's tables")
    arguments.add_argument("--timed", action="store_true",
                           help="only what takes a quiet machine, and bytes")
    arguments.add_argument("--full", action="store_true",
                           help="also among ten million keys (7 GB of memory, 10 minutes more)")
    options = arguments.parse_args()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, end)

    TARGET.mkdir(parents=True, exist_ok=True)
    libraries = {OURS: f"{ROOT}/target/release/libredis_rl.so CL.THROTTLE"}
    del instructions.SEEDS[options.seeds:]
    if options.count is not None:
        libraries |= {CELL: rivals.redis_cell(TARGET), FLOOR: rivals.floor(TARGET)}
        binary = servers([options.server])[options.server]
        print_counts(options.count, binary, libraries, options.setting or SETTINGS)
        return
    installed = shutil.which("redis-server")
    results = collections.defaultdict(dict)
    if options.holds:
        measure_holds(installed, libraries[OURS], options.setting or SETTINGS, results)
    elif options.windows:
        measure_windows(installed, libraries, results)
    elif options.leases:
        measure_leases(installed, libraries[OURS], results)
    else:
        libraries |= {CELL: rivals.redis_cell(TARGET), FLOOR: rivals.floor(TARGET)}
        found = servers([MAIN] if options.quick else SERVERS)
        if not options.timed:
            count_instructions(found, libraries, results)
        if not options.quick and not options.timed:
            measure_leases(found[MAIN], libraries[OURS], results)
            measure_holds(found[MAIN], libraries[OURS], [STANDALONE], results)
        if not options.quick:
            measure_rest(found, libraries, results)
        if options.full:
            results[MAIN]["growth"] = growth.measure(found[MAIN], libraries)

    text = report.render(results, about())
    (TARGET / "report.md").write_text(text, encoding="utf-8")
    for name, picture in chart.charts(merged(results)).items():
        (TARGET / f"{name}.svg").write_text(picture, encoding="utf-8")
    print(text)
    say(f"written to {TARGET.relative_to(ROOT)}: report.md and the charts")


if __name__ == "__main__":
    main()
