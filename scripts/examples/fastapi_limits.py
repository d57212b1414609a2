"""Rate limits for FastAPI and other ASGI frameworks, with RL.TAKE.

pip install fastapi uvicorn redis
"""

import asyncio
import logging
import math
import os
import re
import time

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

RATE, BURST = "100/m", 20
POLICY = '"default";q=20;w=12'  # w: seconds in which an empty bucket fills.
TIMEOUT = 0.05  # In seconds, for all calls of one request.


def key_of(scope):
    """Returns the key of a request. Authenticate first: every invented API key gets a new bucket."""
    name = dict(scope["headers"]).get(b"x-api-key", b"").decode("latin-1")
    if re.fullmatch(r"[A-Za-z0-9._~+/=-]{1,64}", name):
        return f"limit:key:{name}"
    return f"limit:ip:{scope['client'][0]}"


class RateLimit:
    def __init__(self, app, redis):
        self.app, self.redis, self.warned = app, redis, -math.inf

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            async with asyncio.timeout(TIMEOUT):
                command = ("RL.TAKE", key_of(scope), RATE, BURST)
                taken, _, left, wait_ms, reset_ms = await self.redis.execute_command(*command)
        except (RedisError, OSError) as error:  # asyncio's TimeoutError is an OSError.
            self.warn(error)
            return await self.app(scope, receive, send)
        seconds = math.ceil((reset_ms if taken else wait_ms) / 1000)
        state = f'"default";r={left};t={seconds}'
        fields = [(b"ratelimit-policy", POLICY.encode()), (b"ratelimit", state.encode())]

        async def send_with_fields(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *fields]
            await send(message)

        refusal = PlainTextResponse("Too many requests\n", 429, {"Retry-After": str(seconds)})
        await (self.app if taken else refusal)(scope, receive, send_with_fields)

    def warn(self, error):
        if time.monotonic() - self.warned >= 1:  # One line a second is enough.
            self.warned = time.monotonic()
            logging.warning("rate limiter failed open: %r", error)


url = os.environ.get("REDIS_URL", "redis://localhost")
# Without this the client waits and retries, while the request could proceed.
once = Retry(NoBackoff(), 0)
app = FastAPI()
app.add_middleware(RateLimit, redis=Redis.from_pool(BlockingConnectionPool.from_url(url, retry=once)))


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "Hello\n"


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", 8000)), log_level="warning")
