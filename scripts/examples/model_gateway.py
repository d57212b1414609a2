"""A gateway before a language model: four limits at once, charged by estimate, corrected by use.

pip install fastapi uvicorn redis
"""

import asyncio
import logging
import math
import os
import re
import time
import uuid

import uvicorn
from fastapi import FastAPI, Header
from fastapi.responses import JSONResponse, StreamingResponse
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

RATE, BURST = "60/m", 10  # Requests.
TOKEN_RATE, TOKEN_BURST = "10000/m", 20_000
MONTH = (2_000_000, "MONTH")  # Tokens.
STREAMS, TTL_MS = 5, int(os.environ.get("TTL_MS", 30_000))
NAMES = ("requests a minute", "tokens a minute", "tokens a month", "streams at once")


def keys_of(account):
    """Returns the keys, with one hash tag, so that they share a cluster slot."""
    return [f"{{llm:{account}}}:{name}" for name in ("rpm", "tpm", "month", "run", "holds")]


def is_final(error):
    """Returns whether the server refuses the call itself, so that a retry is refused too.

    A lost connection passes, and so do the errors of a server that cannot write now.
    """
    passing = str(error).startswith(("BUSY ", "MISCONF ", "NOREPLICAS "))
    return isinstance(error, ResponseError) and not isinstance(error, ReadOnlyError) and not passing


class Reservation:
    """Tokens charged in advance, and a slot, until they are settled."""

    def __init__(self, redis, account, estimate):
        self.redis = redis
        self.keys = keys_of(account)
        self.id = uuid.uuid4().hex  # One for each request, the same for every retry.
        self.call = ("RL.ALL", 5, *self.keys,
                     "BUCKET", RATE, BURST,
                     "BUCKET", TOKEN_RATE, TOKEN_BURST, "COST", estimate,
                     "WINDOW", *MONTH, "COST", estimate,
                     "LEASE", STREAMS, f"{TTL_MS}ms", self.id,
                     "HOLD", f"{TTL_MS}ms", self.id)

    async def reserve(self):
        """Returns the names of the limits that denied, and the milliseconds until all have enough."""
        for tries_left in (2, 1, 0):
            try:
                # Unchanged after a lost reply: a repeat charges nothing.
                taken, wait_ms, each = await self.redis.execute_command(*self.call)
                break
            except (RedisError, OSError) as error:
                if is_final(error) or not tries_left:
                    keep(self.settle(0))  # An earlier try may have been charged.
                    raise
        if taken:
            return [], 0
        denied = [name for name, reply in zip(NAMES, each) if not reply[0]]
        is_open, _, free_places, _, _ = each[-1]
        if is_open:
            keep(self.settle(0))  # A repeat was denied, so the first call was charged.
        elif not free_places:
            denied.append("open requests")
        return denied, wait_ms

    async def renew(self):
        """Repeats the call; returns 0 if the slot is lost."""
        return (await self.redis.execute_command(*self.call))[0]

    async def settle(self, used):
        """Replaces the estimate by `used` and frees the slot, once, however often it is sent."""
        command = ("RL.SETTLE", 5, *self.keys,
                   "BUCKET", RATE, BURST, "USED", 1,
                   "BUCKET", TOKEN_RATE, TOKEN_BURST, "USED", used,
                   "WINDOW", *MONTH, "USED", used,
                   "LEASE", self.id, "HOLD", self.id)
        first_sent, pause = time.monotonic(), 0.1
        while True:
            try:
                status, *_ = await self.redis.execute_command(*command)
                break
            except (RedisError, OSError) as error:
                if is_final(error):
                    logging.error("%s, %s tokens used: not settled: %s", self.keys, used, error)
                    return
                logging.warning("no settlement yet: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 10)
        if status == -1 and used and time.monotonic() - first_sent < 60:
            # The hold is gone: it was lost with a master, or its key was deleted.
            await self.redis.execute_command(
                "RL.TAKE", self.keys[1], TOKEN_RATE, TOKEN_BURST, "COST", used, "FORCE")
            await self.redis.execute_command("RL.WTAKE", self.keys[2], *MONTH, "COST", used, "FORCE")


tasks = set()


def keep(coroutine):
    """Runs it in the background, whatever becomes of the request."""
    task = asyncio.create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


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
                    lost.set()  # The slot ran out, and may be somebody else's by now.
            except (RedisError, OSError) as error:
                logging.warning("no renewal: %s", error)
                if is_final(error):
                    lost.set()  # Such as: it was settled.

    heart = asyncio.create_task(beat())
    try:
        async for token in model(tokens):
            used += 1
            yield token
            if lost.is_set():
                return
    finally:  # Also where the caller went away.
        heart.cancel()
        await asyncio.shield(keep(reservation.settle(used)))


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
        logging.warning("the limiter does not answer: %s", error)
        return JSONResponse({"error": "try again"}, 503)  # A model costs money: better closed.
    if denied:
        seconds = str(math.ceil(max(wait_ms, 1000) / 1000))
        return JSONResponse({"denied": denied, "wait_ms": wait_ms}, 429, {"Retry-After": seconds})
    return StreamingResponse(stream(reservation, tokens), media_type="text/plain")


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", 8000)), log_level="warning")
