// Batches that are spent in the process.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Limiter, Local } from "../src/index.js";
import { Stash, holdMs } from "../src/local.js";
import { parseRate } from "../src/rate.js";
import { Server, libraries, quiet, until, wireTo } from "./server.js";

const burst = 10_000;
let server;
let connection;
let limiter;
before(async () => {
  server = await Server.start();
  connection = await libraries["node-redis"](server.port);
  limiter = new Limiter(connection.client, { timeoutMs: 30_000 });
});
after(async () => {
  connection.close();
  await server.stop();
});
beforeEach(async () => {
  await server.ask("FLUSHALL");
  await server.ask("CONFIG", "RESETSTAT");
});

async function calls(name) {
  const found = new RegExp(`cmdstat_${name}:calls=(\\d+)`, "i").exec(await server.ask("INFO", "commandstats"));
  return Number(found?.[1] ?? 0);
}

test("ten thousand calls a second cost at most a hundred commands", async () => {
  const local = new Local(limiter);
  const start = performance.now();
  let passed = 0;
  let seconds = 0;
  while ((seconds = (performance.now() - start) / 1000) < 2 || passed <= 1000) {
    if (passed >= 10_000 * seconds) await sleep(1);
    else if ((await local.take("k", 10_000, burst)).allowed) passed++;
  }
  const sent = (await calls("rl.take")) + (await calls("rl.give"));
  assert.ok(sent <= 100 * seconds, `${passed} by ${sent} in ${seconds} s`);
  await local.close();
});

test("a small burst, a cost of 0 and a large cost are decided by the server", async () => {
  const local = new Local(limiter);
  const got = [];
  for (let n = 0; n < 20; n++) got.push(await local.take("small", "1/h", 15));
  assert.deepEqual(got.map(({ allowed }) => allowed), [...Array(15).fill(true), ...Array(5).fill(false)]);
  await Promise.all(Array.from({ length: 100 }, () => local.take("k", "1/h", burst)));
  assert.ok((await local.take("k", "1/h", burst, { cost: 5000 })).allowed);
  await server.ask("CONFIG", "RESETSTAT");
  assert.ok((await local.take("k", "1/h", burst, { cost: 0 })).allowed);
  assert.equal(await calls("rl.take"), 1);
  const denied = await local.take("k", "1/h", burst, { cost: 5000 });
  assert.ok(!denied.allowed && denied.retryAfterMs > 90 * 3_600_000);
});

test("after a short answer tokens are taken one call at a time, and a denial is remembered", async () => {
  const local = new Local(limiter);
  await server.ask("RL.TAKE", "k", "1/h", burst, "COST", burst - 500);
  let passed = 0;
  while ((await local.take("k", "1/h", burst)).allowed) passed++;
  // A batch that a busy machine did not spend in time is back later.
  assert.ok(passed > 250 && passed <= 500, passed);
  await until("the denial is remembered", async () => (await local.take("k", "1/h", burst)).source === "memory");
  await server.ask("RL.GIVE", "k", "1/h", burst, "COST", 100);
  await until("the refund is seen", async () => (await local.take("k", "1/h", burst)).allowed);
  for (let n = 0; n < 50; n++) assert.equal((await local.take("k", "1/h", burst)).source, "server");
});

test("without the server the bucket in the process is spent", async () => {
  const gone = await Server.start();
  const { client, close } = await libraries["node-redis"](gone.port);
  const local = new Local(new Limiter(client, { timeoutMs: 50, share: 0.002, log: quiet() }));
  await gone.stop();
  let passed = 0;
  for (let n = 0; n < 40; n++) passed += (await local.take("k", "1/h", burst)).allowed;
  assert.equal(passed, 20);
  close();
});

test("a call without an answer decides about those that wait for it", async () => {
  const hasty = new Limiter(connection.client, { timeoutMs: 50, log: quiet() });
  const local = new Local(hasty);
  server.hang();
  const got = await Promise.all(Array.from({ length: 100 }, () => local.take("k", "1/h", 7))).finally(() => server.goOn());
  assert.deepEqual([...new Set(got.map(({ source }) => source))], ["local"]);
  assert.equal(got.filter(({ allowed }) => allowed).length, 7);
  assert.equal(hasty.counts.late, 1);
});

test("nobody waits longer for a turn than for ten time-outs", async () => {
  const wire = await wireTo(server.port);
  const { client, close } = await libraries["node-redis"](wire.port);
  const local = new Local(new Limiter(client, { timeoutMs: 100, log: quiet() }));
  wire.delayMs = 40;
  // So small a burst has no batches, and so high a rate no denials.
  const got = await Promise.all(Array.from({ length: 100 }, () => local.take("k", 1_000_000, 7)));
  const from = (name) => got.filter(({ source }) => source === name).length;
  assert.equal(from("server") + from("local"), 100);
  assert.ok(from("local") > 0 && (await calls("rl.take")) < 100);
  close();
  wire.stop();
});

const granted = (taken, source = "server") =>
  ({ allowed: true, limit: burst, remaining: 3, retryAfterMs: 0, resetAfterMs: 1000, taken, source });

// The bucket might have been full, and have gained nothing: a full refund would admit its gain twice.
test("a batch is refunded once, less the gain meanwhile", () => {
  const stash = new Stash("k", parseRate(90), burst);
  stash.begin(granted(302), 1000);
  assert.ok(stash.spend(2, 1000));
  assert.equal(stash.refund(1000 + holdMs), 300 - 14); // 13.5 tokens in 150 ms.
  assert.equal(stash.refund(1000 + holdMs), 0);
  stash.begin(granted(13), 1000);
  assert.equal(stash.refund(1000 + holdMs), 0);
});

test("tokens that the server did not grant are not refunded", () => {
  const stash = new Stash("k", parseRate("1/h"), burst);
  for (const source of ["local", "policy"]) {
    stash.begin(granted(302, source), 1000);
    assert.equal(stash.refund(1000), 0);
  }
});

test("a batch is not spent late", () => {
  const stash = new Stash("k", parseRate(90), burst);
  stash.begin(granted(5), 1000);
  const spent = stash.spend(2, 1000 + holdMs - 1);
  assert.deepEqual(spent, { ...granted(2, "batch"), remaining: 3 + 3, resetAfterMs: 901 });
  assert.deepEqual([stash.spend(0, 1000), stash.spend(4, 1000)], [null, null]);
  assert.equal(stash.spend(2, 1000 + holdMs), null);
});

test("the use is that of the last tenth of a second", () => {
  const stash = new Stash("k", parseRate(1), burst);
  let now = 1000;
  for (const [pause, cost, size] of [[0, 400, 400], [100, 8, 408], [50, 2, 210], [200, 3000, 1250]]) {
    now += pause;
    stash.count(cost, now);
    assert.equal(stash.batch(now), size);
  }
});

test("the log of every unit is within the limit while processes are killed", async () => {
  const [rate, small] = [1600, 1600];
  const folder = mkdtempSync(join(tmpdir(), "redis-rl-"));
  const script = new URL("local.process.mjs", import.meta.url).pathname;
  const processes = [];
  const start = () => {
    const log = join(folder, String(processes.length));
    const process_ = spawn(process.execPath, [script, server.port, log, rate, small].map(String), { stdio: "inherit" });
    processes.push(process_);
    return until("it spends", () => {
      assert.equal(process_.exitCode, null);
      return statSync(log, { throwIfNoEntry: false })?.size;
    });
  };
  await Promise.all([start(), start(), start()]);
  for (let n = 0; n < 3; n++) {
    processes[n].kill("SIGKILL");
    await start();
  }
  for (const one of processes) one.kill("SIGKILL");
  const units = readdirSync(folder)
    .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n").slice(0, -1).map(Number))
    .sort((a, b) => a - b);
  // In no time t more than burst + rate × (t + hold): the units beyond the rate, since the fewest before.
  let [fewest, most] = [0, 0];
  for (const [count, at] of units.entries()) {
    const beyond = count - (rate / 1000) * (at - units[0]);
    fewest = Math.min(fewest, beyond);
    most = Math.max(most, beyond + 1 - fewest);
  }
  assert.ok(units.length > 100 && most <= small + (rate / 1000) * holdMs, `${most} of ${units.length}`);
});
