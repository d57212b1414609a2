// An estimate that is charged while a body runs, and settled once. Follows the four rules for callers: one id
// for one piece of work; the call is repeated unchanged; whatever may be open is settled until a reply
// arrives; on -1 what was used is charged with FORCE, once, within a minute.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { commands, forced, hold } from "./commands.js";
import { Outage } from "./failure.js";
import { rejectedWhen, repeated, tries } from "./slot.js";

const minuteMs = 60_000; // After this time nobody knows any more what became of an id.

// Nothing is charged, because the limits of `keys` deny.
export class Denied extends Error {
  name = "Denied";

  constructor(decisions, keys) {
    const { retryAfterMs } = decisions;
    const retry = retryAfterMs === null ? "retrying does not help" : `retry after ${retryAfterMs} ms`;
    super(`denied by ${keys.join(", ")}; ${retry}`);
    Object.assign(this, { decisions, keys });
  }
}

// Somebody else settled the hold: the signal of the body was aborted.
export class HoldEnded extends Error {
  name = "HoldEnded";
}

// Charges the limits, runs `body(reservation)`, repeats the call at a third of the ttl, and settles
// `reservation.used`, even if the body throws. A limit without an amount is charged its cost, or 0 if the body throws. `run(call, timeoutMs)` sends a call.
export async function reserve({ run, timeoutMs }, limits, options, body) {
  const { holds, ttlMs, id = randomUUID(), charge = false } = options;
  if (!(ttlMs >= 1000)) throw new RangeError(`ttlMs must be at least 1000, not ${ttlMs}`);
  const held = hold(holds, ttlMs, id, { charge });
  const charging = commands.all(...limits, held);
  const ended = new AbortController();
  const reservation = { id, used: {}, denied: false, signal: ended.signal };

  const settle = async (wasDone) => {
    const { used } = reservation;
    const otherwise = ({ cost = 0 }) => (wasDone ? cost : 0);
    const amounts = limits.map((limit) => [limit, isAmount(used[limit.key]) ? used[limit.key] : otherwise(limit)]);
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
    const keys = [...limits, held].filter((_, at) => !decisions.each[at].allowed).map(({ key }) => key);
    const denied = new Denied(decisions, keys);
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
    if (wasDone) checkUsed(reservation.used, limits);
  }
}

const isAmount = (used) => Number.isSafeInteger(used) && used >= 0;

// Throws if `used` has an entry that no settlement can charge.
function checkUsed(used, limits) {
  const keys = limits.filter(({ cost }) => cost !== undefined).map(({ key }) => String(key));
  for (const [key, amount] of Object.entries(used)) {
    if (!keys.includes(key)) throw new RangeError(`used has the key "${key}", but the limits are ${keys.join(", ")}`);
    if (!isAmount(amount)) throw new RangeError(`used of "${key}" must be a whole number from 0 on, not ${amount}`);
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
