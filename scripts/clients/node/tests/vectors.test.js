// The table of test vectors that every language holds.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Caller } from "../src/index.js";
import { canonical, parseAddress } from "../src/caller.js";
import { decision } from "../src/decision.js";
import { LocalBuckets } from "../src/failure.js";
import { fieldsOf, policy } from "../src/fields.js";
import { fillSeconds, parseRate } from "../src/rate.js";

const vectors = JSON.parse(readFileSync(new URL("../../vectors.json", import.meta.url)));

function text(given, prefix) {
  const address = parseAddress(given);
  return address && canonical(address, prefix);
}

test("an address has one text", () => {
  for (const [given, expected] of vectors.addresses) assert.equal(text(given, 64), expected, given);
});

test("IPv6 is cut at its prefix", () => {
  for (const [prefix, given, expected] of vectors.prefixes) assert.equal(text(given, prefix), expected);
});

test("a request has one key", () => {
  for (const { why, peer, forwarded, header, trusted, ipv6_prefix, prefix, key } of vectors.keys) {
    const caller = new Caller({ header: "X-Api-Key", trusted, ipv6Prefix: ipv6_prefix, prefix });
    assert.equal(caller.key(peer, forwarded, header), key, why);
  }
});

test("a rate fills its burst", () => {
  for (const [given, burst, seconds] of vectors.rates) {
    assert.equal(fillSeconds(parseRate(given), burst), seconds, given);
  }
});

test("what is no rate is an error", () => {
  for (const given of vectors.not_rates) assert.throws(() => parseRate(given), RangeError, given);
});

test("fields follow the reply", () => {
  for (const row of vectors.fields) {
    const expected = { "RateLimit-Policy": row.policy, RateLimit: row.state };
    if (row.retry) expected["Retry-After"] = row.retry;
    const fields = fieldsOf(decision(row.reply), policy(parseRate("100/m"), 20));
    assert.deepEqual(Object.fromEntries(fields), expected);
  }
});

test("the bucket in the process takes as everywhere", () => {
  const { rate, burst, share, takes } = vectors.local;
  const buckets = new LocalBuckets(share);
  for (const [atMs, options, allowed, remaining] of takes) {
    const ask = { key: "k", rate: parseRate(rate), burst, cost: 1, keep: 0, ...options };
    const got = buckets.take(ask, atMs);
    assert.deepEqual([got.allowed, got.remaining], [allowed, remaining], JSON.stringify([atMs, options]));
  }
});
