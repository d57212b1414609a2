"""The commands, each as its arguments and the reader of its reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Generic, Sequence, TypeVar

from .decision import Decision, Decisions, decision, decisions
from .rate import Rate

T = TypeVar("T")
Key = str | bytes
Word = str | bytes | int


@dataclass(frozen=True)
class Call(Generic[T]):
    """A command to send. `key` is the one that a cluster routes by."""

    words: tuple[Word, ...]
    key: Key
    read: Callable[[Any], T]


def take(
    key: Key,
    rate: str | int | float | Rate,
    burst: int,
    *,
    cost: int = 1,
    keep: int = 0,
    atmost: bool = False,
    maxwait: float | None = None,
    force: bool = False,
) -> Call[Decision]:
    """Takes `cost` tokens or none (RL.TAKE). `maxwait` is in seconds."""
    words = ["RL.TAKE", key, _rate(rate), burst, *_cost(cost), *_keep(keep)]
    if atmost:
        words.append("ATMOST")
    if maxwait is not None:
        words += ["MAXWAIT", millis(maxwait)]
    if force:
        words.append("FORCE")
    return Call(tuple(words), key, decision)


def peek(key: Key, rate: str | int | float | Rate, burst: int, *, cost: int = 1) -> Call[Decision]:
    """Returns what a take would, and changes nothing (RL.PEEK)."""
    return Call(("RL.PEEK", key, _rate(rate), burst, *_cost(cost)), key, decision)


def give(key: Key, rate: str | int | float | Rate, burst: int, *, cost: int = 1) -> Call[int]:
    """Refunds `cost` tokens, at most up to full. Returns the number refunded (RL.GIVE)."""
    return Call(("RL.GIVE", key, _rate(rate), burst, *_cost(cost)), key, _first)


def mtake(buckets: Sequence[tuple[Key, str | int | float | Rate, int]], *, cost: int = 1) -> Call[Decisions]:
    """Takes from every bucket or from none (RL.MTAKE)."""
    words: list[Word] = ["RL.MTAKE", len(buckets)]
    for key, rate, burst in buckets:
        words += [key, _rate(rate), burst]
    return Call((*words, *_cost(cost)), buckets[0][0], decisions)


def wtake(
    key: Key,
    limit: int,
    window: str,
    *,
    cost: int = 1,
    keep: int = 0,
    atmost: bool = False,
    force: bool = False,
) -> Call[Decision]:
    """Charges `cost` to a window: "15m", "SLIDING 1m", "DAY OFFSET +02:00" (RL.WTAKE)."""
    words = ["RL.WTAKE", key, limit, *window.split(), *_cost(cost), *_keep(keep)]
    words += ["ATMOST"] * atmost + ["FORCE"] * force
    return Call(tuple(words), key, decision)


def wpeek(key: Key, limit: int, window: str, *, cost: int = 1) -> Call[Decision]:
    """Returns what a charge would, and changes nothing (RL.WPEEK)."""
    return Call(("RL.WPEEK", key, limit, *window.split(), *_cost(cost)), key, decision)


def wgive(key: Key, limit: int, window: str, *, cost: int = 1, at: int | None = None) -> Call[int]:
    """Refunds to a window, with `at` (Unix ms) only to the one charged then (RL.WGIVE)."""
    words: list[Word] = ["RL.WGIVE", key, limit, *window.split(), *_cost(cost)]
    if at is not None:
        words += ["AT", at]
    return Call(tuple(words), key, _first)


def acquire(
    key: Key, limit: int, ttl: float, token: str, *, keep: int = 0, wait: float = 0
) -> Call[Decision]:
    """Acquires a slot for `token`, or renews the one that it holds. `ttl` is in seconds (RL.ACQUIRE).

    With `wait` the server answers only when there is a slot, or after `wait` seconds: use `slot`.
    """
    waits: tuple[Word, ...] = ("WAIT", millis(wait)) if wait else ()
    return Call(("RL.ACQUIRE", key, limit, duration(ttl), token, *_keep(keep), *waits), key, decision)


def renew(key: Key, ttl: float, *tokens: str) -> Call[int]:
    """Extends live leases. Returns how many (RL.RENEW)."""
    return Call(("RL.RENEW", key, duration(ttl), *tokens), key, int)


def release(key: Key, *tokens: str) -> Call[int]:
    """Frees slots. Returns how many were held (RL.RELEASE)."""
    return Call(("RL.RELEASE", key, *tokens), key, int)


@dataclass(frozen=True)
class Leases:
    """The slots in use. `tokens` holds each token and the seconds left, soonest to end first."""

    held: int
    limit: int
    remaining: int
    retry_after: float | None
    reset_after: float
    tokens: tuple[tuple[str, float], ...]


def leases(key: Key, limit: int, *, count: int = 100) -> Call[Leases]:
    """Returns the slots in use (RL.LEASES)."""

    def read(reply: Sequence[Any]) -> Leases:
        held, most, remaining, wait_ms, reset_ms, tokens = reply[:6]
        return Leases(
            held,
            most,
            remaining,
            None if wait_ms < 0 else wait_ms / 1000,
            reset_ms / 1000,
            tuple((_text(token), left / 1000) for token, left in tokens),
        )

    return Call(("RL.LEASES", key, limit, "COUNT", count), key, read)


@dataclass(frozen=True)
class Limit:
    """One limit of RL.ALL: see `bucket`, `window`, `lease` and `hold`.

    `named` are the words that RL.SETTLE repeats; `cost` is None for a lease and a hold.
    """

    key: Key
    named: tuple[Word, ...]
    words: tuple[Word, ...]
    cost: int | None = None

    def settled(self, used: int) -> tuple[Word, ...]:
        """Returns the words for RL.SETTLE."""
        return self.named if self.cost is None else (*self.named, "USED", used)


def bucket(key: Key, rate: str | int | float | Rate, burst: int, *, cost: int = 1, keep: int = 0) -> Limit:
    """A bucket for `all`."""
    named: tuple[Word, ...] = ("BUCKET", _rate(rate), burst)
    return Limit(key, named, (*named, *_cost(cost), *_keep(keep)), cost)


def window(key: Key, limit: int, window: str, *, cost: int = 1, keep: int = 0) -> Limit:
    """A window for `all`."""
    named: tuple[Word, ...] = ("WINDOW", limit, *window.split())
    return Limit(key, named, (*named, *_cost(cost), *_keep(keep)), cost)


def lease(key: Key, limit: int, ttl: float, token: str, *, keep: int = 0, once: bool = False) -> Limit:
    """A lease for `all`. With `once` the call may be repeated."""
    words: tuple[Word, ...] = ("LEASE", limit, duration(ttl), token, *_keep(keep))
    return Limit(key, ("LEASE", token), (*words, "ONCE") if once else words)


def hold(key: Key, ttl: float, id: str, *, charge: bool = False) -> Limit:
    """Records what `all` charges as hold `id`, until `settle`. One that nobody settles is refunded after
    `ttl` seconds, or with `charge` stays charged."""
    words: tuple[Word, ...] = ("HOLD", duration(ttl), id)
    return Limit(key, ("HOLD", id), (*words, "ELSE", "CHARGE") if charge else words)


def all(*limits: Limit) -> Call[Decisions]:
    """Charges every limit or none (RL.ALL)."""
    keys = [limit.key for limit in limits]
    words = [word for limit in limits for word in limit.words]
    return Call(("RL.ALL", len(keys), *keys, *words), keys[0], decisions)


@dataclass(frozen=True)
class Settlement:
    """The reply of RL.SETTLE.

    state  1: settled by this call. 0: settled before. -1: nothing is known about the id; if the work was
           done and the settlement was first sent less than a minute ago, charge it with `force`, once
    each   for each limit what was charged, negative if it was refunded
    """

    state: int
    each: tuple[int, ...]


def settle(*limits: tuple[Limit, int]) -> Call[Settlement]:
    """Replaces each estimate by the amount used, and releases the leases (RL.SETTLE)."""
    keys = [limit.key for limit, _ in limits]
    words = [word for limit, used in limits for word in limit.settled(used)]

    def read(reply: Sequence[Any]) -> Settlement:
        return Settlement(int(reply[0]), tuple(int(one[0]) for one in reply[2]))

    return Call(("RL.SETTLE", len(keys), *keys, *words), keys[0], read)


@dataclass(frozen=True)
class Holds:
    """The open holds: each id, the seconds left (negative if overdue), whether it stays charged, and what it
    holds of each key."""

    open: int
    overdue: int
    holds: tuple[tuple[str, float, bool, dict[str, int]], ...]


def holds(key: Key, *, count: int = 100) -> Call[Holds]:
    """Returns the open holds, soonest deadline first (RL.HOLDS)."""

    def read(reply: Sequence[Any]) -> Holds:
        each = tuple(
            (_text(id), left / 1000, _text(other) == "CHARGE", {_text(name): int(held) for name, held in kept})
            for id, left, other, kept in reply[4]
        )
        return Holds(reply[0], reply[2], each)

    return Call(("RL.HOLDS", key, "COUNT", count), key, read)


def duration(seconds: float) -> str:
    """Returns a duration as the server reads it. Raises TypeError if it is not a number."""
    return f"{millis(seconds)}ms"


def millis(seconds: float) -> int:
    """Returns the milliseconds. Raises TypeError if it is not a number: "30s" is for redis-cli."""
    if isinstance(seconds, (str, bytes)):
        raise TypeError(f"a time is a number of seconds, such as 30, not {seconds!r}")
    return round(seconds * 1000)


def _rate(rate: str | int | float | Rate) -> Word:
    return rate.text if isinstance(rate, Rate) else str(rate)


def _cost(cost: int) -> tuple[Word, ...]:
    return () if cost == 1 else ("COST", cost)


def _keep(keep: int) -> tuple[Word, ...]:
    return ("KEEP", keep) if keep else ()


def _first(reply: Sequence[int]) -> int:
    return int(reply[0])


def _text(token: str | bytes) -> str:
    return token.decode("utf-8", "backslashreplace") if isinstance(token, bytes) else token
