// What the middlewares share: whom to charge, how much, and the answer.

import { Caller } from "./caller.js";
import { exposed, fieldsOf, policy } from "./fields.js";
import { parseRate } from "./rate.js";

export function middleware(limiter, options) {
  const { rate, burst, key = new Caller(), skip = () => false, cost = 1, expose = true } = options;
  const parsed = parseRate(rate);
  const policyField = policy(parsed, burst);
  const keyOf = key instanceof Caller ? (_, raw) => key.keyOf(raw) : key;
  const costOf = typeof cost === "function" ? cost : () => cost;
  return {
    checkKey: `${key instanceof Caller ? key.prefix : "limit:"}check`,
    // Returns the decision on a request and the fields of its answer, or null if it is left alone.
    // `request` is what the user's functions get, `raw` that of node:http.
    async decide(request, raw) {
      if (isPreflight(raw) || (await skip(request))) return null;
      const amount = await costOf(request);
      const decision = await limiter.take(await keyOf(request, raw), parsed, burst, { cost: amount });
      const fields = fieldsOf(decision, policyField);
      if (expose && raw.headers.origin) fields.push(["Access-Control-Expose-Headers", exposed]);
      return { decision, fields };
    },
  };
}

// Returns the status and the body of a denial.
export function refusal(decision) {
  return decision.source === "policy" ? [503, "Rate limiter unavailable\n"] : [429, "Too many requests\n"];
}

function isPreflight({ method, headers }) {
  return method === "OPTIONS" && headers.origin && headers["access-control-request-method"];
}
