"""Storages for the package `limits`, and so for slowapi and Flask-Limiter. Import this module once, then give
the URI ``redis-rl://localhost:6379/0`` or ``async+redis-rl://…`` (with TLS ``rediss-rl://``).

Fixed windows are windows of the server that begin with their first hit. The moving window and the sliding
window counter are both its sliding window: never more than the limit in any interval, and a hit is free
again at most a sixteenth of the window late.
"""

from __future__ import annotations

import time
from typing import Any, cast

import limits.aio.storage
import limits.storage
import redis
import redis.asyncio

_MOST = 10**11
"""The largest limit of a window: a counter alone has none."""
_SCHEMES = ("redis-rl", "rediss-rl")


def _redis_url(uri: str) -> str:
    scheme, _, rest = uri.removeprefix("async+").partition("-rl://")
    return f"{scheme}://{rest}"


def _incr(key: str, expiry: int, amount: int) -> tuple[str | int, ...]:
    return ("RL.WTAKE", key, _MOST, f"{expiry}s", "COST", amount, "FORCE")


def _peek(key: str) -> tuple[str | int, ...]:
    # What is stored keeps its own end, whatever the call names.
    return ("RL.WPEEK", key, _MOST, "1s")


def _used(reply: list[int]) -> int:
    return _MOST - reply[2]


def _acquire(key: str, limit: int, expiry: int, amount: int) -> tuple[str | int, ...]:
    return ("RL.WTAKE", key, limit, "SLIDING", f"{expiry}s", "COST", amount)


def _look(key: str, limit: int, expiry: int, cost: int) -> tuple[str | int, ...]:
    return ("RL.WPEEK", key, limit, "SLIDING", f"{expiry}s", "COST", cost)


class _Names:
    """The keys of a limit: a fixed and a sliding window cannot share one."""

    prefix: str

    def _fixed(self, key: str) -> str:
        return f"{self.prefix}fixed:{key}"

    def _sliding(self, key: str) -> str:
        return f"{self.prefix}sliding:{key}"


class RedisRlStorage(
    _Names,
    limits.storage.Storage,
    limits.storage.MovingWindowSupport,
    limits.storage.SlidingWindowCounterSupport,
):
    """For `limits`. `connection` is a client of yours, instead of one made of the URI."""

    STORAGE_SCHEME = list(_SCHEMES)

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        prefix: str = "LIMITS:",
        connection: redis.Redis | None = None,
        **options: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self.prefix = prefix
        self._redis: Any = connection or redis.Redis.from_url(_redis_url(uri), **options)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return redis.RedisError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return _used(self._redis.execute_command(*_incr(self._fixed(key), expiry, amount)))

    def get(self, key: str) -> int:
        return _used(self._redis.execute_command(*_peek(self._fixed(key))))

    def get_expiry(self, key: str) -> float:
        return time.time() + cast(float, self._redis.execute_command(*_peek(self._fixed(key)))[4]) / 1000

    def check(self) -> bool:
        try:
            self._redis.execute_command(*_peek(self._fixed("check")))
            return True
        except redis.RedisError:
            return False

    def reset(self) -> int | None:
        count = 0
        for key in self._redis.scan_iter(match=f"{self.prefix}*", count=1000):
            count += self._redis.delete(key)
        return count

    def clear(self, key: str) -> None:
        self._redis.delete(self._fixed(key), self._sliding(key))

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return bool(self._redis.execute_command(*_acquire(self._sliding(key), limit, expiry, amount))[0])

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        remaining = self._redis.execute_command(*_look(self._sliding(key), limit, expiry, 1))[2]
        if remaining == limit:
            return time.time(), 0
        # The wait for one more than is left ends when the oldest hit is free again.
        wait_ms = self._redis.execute_command(*_look(self._sliding(key), limit, expiry, remaining + 1))[3]
        return time.time() + max(0, wait_ms) / 1000 - expiry, limit - remaining

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self.acquire_entry(key, limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        reply = self._redis.execute_command(*_look(self._sliding(key), _MOST, expiry, 1))
        # One window that slides, instead of two that are weighted.
        return 0, 0.0, _used(reply), min(expiry - 0.001, reply[4] / 1000)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self.clear(key)


class AsyncRedisRlStorage(
    _Names,
    limits.aio.storage.Storage,
    limits.aio.storage.MovingWindowSupport,
    limits.aio.storage.SlidingWindowCounterSupport,
):
    """For `limits.aio`. `connection` is a client of yours, instead of one made of the URI."""

    STORAGE_SCHEME = [f"async+{scheme}" for scheme in _SCHEMES]

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        prefix: str = "LIMITS:",
        connection: redis.asyncio.Redis | None = None,
        **options: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self.prefix = prefix
        self._redis: Any = connection or redis.asyncio.Redis.from_url(_redis_url(uri), **options)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return redis.RedisError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return _used(await self._redis.execute_command(*_incr(self._fixed(key), expiry, amount)))

    async def get(self, key: str) -> int:
        return _used(await self._redis.execute_command(*_peek(self._fixed(key))))

    async def get_expiry(self, key: str) -> float:
        reply = await self._redis.execute_command(*_peek(self._fixed(key)))
        return time.time() + cast(float, reply[4]) / 1000

    async def check(self) -> bool:
        try:
            await self._redis.execute_command(*_peek(self._fixed("check")))
            return True
        except redis.RedisError:
            return False

    async def reset(self) -> int | None:
        count = 0
        async for key in self._redis.scan_iter(match=f"{self.prefix}*", count=1000):
            count += await self._redis.delete(key)
        return count

    async def clear(self, key: str) -> None:
        await self._redis.delete(self._fixed(key), self._sliding(key))

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return bool((await self._redis.execute_command(*_acquire(self._sliding(key), limit, expiry, amount)))[0])

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        remaining = (await self._redis.execute_command(*_look(self._sliding(key), limit, expiry, 1)))[2]
        if remaining == limit:
            return time.time(), 0
        # The wait for one more than is left ends when the oldest hit is free again.
        wait_ms = (await self._redis.execute_command(*_look(self._sliding(key), limit, expiry, remaining + 1)))[3]
        return time.time() + max(0, wait_ms) / 1000 - expiry, limit - remaining

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return await self.acquire_entry(key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        reply = await self._redis.execute_command(*_look(self._sliding(key), _MOST, expiry, 1))
        # One window that slides, instead of two that are weighted.
        return 0, 0.0, _used(reply), min(expiry - 0.001, reply[4] / 1000)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        await self.clear(key)
