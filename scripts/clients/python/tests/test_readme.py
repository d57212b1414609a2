"""The applications of README, as they are printed there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from test_asgi import Site, fields_of

README = (Path(__file__).parents[1] / "README.md").read_text()


def application(heading: str, url: str) -> Any:
    """Returns the application of the first block of code below this heading."""
    found = re.search(rf"^## {heading}.*?```python\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    assert found and len(found[1].strip().splitlines()) <= 10
    names: dict[str, Any] = {"__name__": "app"}
    exec(found[1].replace("redis://localhost", url), names)
    # A busy machine answers in time all the same.
    names["limiter"].timeout = 30
    return names["app"]


def test_fastapi(server) -> None:
    async def test() -> None:
        site = Site.__new__(Site)
        site.app = application("FastAPI", server.url)
        site.app.get("/")(lambda: "Hello")
        statuses = []
        for _ in range(21):
            start = (await site.ask(headers=[(b"x-api-key", b"me")]))[0]
            statuses.append(start["status"])
            assert fields_of(start)["ratelimit-policy"] == '"default";q=20;w=12'
        assert statuses[:20] == [200] * 20 and await site.status() == 200

    asyncio.run(asyncio.wait_for(test(), 120))


def test_flask(server) -> None:
    app = application("Flask", server.url)
    app.add_url_rule("/", "hello", lambda: "Hello")
    ask = app.test_client().get
    answers = [ask("/", headers={"X-Api-Key": "me"}) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["RateLimit-Policy"] == '"default";q=20;w=12' and ask("/").status_code == 200
