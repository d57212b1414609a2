#!/usr/bin/env python3
"""Fails if code that the server calls in the built module can reach a panic.

Follows every call, jump and address taken, from the module's entry points, in the machine code
of target/release/libredis_rl.so (x86-64, with objdump and readelf). What it cannot follow are
calls through a pointer that was stored before; functions of ours that such a pointer may lead to
count as entry points. Let through is what only a panic that is under way can reach: the guards at
the border to the server, and a lock's question whether there is one. Running out of memory stops
the process, as it does in the server itself. The standard library's BTreeMap checks its own
invariants; with keys whose order is total, as numbers and bytes have, none of its checks can
fail. Nor can that of an Arc, that the length of the bytes it copies is one that memory can have.
"""

import collections
import pathlib
import re
import subprocess
import sys

LIBRARY = pathlib.Path(__file__).parent.parent / "target/release/libredis_rl.so"
# The entry points that the server calls, and those that formatting calls back.
ENTRY = re.compile(
    r"command::entry|replication_needed::forget|settings::([gs]et|apply)|info::write|RedisModule_On"
    r"|blocking::on_|timer::on_|hooks::on_|hash::.*::show|waiting::ends::(answer|interrupt|lost)"
    r"|waiting::tick::(tick|swept|apply_most)"
    r"|<redis_rl\S* as core::fmt::"
)
PANIC = re.compile(r"panic|unwrap_failed|expect_failed|slice_.*_fail|index_fail|option::.*fail")
# Files of the standard library in which a panic is let through.
TRUSTED = re.compile(rb"/alloc/src/(?:collections/btree/|sync\.rs)")
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


def sources(at):
    """Returns the addresses of the panic locations (a file's name, line and column) in TRUSTED."""
    content = LIBRARY.read_bytes()
    loads = re.findall(
        r"^\s+LOAD\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+\S+\s+0x([0-9a-f]+)",
        output("readelf", "--segments", "--wide", LIBRARY),
        re.M,
    )
    loads = [tuple(int(number, 16) for number in load) for load in loads]

    def read(address, size):
        for offset, start, length in loads:
            if start <= address < start + length:
                return content[offset + address - start :][:size]
        return b""

    def file(location):
        return read(at[location], int.from_bytes(read(location + 8, 8), "little"))

    return {location for location in at if TRUSTED.search(file(location))}


def call_graph():
    """Returns the functions' names, and the possible targets of each."""
    names, goes_to, at = {}, collections.defaultdict(set), pointers()
    trusted, arguments = sources(at), collections.deque(maxlen=3)
    function = None
    for line in output("objdump", "-d", "-C", "--no-show-raw-insn", LIBRARY).splitlines():
        if head := re.match(r"([0-9a-f]+) <(.*)>:", line):
            function = int(head[1], 16)
            names[function] = head[2]
        elif pointer := re.search(r"\b(?:call|j[a-z]+|lea|mov)\s.*# ([0-9a-f]+)", line):
            address = int(pointer[1], 16)
            if re.search(r"\blea\b", line):
                arguments.append(address)
            goes_to[function].add((at.get(address, address), not trusted.isdisjoint(arguments)))
        elif direct := re.search(r"\b(?:call|j[a-z]+)\s+([0-9a-f]+) <", line):
            goes_to[function].add((int(direct[1], 16), not trusted.isdisjoint(arguments)))
        if re.search(r"\bcall\b", line):
            arguments.clear()
    # A function that panics gets its location as an argument, just before it is called.
    for function, targets in goes_to.items():
        goes_to[function] = {
            target
            for target, is_trusted in targets
            if not (is_trusted and PANIC.search(names.get(target, "")))
        }
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
