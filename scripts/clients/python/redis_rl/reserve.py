"""An estimate that is charged while a body runs, and settled once. Follows the four rules for callers:
one id for one piece of work; the call is repeated unchanged; whatever may be open is settled until a
reply arrives; on -1 what was used is charged with FORCE, once, within a minute."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from types import TracebackType
from typing import Any, TypeGuard

import redis.exceptions

from . import commands
from .commands import Key, Limit
from .decision import Decisions
from .failure import Outage, log
from .runner import AsyncRunner, Runner

_TRIES = 3
_MINUTE = 60.0
"""Seconds after which nobody knows any more what became of an id."""


class Denied(Exception):
    """Nothing is charged, because the limits of `keys` deny."""

    def __init__(self, decisions: Decisions, keys: tuple[Key, ...]) -> None:
        wait = decisions.retry_after
        retry = "retrying does not help" if wait is None else f"retry after {wait} s"
        super().__init__(f"denied by {', '.join(map(str, keys))}; {retry}")
        self.decisions, self.keys = decisions, keys


class HoldEnded(Exception):
    """Somebody else settled the hold while the body ran."""


class _Reservation:
    """A reservation of either kind.

    used    what the body used, by key: it is charged even if the body raises. A limit without an amount is
            charged its cost, or 0 if the body raises
    denied  whether a repeat was denied: a lease ended, or what was refunded did not fit any more. Finish or
            stop; it is settled either way
    """

    def __init__(self, limits: tuple[Limit, ...], holds: Key, ttl: float, id: str | None, charge: bool) -> None:
        self.id = id or str(uuid.uuid4())
        self.used: dict[Key, int] = {}
        self.denied = False
        self._limits, self._ttl = limits, ttl
        self._hold = commands.hold(holds, ttl, self.id, charge=charge)
        self._charge = commands.all(*limits, self._hold)

    def _refusal(self, decisions: Decisions) -> Denied:
        limits = (*self._limits, self._hold)
        return Denied(decisions, tuple(one.key for one, each in zip(limits, decisions.each) if not each.allowed))

    def _settlement(self, was_done: bool) -> _Settlement:
        def amount(limit: Limit) -> int:
            used = self.used.get(limit.key)
            return used if _is_amount(used) else (limit.cost or 0) if was_done else 0

        return _Settlement(self.id, self._hold, [(limit, amount(limit)) for limit in self._limits])

    def _check_used(self) -> None:
        """Raises ValueError if `used` has an entry that no settlement can charge."""
        keys = {limit.key for limit in self._limits if limit.cost is not None}
        for key, used in self.used.items():
            if key not in keys:
                raise ValueError(f"`used` has the key {key!r}, but the limits are {sorted(map(str, keys))}")
            if not _is_amount(used):
                raise ValueError(f"`used` of {key!r} must be a whole number from 0 on, not {used!r}")


def _is_amount(used: object) -> TypeGuard[int]:
    return isinstance(used, int) and used >= 0


class _Settlement:
    """The calls that settle a hold once."""

    def __init__(self, id: str, hold: Limit, amounts: list[tuple[Limit, int]]) -> None:
        self.call = commands.settle(*amounts, (hold, 0))
        self._id, self._amounts = id, amounts
        self._began = time.monotonic()

    def is_too_late(self) -> bool:
        """Whether nobody may know any more what became of the hold."""
        return time.monotonic() - self._began > _MINUTE

    def give_up(self) -> None:
        log.error("rate limiter: hold %s could not be settled within a minute", self._id)

    def forced(self, state: int) -> list[commands.Call[Any]]:
        """Returns the calls that charge what was used if the reply says that the hold is not known. Each is
        sent once: not again after a lost reply."""
        if state >= 0 or self.is_too_late():
            return []
        calls = []
        for limit, used in self._amounts:
            if used and limit.cost is not None:
                command = "RL.TAKE" if limit.named[0] == "BUCKET" else "RL.WTAKE"
                words = (command, limit.key, *limit.named[1:], "COST", used, "FORCE")
                calls.append(commands.Call(words, limit.key, lambda reply: reply))
        return calls


class AsyncReservation(_Reservation):
    """Made by `AsyncLimiter.reserve`. If somebody else settles the hold, the body is cancelled and HoldEnded is
    raised."""

    def __init__(self, limiter: AsyncRunner, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._limiter = limiter
        self._ended = False

    async def __aenter__(self) -> AsyncReservation:
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
            raise self._refusal(decisions)
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
            await self._settle(was_done=kind is None)
            return self._check_used() if kind is None else None
        if self._body.uncancel() <= self._cancelling and kind in (asyncio.CancelledError, None):
            raise HoldEnded(f"hold {self.id} was settled") from error

    async def _settle(self, was_done: bool) -> None:
        """Settles now, or, if the server does not answer, in the background until it does."""
        settling = asyncio.create_task(self._settle_until_answered(self._settlement(was_done)))
        _background.add(settling)
        settling.add_done_callback(_background.discard)
        # A cancelled caller does not cancel the settlement.
        await asyncio.wait((settling,), timeout=_TRIES * self._limiter.timeout)

    async def _settle_until_answered(self, settlement: _Settlement) -> None:
        while True:
            try:
                state = (await self._limiter._run(settlement.call)).state
                break
            except Outage:
                if settlement.is_too_late():
                    return settlement.give_up()
                await asyncio.sleep(min(1.0, self._limiter.timeout))
            except redis.exceptions.RedisError:
                return  # A mistake, which is logged.
        for call in settlement.forced(state):
            try:
                await self._limiter._run(call)
            except (Outage, redis.exceptions.RedisError):
                pass  # It is logged.


_background: set[asyncio.Task[None]] = set()
"""Settlements that go on after their caller. The event loop itself keeps only weak references."""


class Reservation(_Reservation):
    """Made by `Limiter.reserve`. A thread cannot be cancelled: look at `ended`, or call `check`, between steps."""

    def __init__(self, limiter: Runner, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._limiter = limiter
        self._finished = threading.Event()
        self._ended = threading.Event()

    @property
    def ended(self) -> bool:
        """Whether somebody else settled the hold."""
        return self._ended.is_set()

    def check(self) -> None:
        """Raises HoldEnded if somebody else settled the hold."""
        if self.ended:
            raise HoldEnded(f"hold {self.id} was settled")

    def __enter__(self) -> Reservation:
        for left in reversed(range(_TRIES)):
            try:
                decisions = self._limiter._run(self._charge)
                break
            except Outage:
                # It may have been charged.
                if not left:
                    self._settle(was_done=False)
                    raise
            except KeyboardInterrupt:
                self._settle(was_done=False)
                raise
        if not decisions.allowed:
            if decisions.each[-1].taken:  # A repeat was denied: the hold is open.
                self._settle(was_done=False)
            raise self._refusal(decisions)
        self._heart = threading.Thread(target=self._repeat, name="redis_rl hold", daemon=True)
        self._heart.start()
        return self

    def _repeat(self) -> None:
        while not self._finished.wait(self._ttl / 3):
            try:
                self.denied = not self._limiter._run(self._charge, timeout=self._ttl / 3)
            except Outage:
                continue  # The hold stays open: the next repeat may reach the server.
            except redis.exceptions.ResponseError:  # It was settled: logged by the limiter.
                return self._ended.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finished.set()
        self._heart.join()  # A repeat that comes after the settlement would be refused.
        if not self.ended:
            self._settle(was_done=kind is None)
            return self._check_used() if kind is None else None
        if kind is None:
            self.check()

    def _settle(self, was_done: bool) -> None:
        """Settles now, or, if the server does not answer, on a thread of its own until it does."""
        settlement = self._settlement(was_done)
        settling = threading.Thread(
            target=self._settle_until_answered, args=(settlement,), name="redis_rl settlement", daemon=True
        )
        settling.start()
        settling.join(_TRIES * self._limiter.timeout)

    def _settle_until_answered(self, settlement: _Settlement) -> None:
        while True:
            try:
                state = self._limiter._run(settlement.call).state
                break
            except Outage:
                if settlement.is_too_late():
                    return settlement.give_up()
                time.sleep(min(1.0, self._limiter.timeout))
            except redis.exceptions.RedisError:
                return  # A mistake, which is logged.
        for call in settlement.forced(state):
            try:
                self._limiter._run(call)
            except (Outage, redis.exceptions.RedisError):
                pass  # It is logged.
