// A limiter for the package rate-limiter-flexible: new RateLimiterRedisRl({ limiter, points: 5, duration: 1 }).

import { RateLimiterRes } from "rate-limiter-flexible";
import RateLimiterStoreAbstract from "rate-limiter-flexible/lib/RateLimiterStoreAbstract.js";
import { Counters } from "./store.js";

export class RateLimiterRedisRl extends RateLimiterStoreAbstract {
  #counters;

  constructor({ limiter, ...options }) {
    super({ storeClient: limiter, ...options });
    this.#counters = new Counters(limiter);
  }

  _getRateLimiterRes(key, changed, { hits, resetAfterMs }) {
    const isFirst = hits === changed;
    return new RateLimiterRes(Math.max(this.points - hits, 0), resetAfterMs, hits, isFirst);
  }

  async _upsert(key, points, durationMs, replaces = false) {
    if (!Number.isInteger(points)) throw new RangeError(`points must be a whole number, not ${points}`);
    if (replaces) await this.#counters.clear(key);
    if (points > 0) return this.#counters.add(key, points, durationMs);
    if (points < 0) await this.#counters.remove(key, -points);
    return this.#counters.get(key);
  }

  async _get(key) {
    const counted = await this.#counters.get(key);
    return counted.hits > 0 ? counted : null;
  }

  async _delete(key) {
    return this.#counters.clear(key);
  }
}
