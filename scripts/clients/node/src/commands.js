// The commands, each as its words and the reader of its reply. `key` is the one a cluster routes by.

import { decision, decisions } from "./decision.js";

const cost = ({ cost = 1 } = {}) => (cost === 1 ? [] : ["COST", cost]);
const keep = ({ keep = 0 } = {}) => (keep ? ["KEEP", keep] : []);
const flag = (set, word) => (set ? [word] : []);
const rateText = (rate) => (typeof rate === "object" ? rate.text : String(rate));
const windowWords = (window) => window.split(/\s+/).filter(Boolean);
const ttl = (ms) => `${number(ms)}ms`;
// "30s" is for redis-cli.
const number = (ms) => {
  if (typeof ms !== "number") throw new TypeError(`a time is a number of milliseconds, such as 30000, not "${ms}"`);
  return ms;
};
const first = (reply) => Number(reply[0]);

export const commands = {
  // Takes `cost` tokens or none (RL.TAKE).
  take(key, rate, burst, options = {}) {
    const { atmost, maxwaitMs, force } = options;
    const wait = maxwaitMs === undefined ? [] : ["MAXWAIT", number(maxwaitMs)];
    const more = [...cost(options), ...keep(options), ...flag(atmost, "ATMOST"), ...wait, ...flag(force, "FORCE")];
    return { key, words: (k) => ["RL.TAKE", k(key), rateText(rate), burst, ...more], read: decision };
  },

  // Returns what a take would, and changes nothing (RL.PEEK).
  peek: (key, rate, burst, options) => ({
    key,
    words: (k) => ["RL.PEEK", k(key), rateText(rate), burst, ...cost(options)],
    read: decision,
  }),

  // Refunds tokens, at most up to full. Returns the number refunded (RL.GIVE).
  give: (key, rate, burst, options) => ({
    key,
    words: (k) => ["RL.GIVE", k(key), rateText(rate), burst, ...cost(options)],
    read: first,
  }),

  // Takes from every bucket or from none: [[key, rate, burst], …] (RL.MTAKE).
  mtake: (buckets, options) => ({
    key: buckets[0][0],
    words: (k) => [
      "RL.MTAKE",
      buckets.length,
      ...buckets.flatMap(([key, rate, burst]) => [k(key), rateText(rate), burst]),
      ...cost(options),
    ],
    read: decisions,
  }),

  // Charges a window: "15m", "SLIDING 1m", "DAY OFFSET +02:00" (RL.WTAKE).
  wtake(key, limit, window, options = {}) {
    const flags = [...flag(options.atmost, "ATMOST"), ...flag(options.force, "FORCE")];
    const more = [...windowWords(window), ...cost(options), ...keep(options), ...flags];
    return { key, words: (k) => ["RL.WTAKE", k(key), limit, ...more], read: decision };
  },

  // Returns what a charge would, and changes nothing (RL.WPEEK).
  wpeek: (key, limit, window, options) => ({
    key,
    words: (k) => ["RL.WPEEK", k(key), limit, ...windowWords(window), ...cost(options)],
    read: decision,
  }),

  // Refunds to a window, with `at` (Unix ms) only to the one charged then (RL.WGIVE).
  wgive(key, limit, window, options = {}) {
    const at = options.at === undefined ? [] : ["AT", options.at];
    const more = [...windowWords(window), ...cost(options), ...at];
    return { key, words: (k) => ["RL.WGIVE", k(key), limit, ...more], read: first };
  },

  // Acquires a slot for `token`, or renews the one that it holds (RL.ACQUIRE). With `waitMs` the server
  // answers only when there is a slot, or after this time: use `slot`.
  acquire(key, limit, ttlMs, token, options = {}) {
    const wait = options.waitMs ? ["WAIT", number(options.waitMs)] : [];
    const more = [ttl(ttlMs), token, ...keep(options), ...wait];
    return { key, words: (k) => ["RL.ACQUIRE", k(key), limit, ...more], read: decision };
  },

  // Extends live leases. Returns how many (RL.RENEW).
  renew(key, ttlMs, ...tokens) {
    const more = [ttl(ttlMs), ...tokens];
    return { key, words: (k) => ["RL.RENEW", k(key), ...more], read: Number };
  },

  // Frees slots. Returns how many were held (RL.RELEASE).
  release: (key, ...tokens) => ({
    key,
    words: (k) => ["RL.RELEASE", k(key), ...tokens],
    read: Number,
  }),

  // Returns the slots in use (RL.LEASES).
  leases: (key, limit, { count = 100 } = {}) => ({
    key,
    words: (k) => ["RL.LEASES", k(key), limit, "COUNT", count],
    read([held, most, remaining, waitMs, resetMs, tokens]) {
      return {
        held: Number(held),
        limit: Number(most),
        remaining: Number(remaining),
        retryAfterMs: Number(waitMs) < 0 ? null : Number(waitMs),
        resetAfterMs: Number(resetMs),
        tokens: tokens.map(([token, left]) => ({ token: String(token), leftMs: Number(left) })),
      };
    },
  }),

  // Charges every limit or none: bucket(…), window(…), lease(…), hold(…) (RL.ALL).
  all: (...limits) => ({
    key: limits[0].key,
    words: (k) => ["RL.ALL", limits.length, ...limits.map(({ key }) => k(key)), ...limits.flatMap(({ words }) => words)],
    read: decisions,
  }),

  // Replaces each estimate by the amount used, and releases the leases: [[limit, used], …] (RL.SETTLE).
  // `state` is 1 if this call settled, 0 if another one had, -1 if nothing is known about the id.
  settle: (settled) => ({
    key: settled[0][0].key,
    words: (k) => [
      "RL.SETTLE",
      settled.length,
      ...settled.map(([{ key }]) => k(key)),
      ...settled.flatMap(([{ named, cost }, used]) => (cost === undefined ? named : [...named, "USED", used])),
    ],
    read: ([state, , each]) => ({ state: Number(state), each: each.map(first) }),
  }),

  // Returns the open holds, soonest deadline first (RL.HOLDS).
  holds: (key, { count = 100 } = {}) => ({
    key,
    words: (k) => ["RL.HOLDS", k(key), "COUNT", count],
    read: ([open, , overdue, , holds]) => ({
      open: Number(open),
      overdue: Number(overdue),
      holds: holds.map(([id, left, other, held]) => ({
        id: String(id),
        leftMs: Number(left),
        charge: String(other) === "CHARGE",
        held: Object.fromEntries(held.map(([key, amount]) => [String(key), Number(amount)])),
      })),
    }),
  }),
};

// A bucket for `all` and `reserve`. `named` are the words that RL.SETTLE repeats.
export const bucket = (key, rate, burst, options = {}) => {
  const named = ["BUCKET", rateText(rate), burst];
  return { key, named, words: [...named, ...cost(options), ...keep(options)], cost: options.cost ?? 1 };
};

// A window for `all` and `reserve`.
export const window = (key, limit, window, options = {}) => {
  const named = ["WINDOW", limit, ...windowWords(window)];
  return { key, named, words: [...named, ...cost(options), ...keep(options)], cost: options.cost ?? 1 };
};

// A lease for `all` and `reserve`. With `once` a call of `all` may be repeated.
export const lease = (key, limit, ttlMs, token, options = {}) => ({
  key,
  named: ["LEASE", token],
  words: ["LEASE", limit, ttl(ttlMs), token, ...keep(options), ...flag(options.once, "ONCE")],
});

// Records what `all` charges as hold `id`, until `settle`. A hold that nobody settles is refunded after its
// ttl, or with `charge` stays charged.
export const hold = (key, ttlMs, id, { charge = false } = {}) => ({
  key,
  named: ["HOLD", id],
  words: ["HOLD", ttl(ttlMs), id, ...(charge ? ["ELSE", "CHARGE"] : [])],
});

// Charges what was used, whatever the limit says: for a hold that is not known any more.
export const forced = ({ key, named: [kind, ...rest] }, used) => ({
  key,
  words: (k) => [kind === "BUCKET" ? "RL.TAKE" : "RL.WTAKE", k(key), ...rest, "COST", used, "FORCE"],
  read: decision,
});
