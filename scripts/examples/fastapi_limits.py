"""Rate limits for FastAPI, or whatever else speaks ASGI, by the package in ../clients/python."""

import os

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from redis.asyncio import Redis
from redis_rl import AsyncLimiter, Caller
from redis_rl.asgi import RateLimit

app = FastAPI()
limiter = AsyncLimiter(Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost")))
app.add_middleware(RateLimit, limiter=limiter, rate="100/m", burst=20, key=Caller(header="X-Api-Key"))


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "Hello\n"


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", 8000)), log_level="warning")
