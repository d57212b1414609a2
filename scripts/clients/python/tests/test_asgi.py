"""The ASGI middleware, in Starlette and alone, over a real server."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import redis
import redis.asyncio
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from redis_rl import AsyncLimiter, Caller
from redis_rl.asgi import RateLimit
from server import Server, patient, until

ORIGIN = (b"origin", b"https://page.example")


async def hello(request):
    return PlainTextResponse("Hello\n", headers={"X-App": "1"})


async def echo(socket):
    await socket.accept()
    await socket.close()


class Site:
    """An application behind the middleware, asked without a network."""

    def __init__(self, port: int, rate="1/h", burst=2, *, cors=None, limiter={}, **arguments) -> None:
        self.redis = patient(redis.asyncio.Redis, port)
        self.limiter = AsyncLimiter(self.redis, **{"timeout": 30, **limiter})
        self.app = Starlette(routes=[Route("/{path:path}", hello), WebSocketRoute("/ws", echo)])
        if cors == "inside":
            self.app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
        self.app.add_middleware(RateLimit, limiter=self.limiter, rate=rate, burst=burst, **arguments)
        if cors == "outside":
            self.app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])

    async def ask(self, path="/", method="GET", headers=(), client=("127.0.0.1", 1), kind="http", extensions=None):
        scope = {
            "type": kind, "path": path, "raw_path": path.encode(), "query_string": b"", "method": method,
            "headers": [(b"host", b"localhost"), *headers], "client": client, "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws", "server": ("localhost", 80), "root_path": "",
            "extensions": extensions or {}, "subprotocols": [],
        }
        sent = []
        first = "websocket.connect" if kind == "websocket" else "http.request"

        async def receive():
            return {"type": first, "body": b""}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        return sent

    async def status(self, *args, **kwargs):
        return (await self.ask(*args, **kwargs))[0]["status"]


@asynccontextmanager
async def site(*args, **kwargs):
    made = Site(*args, **kwargs)
    yield made
    await made.redis.aclose()


def run(test):
    asyncio.run(asyncio.wait_for(test, 120))


def fields_of(message) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in message["headers"]}


def test_request_is_allowed_then_denied_with_its_fields(server) -> None:
    async def test():
        async with site(server.port) as s:
            first = fields_of((await s.ask())[0])
            assert first["ratelimit-policy"] == '"default";q=2;w=7200' and first["ratelimit"] == '"default";r=1;t=3600'
            assert first["x-app"] == "1" and "retry-after" not in first
            await s.ask()
            start, body = await s.ask()
            denied = fields_of(start)
            assert start["status"] == 429 and body["body"] == b"Too many requests\n"
            assert denied["ratelimit"] == '"default";r=0;t=' + denied["retry-after"]
            assert 3000 <= int(denied["retry-after"]) <= 3600

    run(test())


def test_skip_cost_and_key_are_functions(server) -> None:
    async def test():
        async def key(scope):
            return "limit:" + scope["path"]

        arguments = dict(
            key=key, skip=lambda scope: scope["path"] == "/healthz", cost=lambda scope: 2 if scope["path"] == "/big" else 1
        )
        async with site(server.port, **arguments) as s:
            assert [await s.status("/healthz") for _ in range(4)] == [200] * 4
            assert [await s.status("/big") for _ in range(2)] == [200, 429]
            assert [await s.status("/small") for _ in range(3)] == [200, 200, 429]
            assert s.limiter.counts.answered == 5

    run(test())


def test_unix_socket_and_odd_addresses_share_a_bucket_instead_of_failing(server) -> None:
    async def test():
        async with site(server.port, burst=3) as s:
            got = [await s.status(client=client) for client in (None, ("", 0), ("testclient", 1), None)]
            assert got == [200, 200, 200, 429]

    run(test())


def test_callers_behind_a_proxy_are_told_apart(server) -> None:
    async def test():
        async with site(server.port, burst=1, key=Caller(trusted=["127.0.0.1"])) as s:
            def via(text):
                return s.status(headers=[(b"x-forwarded-for", text)])

            # Another port each time, as Azure's gateway writes it.
            assert [await via(b"203.0.113.7:%d" % port) for port in (40060, 40061)] == [200, 429]
            assert await via(b"203.0.113.8") == 200
            assert [await via(b"unknown"), await via(b"aaa")] == [200, 429]

    run(test())


def test_header_given_twice_or_with_a_comma_charges_the_address(server) -> None:
    async def test():
        async with site(server.port, burst=1, key=Caller(header="X-Api-Key")) as s:
            a, b = (b"x-api-key", b"a"), (b"x-api-key", b"b")
            assert [await s.status(headers=headers) for headers in ([a, b], [a, a], [(b"x-api-key", b"a,b")])] == [200, 429, 429]
            assert [await s.status(headers=[one]) for one in (a, b)] == [200, 200]

    run(test())


@pytest.mark.parametrize("cors", ["inside", "outside"])
def test_preflight_is_never_charged(server, cors) -> None:
    async def test():
        async with site(server.port, burst=1, cors=cors) as s:
            headers = [ORIGIN, (b"access-control-request-method", b"POST")]
            for _ in range(3):
                assert await s.status(method="OPTIONS", headers=headers) == 200
            assert await s.status() == 200
            assert await s.status(method="OPTIONS", headers=headers) == 200

    run(test())


def test_denial_inside_cors_is_readable_by_a_page(server) -> None:
    async def test():
        async with site(server.port, burst=1, cors="outside") as s:
            for status in (200, 429):
                start = (await s.ask(headers=[ORIGIN]))[0]
                assert start["status"] == status
                got = fields_of(start)
                assert got["access-control-allow-origin"] == "*"
                assert got["access-control-expose-headers"] == "RateLimit, RateLimit-Policy, Retry-After"
            assert "access-control-expose-headers" not in fields_of((await s.ask())[0])

    run(test())


def test_websocket_handshake_is_charged(server) -> None:
    async def test():
        async with site(server.port) as s:
            accepted = await s.ask("/ws", kind="websocket")
            assert accepted[0]["type"] == "websocket.accept"
            assert fields_of(accepted[0])["ratelimit"] == '"default";r=1;t=3600'
            await s.ask("/ws", kind="websocket")
            [closed] = await s.ask("/ws", kind="websocket")
            assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
            start, _ = await s.ask("/ws", kind="websocket", extensions={"websocket.http.response": {}})
            assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
            assert "retry-after" in fields_of(start)

    run(test())


def test_closed_policy_answers_503(server) -> None:
    async def test():
        async with site(1, limiter={"on_error": "closed", "timeout": 0.05}) as s:
            start = (await s.ask())[0]
            got = fields_of(start)
            assert start["status"] == 503 and got["retry-after"] == "1" and "ratelimit" not in got

    run(test())


def test_missing_module_fails_at_start_and_at_each_request(caplog) -> None:
    bare = Server(module=False)

    async def test():
        async with site(bare.port) as s:
            messages = iter([{"type": "lifespan.startup"}])
            sent = []

            async def receive():
                return next(messages)

            async def send(message):
                sent.append(message)

            with pytest.raises(redis.ResponseError):
                await s.app({"type": "lifespan", "app": s.app, "state": {}}, receive, send)
            assert sent[0]["type"] == "lifespan.startup.failed" and "unknown command" in sent[0]["message"]
            with pytest.raises(redis.ResponseError, match="unknown command"):
                await s.ask()

    run(test())
    bare.stop()
    assert "unknown command" in caplog.text


def test_server_away_at_start_is_only_logged(caplog) -> None:
    async def test():
        async with site(1, limiter={"timeout": 0.05}) as s:
            await s.limiter.check()

    run(test())
    assert caplog.records[0].levelno == logging.WARNING


APP = """
import sys
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from redis_rl import AsyncLimiter
from redis_rl.asgi import RateLimit
import uvicorn

app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("Hello"))])
app.add_middleware(RateLimit, limiter=AsyncLimiter(Redis(port=int(sys.argv[1])), timeout=30), rate="1/h", burst=1)
uvicorn.run(app, uds=sys.argv[2], log_level="warning")
"""


def test_uvicorn_on_a_unix_socket(server, tmp_path) -> None:
    path = str(tmp_path / "s")
    process = subprocess.Popen([sys.executable, "-c", APP, str(server.port), path])

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return s.recv(64)

    def listens() -> bool:
        assert process.poll() is None
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                return True
        except OSError:
            return False

    try:
        until(listens)
        assert [ask()[9:12] for _ in range(2)] == [b"200", b"429"]
    finally:
        process.kill()
        process.wait()
