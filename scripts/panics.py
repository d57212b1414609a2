#!/usr/bin/env python3
"""Fails if code that the server calls in the built module can reach a panic.

Follows every call, jump and address taken, from the module's entry points, in the machine code
of target/release/libredis_rl.so (x86-64, with objdump and readelf). What it cannot follow are
calls through a pointer that was stored before; functions of ours that such a pointer may lead to
count as entry points. Let through is what only a panic that is under way can reach: the guards at
the border to the server, and a lock's question whether there is one. Running out of memory stops
the process, as it does in the server itself.
"""

import collections
import pathlib
import re
import subprocess
import sys

LIBRARY = pathlib.Path(__file__).parent.parent / "target/release/libredis_rl.so"
# The entry points that the server calls, and those that formatting calls back.
ENTRY = re.compile(
    r"command::entry|replication_needed::forget|settings::[gs]et|info::write|RedisModule_On"
    r"|<redis_rl\S* as core::fmt::"
)
PANIC = re.compile(r"panic|unwrap_failed|expect_failed|slice_.*_fail|index_fail|option::.*fail")
HARMLESS = re.compile(
    r"panic_cannot_unwind|panic_in_cleanup|panic_count|alloc::raw_vec::handle_error"
    r"|handle_alloc_error"
)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def pointers():
    """Returns {address of a pointer: its target} for relocated pointers."""
    lines = output("readelf", "--relocs", "--wide", LIBRARY)
    found = re.findall(r"^([0-9a-f]+)\s+\S+\s+R_X86_64_RELATIVE\s+([0-9a-f]+)", lines, re.M)
    return {int(at, 16): int(to, 16) for at, to in found}


def call_graph():
    """Returns the functions' names, and the possible targets of each."""
    names, goes_to, at = {}, collections.defaultdict(set), pointers()
    function = None
    for line in output("objdump", "-d", "-C", "--no-show-raw-insn", LIBRARY).splitlines():
        if head := re.match(r"([0-9a-f]+) <(.*)>:", line):
            function = int(head[1], 16)
            names[function] = head[2]
        elif pointer := re.search(r"\b(?:call|j[a-z]+|lea|mov)\s.*# ([0-9a-f]+)", line):
            address = int(pointer[1], 16)
            goes_to[function].add(at.get(address, address))
        elif direct := re.search(r"\b(?:call|j[a-z]+)\s+([0-9a-f]+) <", line):
            goes_to[function].add(int(direct[1], 16))
    return names, goes_to


def main():
    names, goes_to = call_graph()
    paths = {a: [name] for a, name in names.items() if ENTRY.search(name)}
    if len(paths) < 8:
        sys.exit(f"panics: found only {len(paths)} entry points, so this check is out of date")
    todo, panics = list(paths), []
    while todo:
        function = todo.pop()
        for callee in goes_to[function] & names.keys() - paths.keys():
            paths[callee] = paths[function] + [names[callee]]
            if HARMLESS.search(names[callee]):
                continue
            if PANIC.search(names[callee]):
                panics.append(paths[callee])
            else:
                todo.append(callee)
    for path in panics:
        print("panics: reachable:", "\n    -> ".join(path))
    print(f"panics: {len(paths)} functions can be reached, {len(panics)} of them panic")
    sys.exit(bool(panics))


if __name__ == "__main__":
    main()
