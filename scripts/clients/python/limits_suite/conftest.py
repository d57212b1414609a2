"""Runs the strategy tests of the package `limits`, as it publishes them, on our storage.

scripts/clients/test.sh limits (by hand: it fetches the source of `limits`, and its tests measure seconds).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

import redis_rl.limits_storage  # noqa: E402, F401
from server import Server  # noqa: E402

SERVER = Server()


def pytest_configure() -> None:
    """Replaces the list of storages, which would need a dozen servers, by ours."""
    tests = Path.cwd() / "tests"
    utils = (tests / "utils.py").read_text()
    head, _, _ = utils.partition("ALL_STORAGES = {")
    head = re.sub(r"from pytest_lazy_fixtures import lf\n", "", head)
    uri = f"redis-rl://127.0.0.1:{SERVER.port}"
    head += f'SYNC = pytest.mark.parametrize("uri, args, fixture", [("{uri}", {{}}, None)])\n'
    head += f'ASYNC = pytest.mark.parametrize("uri, args, fixture", [("async+{uri}", {{}}, None)])\n'
    for name in ("all_storage", "moving_window_storage", "sliding_window_counter_storage"):
        head += f"{name}, async_{name} = SYNC, ASYNC\n"
    (tests / "utils.py").write_text(head)


@pytest.fixture(autouse=True)
def empty() -> None:
    SERVER.client.flushall()


def pytest_unconfigure() -> None:
    SERVER.stop()


DIFFERENT = {
    "test_moving_window_stats": "a hit is free again up to a sixteenth of the window late",
    "test_moving_window_huge_cost": "a hit is free again up to a sixteenth of the window late",
    "test_sliding_window_counter_stats": "a hit is free again up to a sixteenth of the window late",
    "test_sliding_window_counter_previous_window": "there are no two windows that are weighted",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = DIFFERENT.get(item.name.partition("[")[0])
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
