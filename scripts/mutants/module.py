"""Breaks the module (src/commands, src/server, src/stats.rs) in every way that cargo-mutants knows,
one at a time, and has the quick server tests look at each. A mutant is seen if a test fails; what
was looked at before is left out, so it can be stopped and goes on.
"""

import argparse
import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "target/mutants"
SEEN = FOLDER / "module.jsonl"
CARGO_MUTANTS = ROOT / "target/mutants-tool/bin/cargo-mutants"
# Without a finished test for this time, the server hangs.
SILENCE = 60
# The tests to run first, if the file's own name is not part of their names.
FIRST = {
    "all": ["all"], "mixed": ["all"], "several": ["all", "mtake"], "spec": ["all"], "on_string": ["all", "mtake"],
    "on_set": ["all"], "lease_set": ["lease"], "lease_look": ["lease"], "leases": ["lease"], "acquire": ["lease"],
    "renew": ["lease"], "release": ["lease"], "ranks": ["lease"], "scores": ["lease"], "sorted_set": ["lease"],
    "member": ["lease"], "limited": ["take", "give", "peek"], "stats": ["counts"], "info": ["counts"],
    "usage": ["peek", "traces"], "expiries": ["scripts", "effects"], "readers": ["effects"],
    "replication": ["effects", "replication"], "settings": ["top", "load"], "few": ["mtake", "all"],
    "replies": ["mtake", "all"], "window": ["wtake", "docs"], "description": ["docs", "acl"],
}
# Tests that take minutes, or do not concern calls.
SLOW = ["pressure", "failover", "lease_kill", "clients", "upgrade", "cluster", "redis_cell", "all_reshard"]


def mutants(flags):
    out = subprocess.run([CARGO_MUTANTS, "mutants", "--list", "--json", "--diff", "--package", "redis-rl", *flags],
                         cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)


def test_program():
    """Builds the server tests once: REDIS_RL_MODULE names the library they load."""
    out = subprocess.run(["cargo", "test", "-p", "redis-rl-tests", "--test", "server", "--no-run",
                          "--message-format", "json"], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout
    lines = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    return next(line["executable"] for line in lines
                if line.get("executable") and line["target"]["name"] == "server")


class Tree:
    """A copy of the sources to mutate."""

    def __init__(self, number):
        self.root = FOLDER / f"module-{number}"
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split("\n")
        for name in filter(None, files):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, self.root / name)
        if not self.build():
            sys.exit("the sources do not build as they are")

    def build(self):
        return subprocess.run(["cargo", "build", "-q", "-p", "redis-rl"], cwd=self.root, stderr=subprocess.DEVNULL,
                              env={**os.environ, "CARGO_TARGET_DIR": str(self.root / "target")}).returncode == 0

    def judge(self, mutant, program):
        """unviable, caught by which test, timeout or missed."""
        file = self.root / mutant["file"]
        good = file.read_bytes()
        try:
            subprocess.run(["patch", "-s", file], input=mutant["diff"], text=True, check=True)
            if not self.build():
                return "unviable"
            stem = file.stem
            stages = [[*FIRST.get(stem, [stem])], [word for name in SLOW for word in ("--skip", name)]]
            return next((verdict for stage in stages if (verdict := self.run(program, stage))), "missed")
        finally:
            file.write_bytes(good)

    def run(self, program, stage):
        """The first test that fails, if one does."""
        library = self.root / "target/debug/libredis_rl.so"
        process = subprocess.Popen([program, "--test-threads", "6", *stage], cwd=ROOT / "tests", bufsize=0,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, "REDIS_RL_MODULE": str(library)})
        try:
            while True:
                if not select.select([process.stdout], [], [], SILENCE)[0]:
                    return "timeout"
                line = process.stdout.readline()
                if not line:
                    return None if process.wait() == 0 else "caught"
                if line.startswith(b"test ") and line.rstrip().endswith(b"FAILED"):
                    return f"caught by {line.split()[1].decode()}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=1)
    options, flags = arguments.parse_known_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    seen = {}
    if SEEN.exists():
        seen = {line["name"]: line["verdict"] for line in map(json.loads, SEEN.read_text().splitlines())}
    program = test_program()
    todo = [mutant for mutant in mutants(flags) if mutant["name"] not in seen]
    print(f"{len(todo)} to look at, {len(seen)} looked at before", flush=True)
    lock = threading.Lock()

    def work(number):
        tree = Tree(number)
        while True:
            with lock:
                if not todo:
                    return
                mutant = todo.pop(0)
            began = time.monotonic()
            verdict = tree.judge(mutant, program)
            with lock:
                seen[mutant["name"]] = verdict
                with SEEN.open("a") as file:
                    file.write(json.dumps({"name": mutant["name"], "verdict": verdict}) + "\n")
                print(f"{verdict}: {mutant['name']} ({time.monotonic() - began:.0f} s)", flush=True)
    workers = [threading.Thread(target=work, args=[n]) for n in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    kinds = [verdict.split()[0] for verdict in seen.values()]
    print({kind: kinds.count(kind) for kind in sorted(set(kinds))})
    sys.exit("missed" in kinds)


if __name__ == "__main__":
    main()
