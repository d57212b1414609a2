"""Middleware for WSGI: Flask, Django, Pyramid, Bottle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import fields
from .caller import Caller
from .decision import Decision
from .limiter import Limiter
from .rate import Rate, rate as parse_rate

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class RateLimit:
    """Charges each request to its caller. The arguments are those of `redis_rl.asgi.RateLimit`, with
    functions of the WSGI environment.

    Place it inside the CORS middleware, or a 429 lacks the fields of CORS. The server is asked once when
    the middleware is made, so that a mistake is seen there.
    """

    def __init__(
        self,
        app: WSGIApplication,
        limiter: Limiter,
        rate: str | int | float | Rate,
        burst: int,
        *,
        key: Caller | Callable[[WSGIEnvironment], str] = Caller(),
        skip: Callable[[WSGIEnvironment], bool] = lambda environ: False,
        cost: int | Callable[[WSGIEnvironment], int] = 1,
        expose: bool = True,
    ) -> None:
        self.app, self.limiter = app, limiter
        self._rate, self._burst = parse_rate(rate), burst
        self._policy = fields.policy(self._rate, burst)
        self._key, self._skip, self._cost, self._expose = key, skip, cost, expose
        prefix = key.prefix if isinstance(key, Caller) else "limit:"
        limiter.check(f"{prefix}check")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if _is_preflight(environ) or self._skip(environ):
            return self.app(environ, start_response)
        cost = self._cost(environ) if callable(self._cost) else self._cost
        decision = self.limiter.take(self._key_of(environ), self._rate, self._burst, cost=cost)
        added = fields.of(decision, self._policy)
        if self._expose and environ.get("HTTP_ORIGIN"):
            added.append(("Access-Control-Expose-Headers", fields.EXPOSED))
        if not decision.allowed:
            return _refuse(start_response, decision, added)

        def start_with_fields(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, *added], *error)

        return self.app(environ, start_with_fields)

    def _key_of(self, environ: WSGIEnvironment) -> str:
        if not isinstance(self._key, Caller):
            return self._key(environ)
        forwarded = environ.get("HTTP_X_FORWARDED_FOR")
        name = "HTTP_" + self._key.header.upper().replace("-", "_") if self._key.header else None
        header = environ.get(name) if name else None
        return self._key.key(
            environ.get("REMOTE_ADDR") or None,
            [] if forwarded is None else [forwarded],
            [] if header is None else [header],
        )


def _is_preflight(environ: WSGIEnvironment) -> bool:
    return (
        environ["REQUEST_METHOD"] == "OPTIONS"
        and "HTTP_ORIGIN" in environ
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def _refuse(start_response: StartResponse, decision: Decision, added: list[tuple[str, str]]) -> Iterable[bytes]:
    if decision.source == "policy":
        status, body = "503 Service Unavailable", b"Rate limiter unavailable\n"
    else:
        status, body = "429 Too Many Requests", b"Too many requests\n"
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, *added])
    return [body]
