#!/usr/bin/env python3
"""Fails if modules of src depend on each other in a circle, or on a folder above their own, or if
one is missing from the tree in src/README.md.

A module depends on each module that its code names by a path (`super::x`, `crate::x`,
`redis_rl_limits::x`, or `x` for a file of its own folder). A mod.rs does not depend on what it
only declares.
"""

import pathlib
import re
import sys

SRC = pathlib.Path(__file__).parent.parent / "src"
# Each may depend on those further to the right.
FLOORS = ["lib", "commands", "stats", "limits", "server", "ground"]
# What knows nothing of limits, although it is in their package.
GROUND = [("limits", "keys"), ("limits", "bounds")]
# Folders whose files the tree names. Of the others it names the folder.
NAMED = [(), ("commands",), ("limits",), ("limits", "kinds"), ("limits", "grammar"), ("server",)]
PATH = re.compile(r"(?<![$\w])(?:crate|super|redis_rl_limits)(?:::(?:\w+|\{[^;]*?\}))+")


def name(file):
    """`src/commands/bucket/mod.rs` is commands::bucket, `src/limits/lib.rs` is limits."""
    parts = file.relative_to(SRC).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") and len(parts) > 1 else parts


def floor(module):
    return FLOORS.index("ground" if module[:2] in GROUND else module[0])


def expand(path):
    """`a::{b, c::d}` is a::b and a::c::d."""
    if "{" not in path:
        return [path.split("::")]
    head, tail = path.split("{", 1)
    words, depth, word = [], 0, ""
    for letter in tail[: tail.rindex("}")]:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            words.append(word)
            word = ""
        else:
            word += letter
    return [path for w in words + [word] if w.strip() for path in expand(head + w.strip())]


def dependencies(file, modules):
    module, code = name(file), re.sub(r"//.*|pub\(in [^)]*\)", "", file.read_text())
    for word in re.findall(r"(?<![:\w])(\w+)::", code):
        if (*module, word) in modules:
            yield (*module, word)
    for path in PATH.finditer(code):
        for first, *rest in expand(re.sub(r"\s+", "", path[0])):
            if first == "redis_rl_limits":
                target = ("limits", *rest)
            elif first == "super":
                above = module[:-1]
                while rest and rest[0] == "super":
                    above, rest = above[:-1], rest[1:]
                target = (*above, *rest)
            else:
                target = ("limits", *rest) if module[0] == "limits" else tuple(rest)
            while target and target not in modules:
                target = target[:-1]
            if target and target != module:
                yield target


def missing_from_tree(modules):
    """Modules, or their folders, that the tree at the beginning of src/README.md does not name."""
    tree = (SRC / "README.md").read_text().split("Dependencies point", 1)[0]
    named = set(re.findall(r"\w+", tree))
    for module in modules:
        while module[:-1] not in NAMED:
            module = module[:-1]
        if module[-1] not in named:
            yield "::".join(module)


def main():
    files = {name(file): file for file in SRC.rglob("*.rs")}
    arrows = {module: set(dependencies(file, files)) for module, file in files.items()}
    faults = []
    for module, targets in arrows.items():
        for target in targets:
            if floor(target) < floor(module):
                faults.append(f"{'::'.join(module)} -> {'::'.join(target)} goes up")
    state = {}

    def walk(module, way):
        if state.get(module) == "done":
            return
        if module in way:
            circle = way[way.index(module) :] + [module]
            faults.append("a circle: " + " -> ".join("::".join(m) for m in circle))
            return
        for target in sorted(arrows[module]):
            walk(target, way + [module])
        state[module] = "done"

    for module in sorted(arrows):
        walk(module, [])
    faults += [f"{m} is missing from src/README.md" for m in sorted(set(missing_from_tree(files)))]
    for fault in faults:
        print("arrows:", fault)
    count = sum(map(len, arrows.values()))
    print(f"arrows: {len(arrows)} modules, {count} dependencies, {len(faults)} wrong")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
