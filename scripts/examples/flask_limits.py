"""Rate limits for Flask, or whatever else speaks WSGI, by the package in ../clients/python."""

import logging
import os

from flask import Flask
from redis import Redis
from redis_rl import Caller, Limiter
from redis_rl.wsgi import RateLimit

app = Flask(__name__)
limiter = Limiter(Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost"), socket_timeout=1))
app.wsgi_app = RateLimit(app.wsgi_app, limiter, rate="100/m", burst=20, key=Caller(header="X-Api-Key"))


@app.get("/")
def hello():
    return "Hello\n"


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    app.run(port=int(os.environ.get("PORT", 8000)))
