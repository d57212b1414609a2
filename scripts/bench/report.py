"""The report: the measurements as tables, ready for a README."""

import holds
import leases
from bars import MAIN, bars
from bytes_used import LIMITS, PLAIN
from cases import BASE, cases, window_cases
from growth import SIZES
from instructions import BATCH, KEYS
from server import AOF, REPLICA, STANDALONE


def table(head, rows):
    """A Markdown table, aligned so that it also reads well in a terminal."""
    rows = [head, *rows]
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(head))]

    def line(row):
        first = str(row[0]).ljust(widths[0])
        rest = [str(cell).rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return "| " + " | ".join([first, *rest]) + " |"
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *map(line, rows[1:])])


def number(value, form="{:,.0f}"):
    return "–" if value is None else form.format(value)


def render(results, about):
    """The whole report."""
    parts = ["# The cost of a decision", about, *instructions(results), *of_leases(results), *of_holds(results),
             *load(results), *latency(results), *bytes_of(results), *windows(results), *growth(results), *verdicts(results)]
    return "\n\n".join(parts) + "\n"


def instructions(results):
    columns = [(server, setting) for server, parts in results.items()
               for setting in (STANDALONE, AOF, REPLICA)
               if setting in parts.get("instructions", {})]
    if not columns:
        return
    yield "## Instructions in the server for one call"
    yield (f"Counted by callgrind: {KEYS:,} keys in turn, {BATCH} calls in a write. In every "
           f"column but the first, as a ratio to `{BASE}` in the same column. "
           "Ticks of the server, ten a second, are not counted.")
    rows = []
    for case in [*cases(), *window_cases()]:
        if not any(case.name in results[server]["instructions"][setting]
                   for server, setting in columns):
            continue
        row = [case.name, number(results[columns[0][0]]["instructions"][STANDALONE].get(case.name))]
        for server, setting in columns:
            counts = results[server]["instructions"][setting]
            value = counts.get(case.name)
            row.append(number(value and value / counts[BASE], "{:.3f}"))
        rows.append(row)
    yield table(["call", f"{columns[0][0]}, instructions",
                 *(f"{server}, {setting}" for server, setting in columns)], rows)


def of_leases(results):
    for parts in results.values():
        for setting, found in parts.get("leases", {}).items():
            yield f"## Instructions for a lease, {setting}"
            yield leases.table(found)


def of_holds(results):
    for parts in results.values():
        for setting, counts in parts.get("holds", {}).get("instructions", {}).items():
            yield f"## Instructions for a hold, {setting}"
            yield holds.table(counts)
        if "holds" in parts:
            yield "## Walks and bytes of holds"
            yield holds.rest(parts["holds"]["walks"], parts["holds"]["memory"])


def load(results):
    shown = [(server, setting, figures) for server, parts in results.items()
             for setting, figures in parts.get("load", {}).items()]
    if not shown:
        return
    yield "## CPU time in the server for one call, and calls a second"
    yield ("Load by redis-benchmark; medians of interleaved rounds. µs of the server's own time "
           f"(user and system), the ratio to `{BASE}`, and thousands of calls a second.")
    for server, setting, figures in shown:
        shapes = list(dict.fromkeys(at[1:] for at in figures))
        rows = []
        for name in dict.fromkeys(at[0] for at in figures):
            row = [name]
            for shape in shapes:
                rate, cpu = figures[name, *shape]
                base = figures[BASE, *shape][1]
                row.append(f"{cpu * 1e6:.2f} · {cpu / base:.2f} · {rate / 1e3:,.0f}")
            rows.append(row)
        head = [f"{count} conn., {depth} in a write" for count, depth in shapes]
        yield table([f"{server}, {setting}", *head], rows)


def latency(results):
    shown = [(server, parts["latency"]) for server, parts in results.items()
             if "latency" in parts]
    if not shown:
        return
    yield "## Latency at half the highest rate"
    yield ("10 calls in a write; the rate is half of what the server and the "
           f"client (Python, on the same machine) reach with `{BASE}`. µs from when the calls "
           "were due to when they were answered; medians of interleaved rounds.")
    for server, figures in shown:
        for connections, (rate, found) in figures.items():
            yield table([f"{server}, {connections} conn., {rate:,.0f} calls/s", "p50", "p99", "p99.9"],
                        [[name, *(number(value * 1e6) for value in row)]
                         for name, row in found.items()])


def bytes_of(results):
    shown = [server for server, parts in results.items() if "memory" in parts]
    if not shown:
        return
    yield "## Bytes"
    names = list(results[shown[0]]["memory"])
    yield "Memory for a key, of 500,000 keys of 17 bytes:"
    yield table(["", *shown], [[name, *(f"{results[server]['memory'][name]:.1f}"
                                        for server in shown)] for name in names])
    yield "AOF and replication for a call (redis-cell 0.2 replicates nothing, so its takes are lost):"
    rows = [[name, *(f"{results[server]['written'][name][place]:.0f}"
                     for server in shown for place in (0, 1))]
            for name in results[shown[0]]["written"]]
    yield table(["", *(f"{server}, {what}" for server in shown
                       for what in ("AOF", "replication"))], rows)


def windows(results):
    for server, parts in results.items():
        if "windows" not in parts:
            continue
        yield "## Bytes of a fully used window"
        found = parts["windows"]
        names = list(dict.fromkeys(name for name, _ in found))
        rows = [[name, *(number(found[name, limit]) for limit in LIMITS)] for name in names]
        yield table([f"{server}, limit", *(number(limit) for limit in LIMITS)], rows)


def growth(results):
    for server, parts in results.items():
        if "growth" not in parts:
            continue
        yield "## CPU time by the number of keys"
        small, large = SIZES
        figures = parts["growth"]
        rows = [[name, f"{figures[name, small] * 1e6:.2f}", f"{figures[name, large] * 1e6:.2f}",
                 f"{figures[name, large] / figures[name, small]:.2f}"]
                for name in dict.fromkeys(name for name, _ in figures)]
        yield table([f"{server}, µs a call", f"{small:,} keys", f"{large:,} keys", "ratio"], rows)


def verdicts(results):
    found = bars(results)
    if not found:
        return
    yield "## Bars"
    yield (f"redis-cell 0.2 is the newest on crates.io and is measured here; 0.5 is held to "
           f"figures from an earlier count on {MAIN}.")
    yield table(["", "measured", "bar", "verdict"],
                [[f"{bar.server}: {bar.what}", f"{bar.value:.3f}", f"≤ {bar.limit:.3f}",
                  bar.verdict] for bar in found])
