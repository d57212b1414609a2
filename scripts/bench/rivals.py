"""Builds the alternatives under target/bench."""

import pathlib
import shutil
import subprocess

CARGO = """\
[package]
name = "fetch-redis-cell"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[dependencies]
redis-cell = "0.2"
[workspace]
"""


def redis_cell(target):
    """The path of redis-cell's library, built from the newest release on crates.io."""
    built = target / "redis-cell" / "release" / "libredis_cell.so"
    if built.exists():
        return built
    fetch = target / "fetch-redis-cell"
    fetch.mkdir(parents=True, exist_ok=True)
    (fetch / "Cargo.toml").write_text(CARGO, encoding="utf-8")
    (fetch / "lib.rs").touch()
    # It builds only as a package of its own: as a dependency it gives no library to load.
    subprocess.run(["cargo", "vendor", "--quiet", "vendor"], cwd=fetch, check=True,
                   stdout=subprocess.DEVNULL)
    source = target / "redis-cell-source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(fetch / "vendor" / "redis-cell", source)
    manifest = source / "Cargo.toml"
    manifest.write_text(manifest.read_text() + "\n[workspace]\n", encoding="utf-8")
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "--manifest-path", str(manifest),
         "--target-dir", str(target / "redis-cell")],
        check=True, stderr=subprocess.DEVNULL,
    )
    return built


def floor(target):
    """The path of a module that only opens keys and replies."""
    built = target / "floor.so"
    source = pathlib.Path(__file__).parent / "floor.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o", built, source],
                   check=True)
    return built


def redis_cell_version(target):
    """Returns the version in its manifest; `None` without one."""
    manifest = pathlib.Path(target / "redis-cell-source" / "Cargo.toml")
    lines = manifest.read_text().splitlines() if manifest.exists() else ()
    return next((line.split('"')[1] for line in lines if line.startswith("version")), None)
