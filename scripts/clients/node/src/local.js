// Batches of tokens, for callers of thousands a second on one key.

import { Recent } from "./failure.js";
import { parseRate } from "./rate.js";

export const holdMs = 100; // In which a batch is spent, and over which the use is counted.
const lateMs = 50; // That a refund may take until the server has it.
const part = 8; // A batch is at most this part of the burst.

// Takes batches by a limiter, and spends them in this process. Its `take` is that of the limiter, so the
// middlewares accept it in place of one.
//
// A batch is as large as the use of the last tenth of a second, at most an eighth of the burst, so it saves calls
// only where the burst is large. After a short answer tokens are taken one call at a time, until the bucket
// would be full again. A batch that is not spent after a tenth of a second is refunded, less the bucket's gain
// meanwhile. So over all processes at most burst + rate × (t + 0.1 s) is spent in any time t, and a process
// that dies loses its batch.
export class Local {
  #limiter;
  #of = new Recent((stash) => this.#refund(stash));
  #refunds = new Set();

  constructor(limiter) {
    this.#limiter = limiter;
  }

  // Takes `cost` tokens or none. One call is in flight a key: the others wait for it, and then look into the batch.
  // The failure policy decides about them if the server does not answer that call, or after ten time-outs.
  async take(key, rate, burst, { cost = 1 } = {}) {
    const parsed = typeof rate === "object" ? rate : parseRate(rate);
    const stash = this.#stash(key, parsed, burst);
    const { outages } = stash;
    const began = performance.now();
    stash.count(cost, began);
    for (;;) {
      const now = performance.now();
      const decision = stash.spend(cost, now);
      if (decision) return decision;
      if (stash.outages !== outages || (stash.taking && now - began > this.#limiter.longestTurnMs)) {
        const ask = { key, rate: parsed, burst, cost, keep: 0 };
        return this.#limiter.decide(ask, "no turn among the calls of one key");
      }
      if (!stash.taking) break;
      await stash.taking;
    }
    const taken = this.#take(stash, cost);
    const ended = taken.then(() => {}, () => {});
    stash.taking = ended.then(() => (stash.taking = null));
    return taken;
  }

  // Throws if the server lacks the module or the permission. Returns whether it answered.
  check(key) {
    return this.#limiter.check(key);
  }

  // Refunds every batch. The limiter remains open.
  async close() {
    for (const stash of this.#of.values()) this.#refund(stash);
    await Promise.all(this.#refunds);
  }

  #stash(key, rate, burst) {
    const name = JSON.stringify([key, rate.text, burst]);
    const stash = this.#of.get(name) ?? new Stash(key, rate, burst);
    this.#of.set(name, stash);
    return stash;
  }

  async #take(stash, cost) {
    const asked = performance.now();
    const batch = stash.batch(asked);
    if (cost > 0 && batch > cost) {
      const decision = await this.#ask(stash, { cost: batch, atmost: true });
      const now = performance.now();
      if (decision.taken < batch) stash.shortUntil = now + decision.resetAfterMs;
      if (decision.taken) {
        this.#refund(stash);
        stash.begin(decision, asked);
        const end = () => stash.takenAt === asked && this.#refund(stash);
        setTimeout(end, asked + holdMs - now).unref();
        const spent = stash.spend(cost, now);
        if (spent) return spent;
      } else if (cost === 1) {
        return decision;
      }
    }
    // The server decides about this cost alone, and must have what is left of the batch.
    this.#refund(stash);
    const decision = await this.#ask(stash, { cost });
    if (!decision.allowed) stash.shortUntil = performance.now() + decision.resetAfterMs;
    return decision;
  }

  async #ask(stash, options) {
    const decision = await this.#limiter.take(stash.key, stash.rate, stash.burst, options);
    if (decision.source === "local" || decision.source === "policy") stash.outages++;
    return decision;
  }

  #refund(stash) {
    const { key, rate, burst } = stash;
    const cost = stash.refund(performance.now());
    if (cost === 0) return;
    // An error is logged, and the tokens are lost.
    const refund = this.#limiter.give(key, rate, burst, { cost }).catch(() => {});
    this.#refunds.add(refund);
    refund.finally(() => this.#refunds.delete(refund));
  }
}

// The batch of one key and limit. `takenAt` is the time before its call, so that nothing is spent too late.
export class Stash {
  tokens = 0;
  takenAt = -Infinity;
  decision = {};
  shortUntil = 0;
  taking = null;
  outages = 0;
  #since = 0;
  #used = 0;
  #usedBefore = 0;

  constructor(key, rate, burst) {
    Object.assign(this, { key, rate, burst });
  }

  begin(decision, takenAt) {
    Object.assign(this, { tokens: decision.taken, takenAt, decision });
  }

  // Spends from the batch. Returns null if it is too small, or was taken too long ago.
  spend(cost, now) {
    if (!(cost > 0 && cost <= this.tokens) || now >= this.takenAt + holdMs) return null;
    this.tokens -= cost;
    const { limit, remaining, resetAfterMs } = this.decision;
    const reset = Math.max(0, Math.ceil(resetAfterMs - (now - this.takenAt)));
    const left = remaining + this.tokens;
    return { allowed: true, limit, remaining: left, retryAfterMs: 0, resetAfterMs: reset, taken: cost, source: "batch" };
  }

  // Ends the batch. Returns its tokens less what the bucket has gained since it was taken: it might have been full
  // then, and have gained nothing. Only the server's are refunded.
  refund(now) {
    const { tokens, rate, decision, takenAt } = this;
    const gain = ((now - takenAt + lateMs) * rate.tokens) / rate.periodMs;
    this.tokens = 0;
    return decision.source === "server" ? Math.max(0, Math.floor(tokens - gain)) : 0;
  }

  // Counts the use in spans of `holdMs`.
  count(cost, now) {
    const passed = now - this.#since;
    if (passed >= holdMs) {
      this.#usedBefore = passed < 2 * holdMs ? this.#used : 0;
      this.#since = now;
      this.#used = 0;
    }
    this.#used += cost;
  }

  // Returns the size of the next batch.
  batch(now) {
    if (now < this.shortUntil) return 0;
    const before = Math.max(0, 1 - (now - this.#since) / holdMs);
    return Math.min(Math.floor(this.#used + this.#usedBefore * before), Math.floor(this.burst / part));
  }
}
