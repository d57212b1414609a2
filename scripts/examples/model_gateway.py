"""A gateway before a language model: four limits at once, charged by estimate, corrected by use.

pip install fastapi uvicorn redis
"""

import asyncio
import logging
import math
import os
import re
import uuid

import uvicorn
from fastapi import FastAPI, Header
from fastapi.responses import JSONResponse, StreamingResponse
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

RATE, BURST = "60/m", 10  # Requests.
TOKEN_RATE, TOKEN_BURST = "10000/m", 20_000
MONTH = (2_000_000, "MONTH")  # Tokens.
STREAMS, TTL_MS = 5, int(os.environ.get("TTL_MS", 30_000))
NAMES = ("requests a minute", "tokens a minute", "tokens a month", "streams at once")


def keys_of(account):
    """Returns the keys, with one hash tag, so that they share a cluster slot."""
    return [f"{{llm:{account}}}:{name}" for name in ("rpm", "tpm", "month", "run")]


class Reservation:
    """Tokens charged in advance, and a slot."""

    def __init__(self, redis, account, estimate):
        self.redis, self.estimate = redis, estimate
        self.keys = keys_of(account)
        self.token = uuid.uuid4().hex  # One for each call: with ONCE a second try is free.

    async def reserve(self):
        """Returns the names of the limits that denied, and the milliseconds until all have enough."""
        command = ("RL.ALL", 4, *self.keys,
                   "BUCKET", RATE, BURST,
                   "BUCKET", TOKEN_RATE, TOKEN_BURST, "COST", self.estimate,
                   "WINDOW", *MONTH, "COST", self.estimate,
                   "LEASE", STREAMS, f"{TTL_MS}ms", self.token, "ONCE")
        for tries_left in (2, 1, 0):
            try:
                # The server's time is when the month is charged.
                pipe = self.redis.pipeline().time().execute_command(*command)
                (seconds, micros), (taken, wait_ms, each) = await pipe.execute()
                break
            except (RedisError, OSError):
                if not tries_left:
                    raise
        self.taken_at = seconds * 1000 + micros // 1000
        return [name for name, reply in zip(NAMES, each) if not taken and not reply[0]], wait_ms

    async def renew(self):
        """Renews the slot; returns 0 if it is lost."""
        return await self.redis.execute_command("RL.RENEW", self.keys[3], f"{TTL_MS}ms", self.token)

    async def settle(self, used):
        """Refunds what was reserved beyond `used`, or charges the difference, into debt if necessary."""
        _, tpm, month, run = self.keys
        more = used - self.estimate
        pipe = self.redis.pipeline()
        if more > 0:
            pipe.execute_command("RL.TAKE", tpm, TOKEN_RATE, TOKEN_BURST, "COST", more, "FORCE")
            pipe.execute_command("RL.WTAKE", month, *MONTH, "COST", more, "FORCE")
        elif more < 0:
            pipe.execute_command("RL.GIVE", tpm, TOKEN_RATE, TOKEN_BURST, "COST", -more)
            # To the month that it was charged to, which may be over.
            pipe.execute_command("RL.WGIVE", month, *MONTH, "COST", -more, "AT", self.taken_at)
        pipe.execute_command("RL.RELEASE", run, self.token)
        await pipe.execute()


async def model(tokens):
    """Stands for the model: yields `tokens` tokens."""
    for _ in range(tokens):
        yield "token "
        await asyncio.sleep(float(os.environ.get("SECONDS_A_TOKEN", 0)))


async def stream(reservation, tokens):
    used, lost = 0, asyncio.Event()

    async def beat():
        while not lost.is_set():
            await asyncio.sleep(TTL_MS / 3000)
            try:
                if not await reservation.renew():
                    lost.set()  # It ran out, and may be somebody else's by now.
            except (RedisError, OSError) as error:
                logging.warning("no renewal: %r", error)

    heart = asyncio.create_task(beat())
    try:
        async for token in model(tokens):
            used += 1
            yield token
            if lost.is_set():
                return
    finally:  # Also where the caller went away.
        heart.cancel()
        await asyncio.shield(asyncio.create_task(reservation.settle(used)))


url = os.environ.get("REDIS_URL", "redis://localhost")
pool = BlockingConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=0.5)
redis = Redis.from_pool(pool)
app = FastAPI()


@app.get("/")
async def answer(estimate: int, tokens: int, x_api_key: str = Header("nobody")):
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", x_api_key) or not 0 < estimate <= TOKEN_BURST:
        return JSONResponse({"error": "no such key, or an estimate that can never pass"}, 400)
    reservation = Reservation(redis, x_api_key, estimate)
    try:
        denied, wait_ms = await reservation.reserve()
    except (RedisError, OSError) as error:
        logging.warning("the limiter does not answer: %r", error)
        return JSONResponse({"error": "try again"}, 503)  # A model costs money: better closed.
    if denied:
        seconds = str(math.ceil(max(wait_ms, 1000) / 1000))
        return JSONResponse({"denied": denied, "wait_ms": wait_ms}, 429, {"Retry-After": seconds})
    return StreamingResponse(stream(reservation, tokens), media_type="text/plain")


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", 8000)), log_level="warning")
