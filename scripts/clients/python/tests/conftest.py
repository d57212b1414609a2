from __future__ import annotations

import asyncio
import inspect
from typing import Any, Iterator

import pytest
import redis
import redis.asyncio

from redis_rl import AsyncLimiter, Limiter
from server import Server, patient


@pytest.fixture(scope="session")
def shared() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(shared: Server) -> Server:
    """A server with nothing in it. Leave it as it is; one that is to fail is started by its test."""
    shared.client.flushall()
    return shared


class Calls:
    """A limiter of either kind, called alike."""

    def __init__(self, kind: str, port: int, url: str = "", connection: dict[str, Any] = {}, **arguments: Any) -> None:
        self.runner = asyncio.Runner()
        if kind == "async":
            self.redis: Any = patient(redis.asyncio.Redis, port, **connection)
            self.limiter: Any = AsyncLimiter(self.redis, **arguments)
        else:
            self.redis = patient(redis.Redis, port, **connection)
            self.limiter = Limiter(self.redis, **arguments)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.limiter, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            return self.runner.run(_awaited(result)) if inspect.isawaitable(result) else result

        return call

    def close(self) -> None:
        closed = getattr(self.redis, "aclose", self.redis.close)()
        if inspect.isawaitable(closed):
            self.runner.run(_awaited(closed))
        self.runner.close()


async def _awaited(value: Any) -> Any:
    return await value


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def limits(kind: str) -> Iterator[Any]:
    """Makes limiters: `limits(port, timeout=…)`."""
    made: list[Calls] = []

    def make(port: int, **arguments: Any) -> Calls:
        made.append(Calls(kind, port, **arguments))
        return made[-1]

    yield make
    for calls in made:
        calls.close()
