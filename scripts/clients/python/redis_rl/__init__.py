"""Rate limits, quotas and leases by redis-rl, a module of Redis and Valkey."""

from .caller import Caller
from .commands import Holds, Leases, Limit, Settlement, bucket, hold, lease, window
from .decision import Decision, Decisions
from .failure import Counts, Outage
from .limiter import AsyncLimiter, Limiter
from .local import Local
from .rate import Rate
from .reserve import AsyncReservation, Denied, HoldEnded, Reservation
from .slot import NoSlot, SlotLost

__version__ = "0.2.0"
__all__ = [
    "AsyncLimiter",
    "AsyncReservation",
    "Caller",
    "Counts",
    "Decision",
    "Decisions",
    "Denied",
    "HoldEnded",
    "Holds",
    "Leases",
    "Limit",
    "Limiter",
    "Local",
    "NoSlot",
    "Outage",
    "Rate",
    "Reservation",
    "Settlement",
    "SlotLost",
    "bucket",
    "hold",
    "lease",
    "window",
]
