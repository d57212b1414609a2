"""An estimate that is charged while a body runs, and settled once. Follows the four rules for callers:
one id for one piece of work; the call is repeated unchanged; whatever may be open is settled until a
reply arrives; on -1 what was used is charged with FORCE, once, within a minute."""

from __future__ import annotations

import asyncio
import time
import uuid
from types import TracebackType
from typing import TYPE_CHECKING

import redis.exceptions

from . import commands
from .commands import Key, Limit
from .decision import Decisions
from .failure import Outage, log

if TYPE_CHECKING:
    from .limiter import AsyncLimiter

_TRIES = 3
_MINUTE = 60.0
"""Seconds after which nobody knows any more what became of an id."""


class Denied(Exception):
    """A limit denies, and nothing is charged. `decisions.each` says which."""

    def __init__(self, decisions: Decisions) -> None:
        super().__init__(f"denied; retry after {decisions.retry_after} s")
        self.decisions = decisions


class HoldEnded(Exception):
    """Somebody else settled the hold: the body was cancelled."""


class Reservation:
    """Made by `AsyncLimiter.reserve`.

    used    what the body used, by key
    denied  whether a repeat was denied: a lease ended, or what was refunded did not fit any more. Finish or
            stop; it is settled either way
    """

    def __init__(
        self, limiter: AsyncLimiter, limits: tuple[Limit, ...], holds: Key, ttl: float, id: str | None, charge: bool
    ) -> None:
        self.id = id or str(uuid.uuid4())
        self.used: dict[Key, int] = {}
        self.denied = False
        self._limiter, self._limits, self._ttl = limiter, limits, ttl
        self._hold = commands.hold(holds, ttl, self.id, charge=charge)
        self._charge = commands.all(*limits, self._hold)
        self._ended = False

    async def __aenter__(self) -> Reservation:
        for left in reversed(range(_TRIES)):
            try:
                decisions = await self._limiter._run(self._charge)
                break
            except Outage:
                # It may have been charged.
                if not left:
                    await self._settle(was_done=False)
                    raise
            except asyncio.CancelledError:
                await self._settle(was_done=False)
                raise
        if not decisions.allowed:
            if decisions.each[-1].taken:  # A repeat was denied: the hold is open.
                await self._settle(was_done=False)
            raise Denied(decisions)
        body = asyncio.current_task()
        assert body is not None
        self._body, self._cancelling = body, body.cancelling()
        self._beat = asyncio.create_task(self._repeat())
        return self

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._ttl / 3)
            try:
                self.denied = not await self._limiter._run(self._charge, timeout=self._ttl / 3)
            except Outage:
                continue  # The hold stays open: the next repeat may reach the server.
            except redis.exceptions.ResponseError:  # It was settled: logged by the limiter.
                self._ended = True
                self._body.cancel()
                return

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beat.cancel()
        await asyncio.wait((self._beat,))
        if not self._ended:
            return await self._settle(was_done=kind is None)
        if self._body.uncancel() <= self._cancelling and kind in (asyncio.CancelledError, None):
            raise HoldEnded(f"hold {self.id} was settled") from error

    async def _settle(self, was_done: bool) -> None:
        """Settles now, or, if the server does not answer, in the background until it does."""
        amounts = [(one, self.used.get(one.key, one.cost or 0) if was_done else 0) for one in self._limits]
        settling = asyncio.create_task(self._settle_until_answered(amounts))
        _background.add(settling)
        settling.add_done_callback(_background.discard)
        # A cancelled caller does not cancel the settlement.
        await asyncio.wait((settling,), timeout=_TRIES * self._limiter.timeout)

    async def _settle_until_answered(self, amounts: list[tuple[Limit, int]]) -> None:
        began = time.monotonic()
        call = commands.settle(*amounts, (self._hold, 0))
        while True:
            try:
                state = (await self._limiter._run(call)).state
                break
            except Outage:
                if time.monotonic() - began > _MINUTE:
                    log.error("rate limiter: hold %s could not be settled within a minute", self.id)
                    return
                await asyncio.sleep(min(1.0, self._limiter.timeout))
            except redis.exceptions.RedisError:
                return  # A mistake, which is logged.
        if state < 0 and time.monotonic() - began < _MINUTE:
            for limit, used in amounts:
                if used and limit.cost is not None:
                    await self._force(limit, used)

    async def _force(self, limit: Limit, used: int) -> None:
        """Charges what was used, once: it is not sent again after a lost reply."""
        command = "RL.TAKE" if limit.named[0] == "BUCKET" else "RL.WTAKE"
        words = (command, limit.key, *limit.named[1:], "COST", used, "FORCE")
        try:
            await self._limiter._run(commands.Call(words, limit.key, lambda reply: reply))
        except (Outage, redis.exceptions.RedisError):
            pass  # It is logged.


_background: set[asyncio.Task[None]] = set()
"""Settlements that go on after their caller. The event loop itself keeps only weak references."""
