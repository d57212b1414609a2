"""Decisions without the server: remembered denials, the bucket in the process, errors."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Iterator, Literal

import redis.exceptions as errors

from .decision import Decision
from .rate import Rate

log = logging.getLogger("redis_rl")

OnError = Literal["local", "open", "closed"]

MEMORY = 1.0
"""Seconds for which a denial is remembered at most, so that a raised limit or a refund is seen."""
_MOST_KEYS = 10_000
_EPSILON = 1e-9


class Outage(Exception):
    """The server did not answer, or could not. It may have charged the call."""


_OUTAGES = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.InvalidResponse,
    errors.ReadOnlyError,
    errors.OutOfMemoryError,
    errors.ClusterDownError,
    errors.TryAgainError,
    errors.AskError,
    errors.RedisClusterException,
    OSError,
    asyncio.TimeoutError,
)
_OUTAGE_CODES = frozenset(
    "LOADING BUSY MASTERDOWN READONLY MISCONF NOREPLICAS CLUSTERDOWN TRYAGAIN OOM UNBLOCKED MOVED ASK".split()
)


def is_outage(error: BaseException) -> bool:
    """Returns whether `error` may pass by itself. Anything else is a mistake: an unknown command, a
    missing permission, a key of another type, wrong syntax."""
    if isinstance(error, (errors.AuthenticationError, errors.AuthorizationError)):
        return False
    if isinstance(error, _OUTAGES):
        return True
    words = str(error).split(maxsplit=1)
    return isinstance(error, errors.ResponseError) and bool(words) and words[0] in _OUTAGE_CODES


@dataclass
class Counts:
    """The counters of a limiter."""

    answered: int = 0
    from_memory: int = 0
    outages: int = 0
    mistakes: int = 0
    late: int = 0
    local_allowed: int = 0
    local_denied: int = 0


@dataclass(frozen=True)
class Ask:
    """The request of a take. `need` tokens must be available, or it is denied."""

    key: str | bytes
    rate: Rate
    burst: int
    cost: int = 1
    keep: int = 0
    atmost: bool = False
    force: bool = False
    maxwait: bool = False

    @property
    def need(self) -> int:
        return (min(1, self.cost) if self.atmost else self.cost) + self.keep


class Denials:
    """Denials by the server, each remembered until its wait is over, for one second at most."""

    def __init__(self) -> None:
        self._of: OrderedDict[str | bytes, tuple[float, float, Ask, Decision]] = OrderedDict()

    def remember(self, ask: Ask, sent: float, decision: Decision) -> None:
        """`sent` is the time before the call, so that nobody is denied beyond the true end."""
        if decision.allowed:
            self._of.pop(ask.key, None)
        elif not ask.maxwait:
            wait = MEMORY if decision.retry_after is None else min(MEMORY, decision.retry_after)
            self._of[ask.key] = (sent, sent + wait, ask, decision)
            self._of.move_to_end(ask.key)
            if len(self._of) > _MOST_KEYS:
                self._of.popitem(last=False)

    def look(self, ask: Ask, now: float) -> Decision | None:
        """Returns the denial that still holds for this call."""
        found = self._of.get(ask.key)
        if found is None or ask.force or ask.maxwait:
            return None
        sent, until, denied, decision = found
        if now >= until:
            self._of.pop(ask.key, None)
            return None
        same = ask.rate == denied.rate and ask.burst == denied.burst and ask.need >= denied.need
        # A wait is that of its own cost: a call that needs more must ask for its own.
        if not same or (ask.need > denied.need and decision.retry_after is not None):
            return None
        passed = now - sent
        wait = decision.retry_after
        return replace(
            decision,
            retry_after=None if wait is None else max(0.001, wait - passed),
            reset_after=max(0.0, decision.reset_after - passed),
            source="memory",
        )


class LocalBuckets:
    """Buckets in this process: `share` of each limit, at least one token of burst."""

    def __init__(self, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {share}")
        self._share = share
        self._of: OrderedDict[str | bytes, tuple[float, float]] = OrderedDict()

    def take(self, ask: Ask, now: float) -> Decision:
        """Takes from the bucket in the process, which is full at first."""
        burst = max(1.0, ask.burst * self._share) if ask.burst else 0.0
        tokens, at = self._of.get(ask.key, (burst, now))
        per_second = ask.rate.in_ms(1000) * self._share
        tokens = min(burst, tokens + max(0.0, now - at) * per_second)
        taken = int(min(ask.cost, max(0, tokens - ask.keep) + _EPSILON)) if ask.atmost else ask.cost
        allowed = ask.force or (tokens + _EPSILON >= ask.need and (taken > 0 or ask.cost == 0))
        if allowed:
            tokens -= taken
        self._of[ask.key] = (tokens, now)
        self._of.move_to_end(ask.key)
        if len(self._of) > _MOST_KEYS:
            self._of.popitem(last=False)
        retry: float | None = 0.0
        if not allowed:
            retry = max(0.001, (ask.need - tokens) / per_second) if ask.need <= burst else None
        return Decision(
            allowed=allowed,
            limit=ask.burst,
            remaining=int(max(0.0, tokens) + _EPSILON),
            retry_after=retry,
            reset_after=(burst - tokens) / per_second,
            taken=taken if allowed else 0,
            source="local",
        )


@dataclass
class Policy:
    """Decides what the server did not. Shared by threads."""

    on_error: OnError
    share: float
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        if self.on_error not in ("local", "open", "closed"):
            raise ValueError(f"on_error must be local, open or closed, not {self.on_error!r}")
        self._denials = Denials()
        self._local = LocalBuckets(self.share)
        self._lock = threading.Lock()
        self._logged = {"outage": float("-inf"), "mistake": float("-inf")}

    def remembered(self, ask: Ask) -> Decision | None:
        """Returns the denial that still holds for this call."""
        with self._lock:
            found = self._denials.look(ask, time.monotonic())
            self.counts.from_memory += found is not None
        return found

    def answered(self, ask: Ask, sent: float, decision: Decision) -> None:
        """Counts and remembers an answer by the server, however late."""
        with self._lock:
            self.counts.answered += 1
            self._denials.remember(ask, sent, decision)

    def decide(self, ask: Ask, outage: Outage) -> Decision:
        """Decides in place of the server."""
        with self._lock:
            if self.on_error == "local":
                decision = self._local.take(ask, time.monotonic())
            else:
                allowed = self.on_error == "open"
                decision = Decision(
                    allowed, ask.burst, 0, 0.0 if allowed else 1.0, 0.0, ask.cost if allowed else 0, "policy"
                )
            if decision.allowed:
                self.counts.local_allowed += 1
            else:
                self.counts.local_denied += 1
        return decision

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Counts and logs what a call raises: Outage for an outage, anything else as it is."""
        try:
            yield
        except Exception as error:
            if isinstance(error, Outage) or is_outage(error):
                with self._lock:
                    self.counts.outages += 1
                self._log("outage", "rate limiter: no answer, on_error=%s: %s", self.on_error, error)
                raise error if isinstance(error, Outage) else Outage(_text(error)) from error
            with self._lock:
                self.counts.mistakes += 1
            self._log("mistake", "rate limiter: the server refuses the call: %s%s", "", error)
            raise

    def _log(self, kind: str, message: str, detail: str, error: BaseException) -> None:
        # One line a second says as much as thousands.
        with self._lock:
            now = time.monotonic()
            if now - self._logged[kind] < 1:
                return
            self._logged[kind] = now
        level = logging.ERROR if kind == "mistake" else logging.WARNING
        log.log(level, message, detail, _text(error))


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, Outage) else f"{type(error).__name__}: {error}"
