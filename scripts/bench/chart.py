"""The chart for the README: instructions of each call, in units of a SET with an expiry."""

from cases import (BASE, CELL_ALLOWED, CELL_DENIED, DENIED, LUA_ALLOWED, LUA_DENIED, TAKE)

SHOWN = ["INCR", BASE, TAKE, DENIED, CELL_ALLOWED, CELL_DENIED, LUA_ALLOWED, LUA_DENIED]
OURS = {TAKE, DENIED}
ROW, LEFT, WIDTH, RIGHT = 24, 170, 440, 60
STYLE = """text{font:13px system-ui,sans-serif;fill:#57606a}rect{fill:#afb8c1}.ours{fill:#2da44e}
@media(prefers-color-scheme:dark){text{fill:#9198a1}rect{fill:#656c76}.ours{fill:#3fb950}}"""


def svg(counts, title):
    """A bar for each call that was counted."""
    rows = [(name, counts[name] / counts[BASE]) for name in SHOWN if counts.get(name)]
    scale = WIDTH / max(ratio for _, ratio in rows)
    height = ROW * (len(rows) + 1) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
        f'role="img" aria-label="{title}">',
        f"<style>{STYLE}</style>",
        f'<text x="0" y="16">{title}</text>',
    ]
    for row, (name, ratio) in enumerate(rows, 1):
        top = row * ROW + 4
        kind = ' class="ours"' if name in OURS else ""
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{name}</text>',
            f'<rect{kind} x="{LEFT}" y="{top}" width="{ratio * scale:.1f}" height="{ROW - 6}"/>',
            f'<text x="{LEFT + ratio * scale + 6:.1f}" y="{top + 13}">{ratio:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
