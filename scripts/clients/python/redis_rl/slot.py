"""A slot that is held while a body runs."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from types import TracebackType

from . import commands
from .commands import Key
from .decision import Decision
from .failure import Outage, log
from .runner import AsyncRunner, Runner

_TRIES = 3
"""Times that a call is sent whose repetition is free: an acquire by the same token, a release."""


class NoSlot(Exception):
    """All slots are held. `decision.retry_after` is a hint."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"all {decision.limit} slots are held")
        self.decision = decision


class SlotLost(Exception):
    """The slot ended while the body ran: somebody else may hold it."""


class _Slot:
    """`ends` is the time until which the slot is held for certain, by this machine's clock: it counts from
    before the call, so it is over here before it is over there."""

    def __init__(self, key: Key, limit: int, ttl: float, token: str | None, keep: int, wait: float) -> None:
        if not commands.millis(ttl) >= 10:
            raise ValueError(f"ttl must be at least 0.01 seconds, not {ttl}")
        self.key, self.limit, self.ttl, self.keep, self.wait = key, limit, ttl, keep, wait
        self.token = token or str(uuid.uuid4())
        self.ends = 0.0

    def _acquire(self) -> commands.Call[Decision]:
        return commands.acquire(self.key, self.limit, self.ttl, self.token, keep=self.keep, wait=self.wait)

    def _granted(self, decision: Decision, asked: float) -> None:
        if not decision.allowed:
            raise NoSlot(decision)
        # A wait may have taken most of the time since `asked`; the ttl starts when the slot is granted.
        self.ends = (time.monotonic() if self.wait else asked) + self.ttl


class AsyncSlot(_Slot):
    """Made by `AsyncLimiter.slot`. If the slot is lost, the body is cancelled and SlotLost is raised."""

    def __init__(self, limiter: AsyncRunner, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._limiter = limiter
        self._lost = False

    async def __aenter__(self) -> AsyncSlot:
        for left in reversed(range(_TRIES)):
            asked = time.monotonic()
            try:
                if self.wait:
                    self._granted(await self._limiter._run_waiting(self._acquire(), self.wait), asked)
                else:
                    self._granted(await self._limiter._run(self._acquire()), asked)
                break
            except Outage:
                if not left:
                    raise
        body = asyncio.current_task()
        assert body is not None
        self._cancelling = body.cancelling()
        self._body = body
        self._beat = asyncio.create_task(self._renew())
        return self

    async def _renew(self) -> None:
        """Renews at a third of the ttl, so that two renewals may fail."""
        renewal = commands.renew(self.key, self.ttl, self.token)
        while True:
            await asyncio.sleep(max(0.0, min(self.ttl / 3, self.ends - time.monotonic())))
            asked = time.monotonic()
            renewed = 0
            try:
                if asked < self.ends:
                    call = self._limiter._run(renewal, timeout=self.ttl / 3)
                    renewed = await asyncio.wait_for(call, self.ends - asked)
            except (Outage, TimeoutError):
                if time.monotonic() < self.ends:
                    continue  # The slot is still held: the next renewal may reach the server.
            except Exception:
                pass  # It is logged.
            if not renewed:
                self._lost = True
                self._body.cancel()
                return
            self.ends = asked + self.ttl

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beat.cancel()
        await asyncio.wait((self._beat,))
        # A late renewal cannot bring back what is released: that one returns 0.
        for _ in range(_TRIES):
            try:
                await asyncio.shield(self._limiter._run(commands.release(self.key, self.token)))
                break
            except Outage:
                continue  # At last it expires by itself.
        if self._lost:
            if self._body.uncancel() <= self._cancelling and kind in (asyncio.CancelledError, None):
                raise SlotLost(f"the slot of {self.token} ended") from error


class Slot(_Slot):
    """Made by `Limiter.slot`. A thread cannot be cancelled: look at `lost`, or call `check`, between steps."""

    def __init__(self, limiter: Runner, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._limiter = limiter
        self._ended = threading.Event()
        self._lost = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether the slot has ended: somebody else may hold it."""
        return self._lost.is_set() or time.monotonic() >= self.ends

    def check(self) -> None:
        """Raises SlotLost if the slot has ended."""
        if self.lost:
            raise SlotLost(f"the slot of {self.token} ended")

    def __enter__(self) -> Slot:
        for left in reversed(range(_TRIES)):
            asked = time.monotonic()
            try:
                if self.wait:
                    self._granted(self._limiter._run_waiting(self._acquire(), self.wait), asked)
                else:
                    self._granted(self._limiter._run(self._acquire()), asked)
                break
            except Outage:
                if not left:
                    raise
        self._heart = threading.Thread(target=self._renew, name="redis_rl slot", daemon=True)
        self._heart.start()
        return self

    def _renew(self) -> None:
        """Renews at a third of the ttl, so that two renewals may fail."""
        renewal = commands.renew(self.key, self.ttl, self.token)
        while not self._ended.wait(self.ttl / 3):
            asked = time.monotonic()
            try:
                renewed = self._limiter._run(renewal, timeout=self.ttl / 3)
            except Outage:
                continue  # Until it ends the slot is held: the next renewal may reach the server.
            except Exception as error:
                log.error("rate limiter: no renewal: %s", error)
                renewed = 0
            if not renewed:
                return self._lost.set()
            self.ends = asked + self.ttl

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._heart.join()  # A late renewal cannot bring back what is released: that one returns 0.
        for _ in range(_TRIES):
            try:
                self._limiter._run(commands.release(self.key, self.token))
                break
            except Outage:
                continue  # At last it expires by itself.
        if kind is None:
            self.check()
