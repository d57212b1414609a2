"""Rate limits, quotas and leases by redis-rl, a module of Redis and Valkey."""

from .caller import Caller
from .commands import Leases, Limit, bucket, lease, window
from .decision import Decision, Decisions
from .failure import Counts, Outage
from .limiter import AsyncLimiter, Limiter
from .rate import Rate
from .slot import NoSlot, SlotLost

__version__ = "0.2.0"
__all__ = [
    "AsyncLimiter",
    "Caller",
    "Counts",
    "Decision",
    "Decisions",
    "Leases",
    "Limit",
    "Limiter",
    "NoSlot",
    "Outage",
    "Rate",
    "SlotLost",
    "bucket",
    "lease",
    "window",
]
