"""The header fields of draft-ietf-httpapi-ratelimit-headers-11."""

from __future__ import annotations

import math

from .decision import Decision
from .rate import Rate

EXPOSED = "RateLimit, RateLimit-Policy, Retry-After"


def policy(rate: Rate, burst: int) -> str:
    """Returns RateLimit-Policy: the burst, and the seconds in which it fills."""
    return f'"default";q={burst};w={rate.fill_seconds(burst)}'


def state(decision: Decision) -> str:
    """Returns RateLimit: what is left, and the seconds until all is there again; on a denial the same
    as Retry-After, which the draft says must not be sooner. Rounded up."""
    seconds = decision.reset_after
    if not decision.allowed and decision.retry_after is not None:
        seconds = decision.retry_after
    return f'"default";r={decision.remaining};t={math.ceil(seconds)}'


def of(decision: Decision, policy: str) -> list[tuple[str, str]]:
    """Returns the fields of an answer. None if the policy decided, since then nothing is known."""
    fields = []
    if decision.source != "policy":
        fields += [("RateLimit-Policy", policy), ("RateLimit", state(decision))]
    if not decision.allowed and decision.retry_after is not None:
        fields.append(("Retry-After", str(math.ceil(decision.retry_after))))
    return fields
