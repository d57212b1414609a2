// An estimate that is charged while a body runs, and settled once. Follows the four rules for callers: one id
// for one piece of work; the call is repeated unchanged; whatever may be open is settled until a reply
// arrives; on -1 what was used is charged with FORCE, once, within a minute.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { commands, forced, hold } from "./commands.js";
import { Outage } from "./failure.js";
import { rejectedWhen, repeated, tries } from "./slot.js";

const minuteMs = 60_000; // After this time nobody knows any more what became of an id.

// A limit denies, and nothing is charged. `decisions.each` says which.
export class Denied extends Error {
  name = "Denied";

  constructor(decisions) {
    super(`denied; retry after ${decisions.retryAfterMs} ms`);
    this.decisions = decisions;
  }
}

// Somebody else settled the hold: the signal of the body was aborted.
export class HoldEnded extends Error {
  name = "HoldEnded";
}

// Charges the limits, runs `body(reservation)`, repeats the call at a third of the ttl, and settles
// `reservation.used`. `run(call, timeoutMs)` sends a call.
export async function reserve({ run, timeoutMs }, limits, options, body) {
  const { holds, ttlMs, id = randomUUID(), charge = false } = options;
  if (!(ttlMs >= 1000)) throw new RangeError(`ttlMs must be at least 1000, not ${ttlMs}`);
  const held = hold(holds, ttlMs, id, { charge });
  const charging = commands.all(...limits, held);
  const ended = new AbortController();
  const reservation = { id, used: {}, denied: false, signal: ended.signal };

  const settle = async (wasDone) => {
    const { used } = reservation;
    const amounts = limits.map((limit) => [limit, wasDone ? (used[limit.key] ?? limit.cost ?? 0) : 0]);
    // If the server does not answer, it goes on in the background until it does.
    const settling = settleUntilAnswered(run, timeoutMs, amounts, held);
    await Promise.race([settling, sleep(tries * timeoutMs, undefined, { ref: false })]);
  };

  const cancelled = async (error) => {
    await settle(false);
    throw error;
  };
  const decisions = await repeated(() => run(charging), timeoutMs).catch((error) => {
    if (error instanceof Outage) return cancelled(error); // It may have been charged.
    throw error;
  });
  if (!decisions.allowed) {
    const denied = new Denied(decisions);
    if (decisions.each.at(-1).taken) return cancelled(denied); // A repeat was denied: the hold is open.
    throw denied;
  }

  const beat = setInterval(async () => {
    try {
      reservation.denied = !(await run(charging, ttlMs / 3)).allowed;
    } catch (error) {
      // After an outage the hold is still open: the next repeat may reach the server.
      if (!(error instanceof Outage)) ended.abort(new HoldEnded(`hold ${id} was settled`));
    }
  }, ttlMs / 3);
  let wasDone = false;
  try {
    const result = await Promise.race([body(reservation), rejectedWhen(ended.signal)]);
    wasDone = true;
    return result;
  } finally {
    clearInterval(beat);
    if (!ended.signal.aborted) await settle(wasDone);
  }
}

async function settleUntilAnswered(run, timeoutMs, amounts, held) {
  const began = performance.now();
  const isKnown = () => performance.now() - began < minuteMs;
  try {
    const { state } = await sendUntilAnswered(() => run(commands.settle([...amounts, [held, 0]])), timeoutMs, isKnown);
    if (state >= 0 || !isKnown()) return;
    for (const [limit, used] of amounts) {
      // Not sent again after a lost reply.
      if (used && limit.cost !== undefined) await run(forced(limit, used)).catch(() => {});
    }
  } catch {
    // It is logged: a mistake, or a minute without an answer.
  }
}

async function sendUntilAnswered(send, timeoutMs, isKnown) {
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof Outage) || !isKnown()) throw error;
      await sleep(Math.min(1000, timeoutMs));
    }
  }
}
