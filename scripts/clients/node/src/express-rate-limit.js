// A store for the package express-rate-limit: rateLimit({ store: new Store(limiter), … }).

import { Counters } from "./store.js";

export class Store {
  prefix;
  localKeys = false;
  #counters;
  #windowMs = 60_000;

  constructor(limiter, { prefix = "limit:" } = {}) {
    this.#counters = new Counters(limiter);
    this.prefix = prefix;
  }

  init({ windowMs }) {
    this.#windowMs = windowMs;
  }

  async increment(key) {
    return info(await this.#counters.add(this.prefix + key, 1, this.#windowMs));
  }

  async get(key) {
    const counted = await this.#counters.get(this.prefix + key);
    return counted.hits > 0 ? info(counted) : undefined;
  }

  async decrement(key) {
    await this.#counters.remove(this.prefix + key, 1);
  }

  async resetKey(key) {
    await this.#counters.clear(this.prefix + key);
  }
}

const info = ({ hits, resetAfterMs }) => ({ totalHits: hits, resetTime: new Date(Date.now() + resetAfterMs) });
