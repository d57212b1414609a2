"""The part of a limiter that slots and reservations use."""

from __future__ import annotations

from typing import Protocol, TypeVar

from .commands import Call
from .failure import Ask

T = TypeVar("T")


class AsyncRunner(Protocol):
    """An `AsyncLimiter`."""

    timeout: float

    async def _run(self, call: Call[T], ask: Ask | None = None, timeout: float | None = None) -> T: ...

    async def _run_waiting(self, call: Call[T], wait: float) -> T: ...


class Runner(Protocol):
    """A `Limiter`."""

    timeout: float

    def _run(self, call: Call[T], ask: Ask | None = None, timeout: float | None = None) -> T: ...

    def _run_waiting(self, call: Call[T], wait: float) -> T: ...
