"""The WSGI middleware, in Flask and alone, over a real server."""

from __future__ import annotations

import pytest
import redis
from flask import Flask

from redis_rl import Caller, Limiter
from redis_rl.wsgi import RateLimit
from server import Server, patient


@pytest.fixture
def site():
    opened = []

    def make(port, rate="1/h", burst=2, *, limiter={}, **arguments):
        app = Flask(__name__)
        app.add_url_rule("/", "root", lambda: "Hello\n")
        app.add_url_rule("/<path>", "any", lambda path: "Hello\n")
        client = patient(redis.Redis, port)
        opened.append(client)
        made = Limiter(client, **{"timeout": 30, **limiter})
        app.wsgi_app = RateLimit(app.wsgi_app, made, rate, burst, **arguments)
        return app.test_client()

    yield make
    for client in opened:
        client.close()


def test_request_is_allowed_then_denied_with_its_fields(server, site) -> None:
    ask = site(server.port).get
    first = ask("/")
    assert first.status_code == 200 and first.text == "Hello\n"
    assert first.headers["RateLimit-Policy"] == '"default";q=2;w=7200'
    assert first.headers["RateLimit"] == '"default";r=1;t=3600' and "Retry-After" not in first.headers
    ask("/")
    denied = ask("/")
    assert (denied.status_code, denied.text) == (429, "Too many requests\n")
    assert denied.headers["RateLimit"] == '"default";r=0;t=' + denied.headers["Retry-After"]


def test_skip_cost_and_key_are_functions(server, site) -> None:
    ask = site(
        server.port,
        key=lambda environ: "limit:" + environ["PATH_INFO"],
        skip=lambda environ: environ["PATH_INFO"] == "/healthz",
        cost=lambda environ: 2 if environ["PATH_INFO"] == "/big" else 1,
    ).get
    assert [ask("/healthz").status_code for _ in range(4)] == [200] * 4
    assert [ask("/big").status_code for _ in range(2)] == [200, 429]
    assert [ask("/small").status_code for _ in range(3)] == [200, 200, 429]


def test_missing_or_odd_address_shares_a_bucket_instead_of_failing(server, site) -> None:
    ask = site(server.port).get
    got = [ask("/", environ_overrides={"REMOTE_ADDR": address}).status_code for address in ("", "unix:", "aaa")]
    assert got == [200, 200, 429]


def test_callers_are_told_apart_by_header_and_behind_a_proxy(server, site) -> None:
    ask = site(server.port, burst=1, key=Caller(header="X-Api-Key", trusted=["127.0.0.1"])).get

    def status(**headers):
        return ask("/", headers={name.replace("_", "-"): value for name, value in headers.items()}).status_code

    assert [status(X_Api_Key="a"), status(X_Api_Key="a"), status(X_Api_Key="b")] == [200, 429, 200]
    assert [status(X_Forwarded_For=f"203.0.113.7:{port}") for port in (40060, 40061)] == [200, 429]
    assert [status(X_Forwarded_For="unknown"), status(X_Forwarded_For="aaa"), status()] == [200, 429, 429]


def test_header_given_twice_or_with_a_comma_charges_the_address(server, site) -> None:
    ask = site(server.port, burst=1, key=Caller(header="X-Api-Key")).get
    twice, comma = [("X-Api-Key", "a"), ("X-Api-Key", "b")], [("X-Api-Key", "a,b")]
    assert [ask("/", headers=headers).status_code for headers in (twice, comma)] == [200, 429]
    assert ask("/", headers=[("X-Api-Key", "a")]).status_code == 200


def test_preflight_is_not_charged_and_fields_are_exposed_to_a_page(server, site) -> None:
    app = site(server.port, burst=1)
    page = {"Origin": "https://page.example"}
    for _ in range(3):
        assert app.options("/", headers={**page, "Access-Control-Request-Method": "POST"}).status_code == 200
    for status in (200, 429):
        answer = app.get("/", headers=page)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Expose-Headers"] == "RateLimit, RateLimit-Policy, Retry-After"
    assert "Access-Control-Expose-Headers" not in app.get("/").headers


def test_closed_policy_answers_503(site) -> None:
    answer = site(1, limiter={"on_error": "closed", "timeout": 0.05}).get("/")
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "1" and "RateLimit" not in answer.headers


def test_missing_module_fails_at_start(site) -> None:
    bare = Server(module=False)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        site(bare.port)
    bare.stop()
