"""The reply of a limit, in words instead of five integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Sequence

Source = Literal["server", "memory", "local", "policy", "batch"]


@dataclass(frozen=True)
class Decision:
    """Whether a caller may go on.

    taken        tokens, units or slots that this call charged (a refund: gave back)
    retry_after  seconds. Denied: retry after this time, None means never. Allowed: wait this long,
                 then go on (0 except with ``maxwait``)
    reset_after  seconds until nothing is used any more
    source       "server"; "memory" if a denial by the server was remembered; "local" if the bucket in
                 this process decided; "policy" if ``on_error`` did; "batch" if `Local` spent its batch
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after: float | None
    reset_after: float
    taken: int = 0
    source: Source = "server"

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True)
class Decisions:
    """The reply of a call on several limits: all were charged, or none."""

    allowed: bool
    retry_after: float | None
    each: tuple[Decision, ...]
    taken: int = 0

    def __bool__(self) -> bool:
        return self.allowed


def decision(reply: Sequence[int]) -> Decision:
    """Returns the decision that the five integers of a reply describe.

    A success with COST 0 charges nothing and has a wait of 0; a denial has a wait of -1 or at least 1.
    """
    taken, limit, remaining, wait_ms, reset_ms = (int(n) for n in reply[:5])
    return Decision(
        allowed=taken > 0 or wait_ms == 0,
        limit=limit,
        remaining=remaining,
        retry_after=None if wait_ms < 0 else wait_ms / 1000,
        reset_after=reset_ms / 1000,
        taken=taken,
    )


def decisions(reply: Sequence[object]) -> Decisions:
    """Returns the decisions of RL.MTAKE and RL.ALL."""
    taken, wait_ms, each = reply[:3]
    assert isinstance(taken, int) and isinstance(wait_ms, int) and isinstance(each, (list, tuple))
    return Decisions(
        allowed=taken > 0 or wait_ms == 0,
        retry_after=None if wait_ms < 0 else wait_ms / 1000,
        each=tuple(decision(one) for one in each),
        taken=taken,
    )
