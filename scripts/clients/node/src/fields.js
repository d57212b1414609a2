// The header fields of draft-ietf-httpapi-ratelimit-headers-11.

import { fillSeconds } from "./rate.js";

export const exposed = "RateLimit, RateLimit-Policy, Retry-After";

// Returns RateLimit-Policy: the burst, and the seconds in which it fills.
export function policy(rate, burst) {
  return `"default";q=${burst};w=${fillSeconds(rate, burst)}`;
}

// Returns the fields of an answer. Those of the limit are missing if the policy decided, since then
// nothing is known. On a denial RateLimit has the same time as Retry-After, which the draft says must
// not be sooner. Rounded up.
export function fieldsOf(decision, policy) {
  const denied = !decision.allowed && decision.retryAfterMs !== null;
  const seconds = Math.ceil((denied ? decision.retryAfterMs : decision.resetAfterMs) / 1000);
  const fields = [];
  if (decision.source !== "policy") {
    fields.push(["RateLimit-Policy", policy]);
    fields.push(["RateLimit", `"default";r=${decision.remaining};t=${seconds}`]);
  }
  if (denied) fields.push(["Retry-After", String(seconds)]);
  return fields;
}
