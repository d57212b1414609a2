// The reply of a limit, in words instead of five integers.

// Returns the decision that the five integers of a reply describe. A success with COST 0 charges
// nothing and has a wait of 0; a denial has a wait of -1 or at least 1.
export function decision(reply) {
  const [taken, limit, remaining, waitMs, resetMs] = reply.map(Number);
  return {
    allowed: taken > 0 || waitMs === 0,
    limit,
    remaining,
    retryAfterMs: waitMs < 0 ? null : waitMs,
    resetAfterMs: resetMs,
    taken,
    source: "server",
  };
}

// Returns the decisions of RL.MTAKE and RL.ALL.
export function decisions([taken, waitMs, each]) {
  return {
    allowed: Number(taken) > 0 || Number(waitMs) === 0,
    retryAfterMs: Number(waitMs) < 0 ? null : Number(waitMs),
    each: each.map(decision),
    taken: Number(taken),
  };
}
