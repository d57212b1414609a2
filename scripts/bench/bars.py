"""The project's own bounds for costs, and whether they hold."""

import dataclasses

import holds
import leases
from bytes_used import PLAIN
from cases import (BASE, CELL_ALLOWED, CELL_DENIED, DAY, DAY_DENIED, DENIED, EVICTS,
                   EVICTS_BASE, FIXED, FIXED_DENIED, LUA_ALLOWED, LUA_DENIED, LUA_FIXED,
                   LUA_FIXED_DENIED, LUA_LOG, LUA_LOG_DENIED, LUA_TWO, LUA_TWO_DENIED, PEEK,
                   SLIDING, SLIDING_DENIED, TAKE)
from growth import SIZES
from server import AOF, REPLICA, STANDALONE

MAIN = "redis-7.0"
# Instructions per call of redis-cell 0.5.0, which is in no package registry: a figure from elsewhere,
# of a build from its source on Redis 7.0.15, where SET takes 8 908.
CELL_05 = {CELL_ALLOWED: 23_588, CELL_DENIED: 14_906}


@dataclasses.dataclass(frozen=True)
class Bar:
    """A bound and its measurement."""

    server: str
    what: str
    value: float
    limit: float

    @property
    def verdict(self):
        return "OK" if self.value <= self.limit else "MISSED"


def bars(results):
    """Every bound for which there is a measurement."""
    found = []
    for server, parts in results.items():
        # The bounds are set on one server; on the others everything may be a tenth dearer.
        slack = 1 if server == MAIN else 1.1
        found += [Bar(server, what, value, limit * slack)
                  for what, value, limit in ratios(server, parts.get("instructions", {}))]
        found += [Bar(server, *rest) for rest in lease_bars(parts.get("leases", {}))]
        found += [Bar(server, *rest) for rest in hold_bars(parts.get("holds", {}))]
        found += [Bar(server, *rest) for rest in bytes_bars(server, parts)]
        found += [Bar(server, *rest) for rest in growth_bars(parts.get("growth", {}))]
    return found


def ratios(server, instructions):
    """(what, ratio, limit) of instructions."""
    alone = instructions.get(STANDALONE, {})
    wanted = [
        (alone, TAKE, BASE, 0.86, ""), (alone, DENIED, BASE, 0.86, ""),
        (alone, PEEK, BASE, 0.85, ""),
        (instructions.get(AOF, {}), TAKE, BASE, 1.00, f", {AOF}"),
        (instructions.get(REPLICA, {}), TAKE, BASE, 1.02, f", {REPLICA}"),
        (alone, EVICTS, EVICTS_BASE, 1.5, ""),
        (alone, TAKE, CELL_ALLOWED, 0.40, " 0.2"), (alone, DENIED, CELL_DENIED, 0.48, " 0.2"),
        (alone, TAKE, LUA_ALLOWED, 0.12, ""), (alone, DENIED, LUA_DENIED, 0.115, ""),
        (alone, FIXED, BASE, 0.90, ""), (alone, FIXED_DENIED, BASE, 0.85, ""),
        (alone, SLIDING, BASE, 1.05, ""), (alone, SLIDING_DENIED, BASE, 0.95, ""),
        (alone, FIXED, LUA_FIXED, 0.30, ""), (alone, FIXED_DENIED, LUA_FIXED_DENIED, 0.30, ""),
        (alone, SLIDING, LUA_LOG, 0.12, ""), (alone, SLIDING_DENIED, LUA_LOG_DENIED, 0.19, ""),
        (alone, SLIDING, LUA_TWO, 0.19, ""), (alone, SLIDING_DENIED, LUA_TWO_DENIED, 0.21, ""),
        (alone, DAY, FIXED, 1.05, ""), (alone, DAY_DENIED, FIXED_DENIED, 1.05, ""),
    ]
    for counts, ours, theirs, limit, note in wanted:
        if counts.get(ours) and counts.get(theirs):
            yield f"{ours} / {theirs}{note}", counts[ours] / counts[theirs], limit
    if server != MAIN:
        return
    for ours, theirs, limit in [(TAKE, CELL_ALLOWED, 0.40), (DENIED, CELL_DENIED, 0.48)]:
        if alone.get(ours):
            yield f"{ours} / {theirs} 0.5", alone[ours] / CELL_05[theirs], limit


def lease_bars(found):
    """(what, ratio, limit) of a pair of calls at the fewest live leases."""
    for setting, limit in ((STANDALONE, 0.38), (AOF, 0.50)):
        if setting in found:
            counts = found[setting][leases.LIVE[0]]
            ratio = counts[leases.ACQUIRE] / counts[leases.SEMAPHORE]
            yield f"{leases.ACQUIRE} / {leases.SEMAPHORE}, {setting}", ratio, limit


def hold_bars(found):
    """(what, value, limit) of calls with a HOLD, at the number of open holds that is worst, and of walks."""
    counts = found.get("instructions", {}).get(STANDALONE)
    if counts:
        for ours, base, limit in holds.BARS:
            worst = max(cases[ours] / cases[base] for cases in counts.values())
            yield f"{ours} / {base}", worst, limit
    for records, (alone, _) in found.get("walks", {}).items():
        yield f"milliseconds of a walk of {records:,} records", alone, holds.WALKS[records]


def bytes_bars(server, parts):
    """(what, bytes, limit)."""
    memory = parts.get("memory", {})
    limit = {MAIN: 40, "redis-8.2": 24}.get(server)
    if memory and limit:
        yield f"bytes of a bucket over `{PLAIN}`", memory["bucket"] - memory[PLAIN], limit
    if "written" in parts:
        aof, replication = parts["written"][DENIED]
        yield "AOF bytes of a denied call", aof, 0
        yield "replication bytes of a denied call", replication, 0


def growth_bars(growth):
    """(what, how many times dearer, limit): SET's own growth and a twentieth for the noise."""
    small, large = SIZES
    for case in (TAKE, DENIED):
        if growth:
            ours, base = (growth[name, large] / growth[name, small] for name in (case, BASE))
            yield f"growth of {case}, {small:,} to {large:,} keys, over SET's", ours / base, 1.05
