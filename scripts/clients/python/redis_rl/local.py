"""Batches of tokens, for callers of thousands a second on one key."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import redis.exceptions

from .commands import Key
from .decision import Decision
from .failure import Ask, Outage
from .limiter import QUEUE, AsyncLimiter
from .rate import Rate, rate as parse_rate

HOLD = 0.1
"""Seconds in which a batch is spent, and over which the use is counted."""
_LATE = 0.05
"""Seconds that a refund may take until the server has it."""
_PART = 8
"""A batch is at most this part of the burst."""
_MOST_KEYS = 10_000


class Local:
    """Takes batches by an AsyncLimiter, and spends them in this process. Its `take` is that of the limiter, so
    the ASGI middleware accepts it in place of one.

    A batch is as large as the use of the last tenth of a second, at most an eighth of the burst, so it saves
    calls only where the burst is large. After a short answer tokens are taken one call at a time, until
    the bucket would be full again. A batch that is not spent after a tenth of a second is refunded, less the
    bucket's gain meanwhile. So over all processes at most burst + rate × (t + 0.1 s) is spent in any time t,
    and a process that dies loses its batch.
    """

    def __init__(self, limiter: AsyncLimiter) -> None:
        self.limiter = limiter
        self._of: OrderedDict[tuple[Key, str, int], _Stash] = OrderedDict()
        self._refunds: set[asyncio.Task[None]] = set()

    async def take(self, key: Key, rate: str | int | float | Rate, burst: int, *, cost: int = 1) -> Decision:
        """Takes `cost` tokens or none. One call is in flight a key: the others wait for it, and then look into
        the batch. The failure policy decides about them if the server does not answer that call, or after ten
        time-outs."""
        parsed = parse_rate(rate)
        stash = self._stash(key, parsed, burst)
        outages, began = stash.outages, time.monotonic()
        stash.count(cost, began)
        while True:
            now = time.monotonic()
            if (decision := stash.spend(cost, now)) is not None:
                return decision
            is_long = now - began > QUEUE * self.limiter.timeout
            if stash.outages != outages or (stash.taking is not None and is_long):
                return self.limiter._decide(Ask(key, parsed, burst, cost), "no turn among the calls of one key")
            if stash.taking is None:
                break
            await stash.taking.wait()
        stash.taking = asyncio.Event()
        try:
            return await self._take(stash, cost)
        finally:
            stash.taking.set()
            stash.taking = None

    async def check(self, key: Key = "limit:check") -> None:
        """Raises if the server lacks the module or the permission. An outage is only logged."""
        await self.limiter.check(key)

    async def aclose(self) -> None:
        """Refunds every batch. The limiter remains open."""
        for stash in self._of.values():
            self._refund(stash)
        if self._refunds:
            await asyncio.wait(self._refunds)

    def _stash(self, key: Key, rate: Rate, burst: int) -> _Stash:
        name = (key, rate.text, burst)
        stash = self._of.get(name)
        if stash is None:
            stash = self._of[name] = _Stash(key, rate, burst)
            if len(self._of) > _MOST_KEYS:
                self._refund(self._of.popitem(last=False)[1])
        else:
            self._of.move_to_end(name)
        return stash

    async def _take(self, stash: _Stash, cost: int) -> Decision:
        asked = time.monotonic()
        batch = stash.batch(asked)
        if 0 < cost < batch:
            decision = await self._ask(stash, cost=batch, atmost=True)
            now = time.monotonic()
            if decision.taken < batch:
                stash.short_until = now + decision.reset_after
            if decision.taken:
                self._refund(stash)
                stash.begin(decision, asked)
                asyncio.get_running_loop().call_later(asked + HOLD - now, self._end, stash, asked)
                if (spent := stash.spend(cost, now)) is not None:
                    return spent
            elif cost == 1:
                return decision
        # The server decides about this cost alone, and must have what is left of the batch.
        self._refund(stash)
        decision = await self._ask(stash, cost=cost)
        if not decision.allowed:
            stash.short_until = time.monotonic() + decision.reset_after
        return decision

    async def _ask(self, stash: _Stash, *, cost: int, atmost: bool = False) -> Decision:
        decision = await self.limiter.take(stash.key, stash.rate, stash.burst, cost=cost, atmost=atmost)
        stash.outages += decision.source in ("local", "policy")
        return decision

    def _end(self, stash: _Stash, taken_at: float) -> None:
        if stash.taken_at == taken_at:
            self._refund(stash)

    def _refund(self, stash: _Stash) -> None:
        if (refund := stash.refund(time.monotonic())) > 0:
            task = asyncio.get_running_loop().create_task(self._give(stash, refund))
            self._refunds.add(task)
            task.add_done_callback(self._refunds.discard)

    async def _give(self, stash: _Stash, refund: int) -> None:
        try:
            await self.limiter.give(stash.key, stash.rate, stash.burst, cost=refund)
        except (Outage, redis.exceptions.RedisError):
            pass  # It is logged, and the tokens are lost.


_NOTHING = Decision(False, 0, 0, 0.0, 0.0)


class _Stash:
    """The batch of one key and limit. `taken_at` is the time before its call, so that nothing is spent too late."""

    def __init__(self, key: Key, rate: Rate, burst: int) -> None:
        self.key, self.rate, self.burst = key, rate, burst
        self.tokens, self.taken_at, self.decision = 0, 0.0, _NOTHING
        self.short_until = 0.0
        self.outages = 0
        self.taking: asyncio.Event | None = None
        self._since, self._used, self._used_before = 0.0, 0, 0

    def begin(self, decision: Decision, taken_at: float) -> None:
        self.tokens, self.taken_at, self.decision = decision.taken, taken_at, decision

    def spend(self, cost: int, now: float) -> Decision | None:
        """Spends from the batch. Returns None if it is too small, or was taken too long ago."""
        if not 0 < cost <= self.tokens or now >= self.taken_at + HOLD:
            return None
        self.tokens -= cost
        of = self.decision
        reset_after = max(0.0, of.reset_after - (now - self.taken_at))
        return Decision(True, of.limit, of.remaining + self.tokens, 0.0, reset_after, cost, "batch")

    def refund(self, now: float) -> int:
        """Ends the batch. Returns its tokens less what the bucket has gained since it was taken: it might have
        been full then, and have gained nothing. Only the server's are refunded."""
        gain = self.rate.in_ms((now - self.taken_at + _LATE) * 1000)
        tokens, self.tokens = self.tokens, 0
        return max(0, int(tokens - gain)) if self.decision.source == "server" else 0

    def count(self, cost: int, now: float) -> None:
        """Counts the use in spans of HOLD."""
        passed = now - self._since
        if passed >= HOLD:
            self._used_before = self._used if passed < 2 * HOLD else 0
            self._since, self._used = now, 0
        self._used += cost

    def batch(self, now: float) -> int:
        """Returns the size of the next batch."""
        if now < self.short_until:
            return 0
        before = max(0.0, 1 - (now - self._since) / HOLD)
        return min(int(self._used + self._used_before * before), self.burst // _PART)
