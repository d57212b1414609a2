// What is decided without the server: remembered denials, the bucket in the process, errors.

const memoryMs = 1000; // A denial is remembered no longer, so that a raised limit or a refund is seen.
const mostKeys = 10_000;
const outageCodes = new Set(
  "LOADING BUSY MASTERDOWN READONLY MISCONF NOREPLICAS CLUSTERDOWN TRYAGAIN OOM UNBLOCKED MOVED ASK".split(" "),
);

// The server did not answer, or could not. It may have charged the call.
export class Outage extends Error {
  name = "Outage";
}

// Returns whether `error` may pass by itself. Anything else is a mistake: an unknown command, a missing
// permission, a key of another type, wrong syntax.
export function isOutage(error) {
  if (error instanceof TypeError || error instanceof RangeError) return false;
  return !isReply(error) || outageCodes.has(error.message.split(" ", 1)[0]);
}

function isReply(error) {
  for (let of = Object.getPrototypeOf(error); of; of = Object.getPrototypeOf(of)) {
    if (of.constructor.name === "ErrorReply" || of.constructor.name === "ReplyError") return true;
  }
  return false;
}

// A map that forgets the entry set longest ago.
export class Recent extends Map {
  #forgets;

  constructor(forgets = () => {}) {
    super();
    this.#forgets = forgets;
  }

  set(key, value) {
    this.delete(key);
    super.set(key, value);
    if (this.size > mostKeys) {
      const [oldest, forgotten] = this.entries().next().value;
      this.delete(oldest);
      this.#forgets(forgotten);
    }
    return this;
  }
}

// Returns the number of tokens that must be there for a take, or it is denied.
function need({ cost, keep, atmost }) {
  return (atmost ? Math.min(1, cost) : cost) + keep;
}

// Denials by the server, each remembered until its wait is over, for one second at most.
class Denials {
  #of = new Recent();

  // `sent` is the time before the call, so that nobody is denied beyond the true end.
  remember(ask, sent, decision) {
    if (decision.allowed) {
      this.#of.delete(ask.key);
    } else if (!ask.maxwait) {
      const until = sent + Math.min(memoryMs, decision.retryAfterMs ?? memoryMs);
      this.#of.set(ask.key, { sent, until, ask, decision });
    }
  }

  // Returns the denial that still holds for this call.
  look(ask, now) {
    const found = this.#of.get(ask.key);
    if (!found || ask.force || ask.maxwait) return null;
    const { sent, until, ask: denied, decision } = found;
    if (now >= until) {
      this.#of.delete(ask.key);
      return null;
    }
    const same =
      ask.rate.text === denied.rate.text && ask.burst === denied.burst && need(ask) >= need(denied);
    // A wait is that of its own cost: a call that needs more must ask for its own.
    if (!same || (need(ask) > need(denied) && decision.retryAfterMs !== null)) return null;
    const passed = now - sent;
    const { retryAfterMs: wait, resetAfterMs } = decision;
    return {
      ...decision,
      retryAfterMs: wait === null ? null : Math.max(1, Math.ceil(wait - passed)),
      resetAfterMs: Math.max(0, Math.ceil(resetAfterMs - passed)),
      source: "memory",
    };
  }
}

// Buckets in this process: `share` of each limit, at least one token of burst.
export class LocalBuckets {
  #share;
  #of = new Recent();

  constructor(share) {
    if (!(share > 0 && share <= 1)) {
      throw new RangeError(`share must be above 0 and at most 1, not ${share}`);
    }
    this.#share = share;
  }

  // Takes from the bucket in the process, which is full at first.
  take(ask, now) {
    const burst = ask.burst > 0 ? Math.max(1, ask.burst * this.#share) : 0;
    const perMs = (ask.rate.tokens / ask.rate.periodMs) * this.#share;
    const stored = this.#of.get(ask.key) ?? { tokens: burst, at: now };
    let tokens = Math.min(burst, stored.tokens + Math.max(0, now - stored.at) * perMs);
    const most = Math.floor(Math.max(0, tokens - ask.keep) + 1e-9);
    const taken = ask.atmost ? Math.min(ask.cost, most) : ask.cost;
    const needed = need(ask);
    const allowed = ask.force || (tokens + 1e-9 >= needed && (taken > 0 || ask.cost === 0));
    if (allowed) tokens -= taken;
    this.#of.set(ask.key, { tokens, at: now });
    let retryAfterMs = 0;
    if (!allowed) {
      retryAfterMs = needed <= burst ? Math.max(1, Math.ceil((needed - tokens) / perMs)) : null;
    }
    return {
      allowed,
      limit: ask.burst,
      remaining: Math.max(0, Math.floor(tokens + 1e-9)),
      retryAfterMs,
      resetAfterMs: Math.ceil((burst - tokens) / perMs),
      taken: allowed ? taken : 0,
      source: "local",
    };
  }
}

// Decides what the server did not.
export class Policy {
  counts = {
    answered: 0,
    fromMemory: 0,
    outages: 0,
    mistakes: 0,
    late: 0,
    localAllowed: 0,
    localDenied: 0,
  };
  #onError;
  #log;
  #denials = new Denials();
  #local;
  #logged = { warn: -Infinity, error: -Infinity };

  constructor(onError, share, log) {
    if (!["local", "open", "closed"].includes(onError)) {
      throw new RangeError(`onError must be local, open or closed, not ${onError}`);
    }
    this.#onError = onError;
    this.#log = log;
    this.#local = new LocalBuckets(share);
  }

  // Returns the denial that still holds for this call.
  remembered(ask) {
    const found = this.#denials.look(ask, performance.now());
    if (found) this.counts.fromMemory++;
    return found;
  }

  // Remembers an answer by the server, however late.
  answered(ask, sent, decision) {
    this.#denials.remember(ask, sent, decision);
  }

  // Decides in place of the server.
  decide(ask) {
    const decision =
      this.#onError === "local" ? this.#local.take(ask, performance.now()) : this.#fixed(ask);
    if (decision.allowed) this.counts.localAllowed++;
    else this.counts.localDenied++;
    return decision;
  }

  #fixed(ask) {
    const allowed = this.#onError === "open";
    const [taken, retryAfterMs] = allowed ? [ask.cost, 0] : [0, 1000];
    const { burst: limit } = ask;
    return { allowed, limit, remaining: 0, retryAfterMs, resetAfterMs: 0, taken, source: "policy" };
  }

  // Counts and logs an outage. Returns what to throw.
  outage(error) {
    this.counts.outages++;
    this.#say("warn", `no answer, decided by onError=${this.#onError}`, error);
    return error instanceof Outage ? error : new Outage(error.message, { cause: error });
  }

  // Counts and logs a mistake. The caller throws it.
  mistake(error) {
    this.counts.mistakes++;
    this.#say("error", "the server refuses the call", error);
  }

  // One line a second says as much as thousands.
  #say(level, what, error) {
    const now = performance.now();
    if (now - this.#logged[level] < 1000) return;
    this.#logged[level] = now;
    this.#log[level](`rate limiter: ${what}: ${error.message}`);
  }
}
