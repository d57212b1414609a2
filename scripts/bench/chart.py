"""The charts, one for each question: bars, ours in green, those of others whose figures were measured
elsewhere in outline."""

import dataclasses

from bars import MAIN
from bytes_used import PLAIN
from cases import (BASE, CELL_ALLOWED, CELL_DENIED, DAY, DAY_DENIED, DENIED, FIXED, FIXED_DENIED, LUA_ALLOWED,
                   LUA_DENIED, LUA_FIXED, LUA_FIXED_DENIED, LUA_LOG, LUA_LOG_DENIED, LUA_TWO, LUA_TWO_DENIED,
                   MOVES, SLIDING, SLIDING_DENIED, TAKE)
from leases import LIVE
import leases
from server import AOF, REPLICA, STANDALONE

# Counted on builds of Redis' unstable branch, which no package has; see "Alternatives" in the
# README.
TOLD = [("INCREX (8.8), allowed", 1.4), ("INCREX (8.8), denied", 1.2), ("GCRA (unreleased), allowed", 1.3),
        ("GCRA (unreleased), denied", 0.8)]
OURS, OTHERS, HEARD = "ours", "", "heard"
ROW, LEFT, WIDTH, RIGHT = 22, 250, 400, 70
STYLE = """text{font:13px system-ui,sans-serif;fill:#57606a}rect{fill:#afb8c1}.ours{fill:#2da44e}
.heard{fill:none;stroke:#afb8c1}
@media(prefers-color-scheme:dark){text{fill:#9198a1}rect{fill:#656c76}.ours{fill:#3fb950}
.heard{stroke:#656c76}}"""


@dataclasses.dataclass(frozen=True)
class Bar:
    """A name, a value, and its owner."""

    name: str
    value: float
    whose: str = OTHERS


def svg(title, bars, form="{:.2f}"):
    """A bar for each value."""
    bars = [bar for bar in bars if bar.value is not None]
    scale = WIDTH / max(bar.value for bar in bars)
    height = ROW * (len(bars) + 1) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
        f'role="img" aria-label="{title}">',
        f"<style>{STYLE}</style>",
        f'<text x="0" y="15">{title}</text>',
    ]
    for row, bar in enumerate(bars, 1):
        top = row * ROW + 4
        kind = f' class="{bar.whose}"' if bar.whose else ""
        # A line for each bar.
        parts.append(
            f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{bar.name}</text>'
            f'<rect{kind} x="{LEFT}" y="{top}" width="{bar.value * scale:.1f}" height="{ROW - 5}"/>'
            f'<text x="{LEFT + bar.value * scale + 6:.1f}" y="{top + 13}">{form.format(bar.value)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def charts(results):
    """{file name: chart} for each measured question."""
    main = results.get(MAIN, {})
    counts = main.get("instructions", {})
    alone = counts.get(STANDALONE, {})
    questions = {
        "bucket": (bucket, alone, TAKE in alone),
        "written": (written, counts, AOF in counts),
        "windows": (windows, alone, FIXED in alone),
        "several": (several, alone, "floor of 8" in alone),
        "leases": (of_leases, main.get("leases", {}).get(STANDALONE), "leases" in main),
        "latency": (latency, main.get("latency"), "latency" in main),
        "memory": (memory, main.get("memory"), "memory" in main),
    }
    return {name: draw(figures) for name, (draw, figures, measured) in questions.items() if measured}


def whose(name):
    """The owner of a call's bar."""
    return OURS if name.startswith("RL.") else OTHERS


def ratios(counts, names, note=""):
    """Bars in units of a SET with an expiry."""
    return [Bar(name + note, counts[name] / counts[BASE], whose(name)) for name in names if counts.get(name)]


def bucket(counts):
    names = ["INCR", "INCR + EXPIRE", BASE, TAKE, DENIED, CELL_ALLOWED, CELL_DENIED, LUA_ALLOWED, LUA_DENIED]
    measured = ratios(counts, names)
    told = [Bar(name, value, HEARD) for name, value in TOLD]
    return svg("One bucket: instructions in Redis 7.0 for a call, SET key v PX ms = 1",
               [*measured[:5], *told, *measured[5:]])


def written(counts):
    names = [TAKE, MOVES, DENIED, FIXED, CELL_ALLOWED, LUA_ALLOWED]
    bars = [bar for setting in (STANDALONE, AOF, REPLICA)
            for bar in ratios(counts[setting], names, f", {setting}")]
    return svg("Where calls are written and shipped: SET key v PX ms in the same setting = 1", bars)


def windows(counts):
    names = [FIXED, FIXED_DENIED, DAY, DAY_DENIED, SLIDING, SLIDING_DENIED, LUA_FIXED, LUA_FIXED_DENIED, LUA_TWO,
             LUA_TWO_DENIED, LUA_LOG, LUA_LOG_DENIED]
    return svg("Windows: instructions in Redis 7.0 for a call, SET key v PX ms = 1", ratios(counts, names))


def several(counts):
    names = [f"{name} of {number}{what}"
             for number in (2, 8)
             for name, what in (("floor that writes", ""), ("RL.MTAKE", ", allowed"), ("RL.ALL", ", allowed"),
                                ("floor", ""), ("RL.MTAKE", ", denied by the last"),
                                ("RL.ALL", ", denied by the last"))]
    return svg("Several limits in one call: SET key v PX ms = 1", ratios(counts, names))


def of_leases(found):
    names = (leases.FLOOR, leases.ACQUIRE, leases.SEMAPHORE, leases.DENIED, leases.SEMAPHORE_DENIED)
    bars = [Bar(f"{name}, {live} live", found[live][name], whose(name)) for live in LIVE for name in names]
    return svg("Leases: instructions in Redis 7.0", bars, "{:,.0f}")


def latency(found):
    bars = [Bar(f"{connections} conn., {part}: {name}", cases[name][place] * 1e6, whose(name))
            for connections, (_, cases) in found.items()
            for place, part in enumerate(("p50", "p99", "p99.9"))
            for name in (BASE, TAKE, DENIED)]
    return svg("Time to the reply at half of the highest rate, µs", bars, "{:,.0f}")


def memory(found):
    return svg("Bytes of memory for a key of 17 bytes, Redis 7.0",
               [Bar(name, value, OTHERS if name in (PLAIN, "redis-cell") else OURS) for name, value in found.items()],
               "{:.0f}")
