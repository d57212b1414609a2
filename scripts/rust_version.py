#!/usr/bin/env python3
"""Fails unless the Rust version in Cargo.toml is enough for every crate that the module
is built from, by what those crates say of themselves."""

import json
import subprocess
import sys


def version(package):
    numbers = [int(n) for n in (package["rust_version"] or "0").split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def main():
    metadata = json.loads(subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked"],
        check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    ours = next(p for p in packages.values() if p["name"] == "redis-rl" and p["source"] is None)
    found, todo = set(), [ours["id"]]
    while todo:
        here = todo.pop()
        if here in found:
            continue
        found.add(here)
        # A build dependency is compiled with the same Rust; a test dependency is not built by
        # users.
        todo += [dep["pkg"] for dep in nodes[here]["deps"]
                 if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
    newest = max((packages[name] for name in found), key=version)
    print(f"rust-version: {ours['rust_version']} is promised; of {len(found)} crates "
          f"{newest['name']} asks for the most, {newest['rust_version']}")
    sys.exit(version(newest) > version(ours))


if __name__ == "__main__":
    main()
