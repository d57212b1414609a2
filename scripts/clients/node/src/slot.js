// A slot that is held while a body runs.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { commands } from "./commands.js";
import { Outage } from "./failure.js";

export const tries = 3;

// All slots are held. `decision.retryAfterMs` is a hint.
export class NoSlot extends Error {
  name = "NoSlot";

  constructor(decision) {
    super(`all ${decision.limit} slots are held`);
    this.decision = decision;
  }
}

// The slot ended while the body ran: somebody else may hold it.
export class SlotLost extends Error {
  name = "SlotLost";
}

// Acquires a slot, runs `body(signal)`, renews at a third of the ttl, and releases. If the slot is lost the
// signal is aborted, and the promise is rejected with SlotLost without waiting for the body.
// `run(call, timeoutMs)` and `runWaiting(call, waitMs)` send a call.
export async function slot({ run, runWaiting, timeoutMs }, key, limit, ttlMs, options, body) {
  const { token = randomUUID(), keep = 0, waitMs = 0 } = options;
  if (!(ttlMs >= 10)) throw new RangeError(`ttlMs must be at least 10, not ${ttlMs}`);
  const acquire = commands.acquire(key, limit, ttlMs, token, { keep, waitMs });
  const asked = performance.now();
  const decision = await repeated(() => (waitMs ? runWaiting(acquire, waitMs) : run(acquire)), timeoutMs);
  if (!decision.allowed) throw new NoSlot(decision);
  // By this machine's clock, from before the call, so it is over here before it is over there. After a
  // wait, from the reply: the ttl starts when the slot is granted.
  const held = { ends: (waitMs ? performance.now() : asked) + ttlMs };
  const lost = new AbortController();
  const renewing = renewUntilLost({ run, key, ttlMs, token, held, lost });
  try {
    return await Promise.race([body(lost.signal), rejectedWhen(lost.signal)]);
  } finally {
    renewing.stop();
    // A late renewal cannot bring back what is released. At last the slot expires by itself.
    await repeated(() => run(commands.release(key, token)), timeoutMs).catch(() => {});
  }
}

// Sends a call whose repetition is free, up to three times. Pauses, since a client that is not connected fails
// at once.
export async function repeated(send, pauseMs) {
  for (let left = tries - 1; ; left--) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof Outage) || left === 0) throw error;
      await sleep(pauseMs);
    }
  }
}

// Returns a promise that is rejected when the signal is aborted.
export function rejectedWhen(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function renewUntilLost({ run, key, ttlMs, token, held, lost }) {
  const lose = () => {
    stop();
    lost.abort(new SlotLost(`the slot of ${token} ended`));
  };
  const renew = async () => {
    const asked = performance.now();
    try {
      if ((await run(commands.renew(key, ttlMs, token), ttlMs / 3)) === 0) return lose();
      held.ends = asked + ttlMs;
    } catch (error) {
      // After an outage the slot is still held: the next renewal may reach the server.
      if (!(error instanceof Outage)) lose();
    }
  };
  const beat = setInterval(renew, ttlMs / 3);
  // By this machine's clock, where no renewal comes through.
  const watch = setInterval(() => performance.now() >= held.ends && lose(), Math.min(50, ttlMs / 3));
  const stop = () => {
    clearInterval(beat);
    clearInterval(watch);
  };
  return { stop };
}
