"""Middleware for ASGI: FastAPI, Starlette, Litestar, Quart, Django. HTTP and WebSocket."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, TypeVar

from . import fields
from .caller import Caller
from .decision import Decision
from .limiter import AsyncLimiter
from .local import Local
from .rate import Rate, rate as parse_rate

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")
MaybeAsync: TypeAlias = T | Awaitable[T]


class RateLimit:
    """Charges each request and each WebSocket handshake to its caller.

    key     a Caller, or a function of the scope that returns the key
    skip    a function of the scope: True leaves the request alone (a health check). A preflight of CORS
            is never charged
    cost    a number, or a function of the scope
    expose  whether pages of another origin may read the fields

    Place it inside the CORS middleware, or a 429 lacks the fields of CORS, and the page sees only a
    network error. In Starlette and FastAPI the middleware that is added last is outermost: add this first.
    """

    def __init__(
        self,
        app: App,
        limiter: AsyncLimiter | Local,
        rate: str | int | float | Rate,
        burst: int,
        *,
        key: Caller | Callable[[Scope], MaybeAsync[str]] = Caller(),
        skip: Callable[[Scope], MaybeAsync[bool]] = lambda scope: False,
        cost: int | Callable[[Scope], MaybeAsync[int]] = 1,
        expose: bool = True,
    ) -> None:
        self.app, self.limiter = app, limiter
        self._rate, self._burst = parse_rate(rate), burst
        self._policy = fields.policy(self._rate, burst)
        self._key, self._skip, self._cost, self._expose = key, skip, cost, expose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            return await self._lifespan(scope, receive, send)
        if kind not in ("http", "websocket") or _is_preflight(scope) or await _value(self._skip(scope)):
            return await self.app(scope, receive, send)
        cost = await _value(self._cost(scope)) if callable(self._cost) else self._cost
        decision = await self.limiter.take(await self._key_of(scope), self._rate, self._burst, cost=cost)
        added = [(name.lower().encode(), value.encode()) for name, value in fields.of(decision, self._policy)]
        if self._expose and _header(scope, b"origin"):
            added.append((b"access-control-expose-headers", fields.EXPOSED.encode()))
        if decision.allowed:
            return await self.app(scope, receive, _with_fields(send, added))
        if kind == "websocket":
            return await _refuse_websocket(scope, receive, send, decision, added)
        await _refuse(send, "http.response", decision, added)

    async def _key_of(self, scope: Scope) -> str:
        if not isinstance(self._key, Caller):
            return await _value(self._key(scope))
        client = scope.get("client")
        forwarded = _header(scope, b"x-forwarded-for") if self._key.trusted else []
        header = _header(scope, self._key.header.lower().encode()) if self._key.header else []
        return self._key.key(
            client[0] if client else None, [line.decode("latin-1") for line in forwarded], header
        )

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Asks the server once at start, so that a mistake is seen there."""

        async def receive_and_check() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                prefix = self._key.prefix if isinstance(self._key, Caller) else "limit:"
                try:
                    await self.limiter.check(f"{prefix}check")
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": f"rate limiter: {error}"})
                    raise
            return message

        await self.app(scope, receive_and_check, send)


def _header(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _is_preflight(scope: Scope) -> bool:
    return bool(
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and _header(scope, b"origin")
        and _header(scope, b"access-control-request-method")
    )


async def _value(value: MaybeAsync[T]) -> T:
    if inspect.isawaitable(value):
        return await value
    return value


def _with_fields(send: Send, added: list[tuple[bytes, bytes]]) -> Send:
    async def send_with_fields(message: Message) -> None:
        if message["type"] in (
            "http.response.start",
            "websocket.accept",
            "websocket.http.response.start",
        ):
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return send_with_fields


async def _refuse(send: Send, kind: str, decision: Decision, added: list[tuple[bytes, bytes]]) -> None:
    status, body = (503, b"Rate limiter unavailable\n") if decision.source == "policy" else (429, b"Too many requests\n")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": f"{kind}.start", "status": status, "headers": [*headers, *added]})
    await send({"type": f"{kind}.body", "body": body})


async def _refuse_websocket(
    scope: Scope, receive: Receive, send: Send, decision: Decision, added: list[tuple[bytes, bytes]]
) -> None:
    await receive()  # websocket.connect
    if "websocket.http.response" in scope.get("extensions", {}):
        return await _refuse(send, "websocket.http.response", decision, added)
    await send({"type": "websocket.close", "code": 1008, "reason": "Too many requests"})
