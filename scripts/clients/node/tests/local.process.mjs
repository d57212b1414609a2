// One process of several: takes without end, pauses, and so on, and logs the time of each unit by the clock of the
// machine. A unit that the server granted alone counts from its reply, or a tenth of a second after its call.
//
//   node local.process.mjs PORT LOG RATE BURST

import { openSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Limiter } from "../src/index.js";
import { Local, Stash, holdMs } from "../src/local.js";
import { libraries, quiet } from "./server.js";

const [port, path, rate, burst] = process.argv.slice(2);
const file = openSync(path, "a");
// performance.now() and the clock of the machine go alike.
const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now();
const log = (at) => writeSync(file, `${at + offset}\n`);

const { spend } = Stash.prototype;
Stash.prototype.spend = function (cost, now) {
  const decision = spend.call(this, cost, now);
  if (decision) log(now);
  return decision;
};

class LoggedLimiter extends Limiter {
  async take(key, rate, burst, options) {
    const sent = performance.now();
    const decision = await super.take(key, rate, burst, options);
    if (decision.allowed && !options.atmost) log(Math.min(performance.now(), sent + holdMs));
    return decision;
  }
}

const { client } = await libraries["node-redis"](Number(port));
const local = new Local(new LoggedLimiter(client, { timeoutMs: 30_000, onError: "closed", log: quiet() }));
for (;;) {
  const end = performance.now() + Math.random() * 200;
  while (performance.now() < end) {
    await local.take("k", rate, Number(burst));
    await new Promise(setImmediate);
  }
  await sleep(Math.random() * 1000);
}
