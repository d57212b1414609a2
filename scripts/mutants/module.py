"""Changes the module (src without src/limits) in one place at a time and has the server tests look
at each change. All changes are compiled into one library, in which an environment variable turns
one of them on. Each change is shown to the tests that reach it, until one fails, and then to the
fuzzer. A change that was judged before is skipped, so a stopped run can be resumed.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "target/mutants"
TREE = FOLDER / "module"
LEFT_OUT = FOLDER / "left_out"
LIBRARY = TREE / "target/debug/libredis_rl.so"
# Tests that take minutes, or do not concern calls.
SLOW = re.compile("pressure|failover|_kill|^clients|upgrade|cluster|^redis_cell|all_reshard|docs::|random")
# A test that takes longer than this is not used.
LONGEST = 30
# A test that takes longer than this, and than five times its usual time, hangs.
PATIENCE = 15
# The files that are judged first.
FIRST = ["commands/several", "commands/lease/waiting", "commands/lease", "server/blocking", "server/timer", "server/hooks",
         "server/replication", "server/kept", "server/hash", "server/sorted_set", "server/memory", "server/writable",
         "server/key", "server/member", "commands", "stats", "server"]


def run(*command, **options):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, **options)


def generate():
    tool = FOLDER / "generate/release/generate"
    run("cargo", "build", "-q", "--release", "--locked", "--manifest-path", ROOT / "scripts/mutants/Cargo.toml",
        "--target-dir", tool.parents[1], check=True)
    return json.loads(run(tool, ROOT / "src", TREE / "src", LEFT_OUT, check=True).stdout)


def blame(message, changes):
    """Returns the changes that may have caused this error of rustc."""
    spans = [span for part in [message, *message["children"]] for span in part["spans"]]
    spans.sort(key=lambda span: not span["is_primary"])
    for within in ("code", "whole"):
        for span in spans:
            start, end = span["byte_start"], span["byte_end"]
            around = [change for change in changes[span["file_name"]]
                      if change[within][0] <= start and end <= change[within][1]]
            if around:
                size = min(change[within][1] - change[within][0] for change in around)
                return {change["number"] for change in around if change[within][1] - change[within][0] == size}
    # Every change between the places that the error mentions.
    name = spans[0]["file_name"]
    start = min(span["byte_start"] for span in spans if span["file_name"] == name)
    end = max(span["byte_end"] for span in spans if span["file_name"] == name)
    return {change["number"] for change in changes[name] if start <= change["code"][0] and change["code"][1] <= end}


def build():
    """Builds the library with all changes that compile, and returns these."""
    for name in run("git", "ls-files", cwd=ROOT, check=True).stdout.splitlines():
        (TREE / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, TREE / name)
    shutil.copyfile(ROOT / "scripts/mutants/switch.rs", TREE / "src/mutant.rs")
    LEFT_OUT.write_text("")
    environment = {**os.environ, "RUSTFLAGS": "--cap-lints allow", "CARGO_TARGET_DIR": TREE / "target"}
    while True:
        changes = generate()
        by_file = collections.defaultdict(list)
        for change in changes:
            by_file[change["name"].split(":")[0]].append(change)
        # The last step also finds the errors of generated code.
        for step in ("check", "build"):
            out = run("cargo", step, "-q", "-p", "redis-rl", "--message-format", "json", "--config",
                      "profile.dev.package.redis-rl.opt-level=1", cwd=TREE, env=environment).stdout
            errors = [line["message"] for line in map(json.loads, out.splitlines())
                      if line["reason"] == "compiler-message" and line["message"]["level"] == "error"]
            if errors:
                break
        if not errors:
            return changes
        wrong = set().union(*(blame(error, by_file) for error in errors))
        print(f"{len(changes)} changes, {len(errors)} errors, {len(wrong)} changes left out", flush=True)
        if not wrong:
            sys.exit("\n".join(error["rendered"] for error in errors))
        with LEFT_OUT.open("a") as file:
            file.write("".join(f"{number}\n" for number in wrong))


def test_program(name):
    out = run("cargo", "test", "-p", "redis-rl-tests", "--test", name, "--no-run", "--message-format", "json",
              cwd=ROOT, check=True).stdout
    lines = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    program = next(line["executable"] for line in lines if line.get("executable") and line["target"]["name"] == name)
    return shutil.copy(program, FOLDER / name)  # Tests may be written meanwhile.


def watch(command, environment, patience):
    """Runs tests until one fails (its name), hangs ("hang") or all have passed (None)."""
    process = subprocess.Popen(command, cwd=ROOT / "tests", bufsize=0, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True,
                               env={**os.environ, "REDIS_RL_MODULE": str(LIBRARY), **environment})
    try:
        while True:
            if not select.select([process.stdout], [], [], patience)[0]:
                return "hang"
            line = process.stdout.readline()
            if not line:
                return None if process.wait() == 0 else "end"
            if line.startswith(b"test ") and line.rstrip().endswith(b"FAILED"):
                return line.split()[1].decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for folder in (ROOT / "target/tmp").glob(f"*-{process.pid}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def reached(program, changes, jobs):
    """Runs each test alone. Returns the seconds of each that passes, and the tests by what they reach."""
    size = max(change["number"] for change in changes) + 1
    names = [line[:-len(": test")] for line in run(program, "--list", check=True).stdout.splitlines()
             if line.endswith(": test") and not SLOW.search(line)]
    seconds, reaching = {}, collections.defaultdict(list)

    def look(name):
        file = FOLDER / f"reached-{threading.get_ident()}"
        file.write_bytes(bytes(size))
        began = time.monotonic()
        failed = watch([program, "--exact", name], {"REDIS_RL_MUTANT_REACHED": str(file)}, 120)
        return name, failed, time.monotonic() - began, file.read_bytes()

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for name, failed, taken, reached in pool.map(look, names):
            if failed or taken > LONGEST:
                print(f"not used: {name} ({failed or 'passed'} after {taken:.0f} s)", flush=True)
                continue
            seconds[name] = taken
            for number, mark in enumerate(reached):
                if mark:
                    reaching[number].append(name)
    return seconds, reaching


class Judge:
    def __init__(self, options, changes):
        self.options = options
        self.programs = {name: test_program(name) for name in ("server", "fuzz")}
        begun = time.monotonic()
        self.seconds, self.reaching = reached(self.programs["server"], changes, options.jobs + 1)
        print(f"{len(self.seconds)} tests reach {len(self.reaching)} of {len(changes)} changes, "
              f"{time.monotonic() - begun:.0f} s", flush=True)
        self.noticed = collections.defaultdict(collections.Counter)  # by function: the tests that failed

    def judge(self, change):
        place, function, _ = change["name"].split(": ", 2)
        function = (place.split(":")[0], function)
        on = {"REDIS_RL_MUTANT": str(change["number"])}
        tests = self.reaching.get(change["number"], [])
        if not tests:
            return "not reached"
        tests = sorted(tests, key=lambda name: (-self.noticed[function][name], self.seconds[name]))
        done, size = 0, 4
        while done < len(tests):
            batch = tests[done:done + size]
            patience = PATIENCE + 5 * max(self.seconds[name] for name in batch)
            failed = watch([self.programs["server"], "--test-threads", "4", "--exact", *batch], on, patience)
            if failed:
                self.noticed[function][failed] += 1
                return "hang" if failed == "hang" else f"caught by {failed}"
            done, size = done + size, 40
        return f"missed by {len(tests)} tests"

    def fuzz(self, change):
        settings = {"REDIS_RL_MUTANT": str(change["number"]), "REDIS_RL_FUZZ_CALLS": str(self.options.fuzz)}
        failed = watch([self.programs["fuzz"]], settings, 180)
        return "caught by the fuzzer" if failed else "missed by the tests and the fuzzer"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--fuzz", type=int, default=20_000, metavar="CALLS", help="0: not with the fuzzer")
    arguments.add_argument("--seen", default="module.jsonl", help="the file of verdicts, in target/mutants")
    arguments.add_argument("files", nargs="*", help="parts of the names of files, instead of all")
    options = arguments.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    seen_file = FOLDER / options.seen
    seen = {}
    if seen_file.exists():
        seen = {line["name"]: line["verdict"] for line in map(json.loads, seen_file.read_text().splitlines())}
    changes = build()
    judge = Judge(options, changes)
    wanted = [change for change in changes if not options.files or any(part in change["name"] for part in options.files)]
    order = [*options.files, *FIRST, ""]
    wanted.sort(key=lambda change: next(n for n, part in enumerate(order) if part in change["name"]))

    def look(judge, change):
        began = time.monotonic()
        verdict = judge(change)
        seen[change["name"]] = verdict
        with seen_file.open("a") as file:
            file.write(json.dumps({"name": change["name"], "verdict": verdict}) + "\n")
        print(f"{verdict}: {change['name']} ({time.monotonic() - began:.0f} s)", flush=True)

    def look_at(judge, todo):
        print(f"{len(todo)} to judge", flush=True)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            collections.deque(pool.map(lambda change: look(judge, change), todo), maxlen=0)

    look_at(judge.judge, [change for change in wanted if change["name"] not in seen])
    if options.fuzz:
        missed = re.compile(r"not reached|missed by \d")
        look_at(judge.fuzz, [change for change in wanted if missed.match(seen[change["name"]])])
    kinds = collections.Counter(re.match("missed|not reached|hang|caught( by the fuzzer)?", seen[change["name"]])[0]
                                for change in wanted)
    print(dict(kinds))
    sys.exit(any(kind in kinds for kind in ("missed", "not reached")))


if __name__ == "__main__":
    main()
