"""Rates as text, for the bucket in the process and the header fields; the server parses its own."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_UNITS_MS = {
    "ms": 1,
    "s": 1000, "sec": 1000, "second": 1000,
    "m": 60_000, "min": 60_000, "minute": 60_000,
    "h": 3_600_000, "hr": 3_600_000, "hour": 3_600_000,
    "d": 86_400_000, "day": 86_400_000,
    "w": 604_800_000, "week": 604_800_000,
}
_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?)(?:[eE][+-]?[0-9]+)?"
_RATE = re.compile(rf"({_NUMBER})(?:/(.+))?", re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)?([A-Za-z]+)", re.ASCII)


@dataclass(frozen=True)
class Rate:
    """`tokens` per `period_ms` milliseconds."""

    text: str
    tokens: float
    period_ms: float

    def in_ms(self, ms: float) -> float:
        """Returns the tokens that flow back in this time."""
        return ms * self.tokens / self.period_ms

    def ms_for(self, tokens: float) -> float:
        """Returns the milliseconds in which these tokens flow back."""
        return tokens * self.period_ms / self.tokens

    def fill_seconds(self, burst: int) -> int:
        """Returns the seconds in which an empty bucket fills, rounded up."""
        return math.ceil(self.ms_for(burst) / 1000 - 1e-9)


def rate(given: str | int | float | Rate) -> Rate:
    """Parses a rate: ``10`` (per second), ``"100/m"``, ``"1/15m"``.

    Raises ValueError if it is not a rate.
    """
    if isinstance(given, Rate):
        return given
    text = given if isinstance(given, str) else repr(given)
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a rate; write 10 (per second), 100/m or 1/15m")
    tokens = float(match[1])
    period = _period_ms(match[2], text) if match[2] else 1000.0
    if not 0 < tokens < math.inf or not period > 0:
        raise ValueError(f"the rate {text!r} must be above 0")
    return Rate(text, tokens, period)


def _period_ms(text: str, whole: str) -> float:
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        unit = _unit_ms(part[2]) if part else None
        # Only a period of one unit may leave out its count.
        if part is None or unit is None or (part[1] is None and part[0] != text):
            raise ValueError(f"unknown period in the rate {whole!r}; use ms, s, m, h, d or w")
        total += float(part[1] or 1) * unit
        at = part.end()
    return total


def _unit_ms(name: str) -> int | None:
    if name in ("ms", "m"):
        return _UNITS_MS[name]
    low = name.lower()
    if low in ("ms", "m"):
        return None
    if len(low) > 3 and low.endswith("s"):
        low = low[:-1]
    elif low in ("hrs",):
        low = "hr"
    return _UNITS_MS.get(low)
