// Buckets by a script, compared with the module's.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Limiter } from "../src/index.js";
import { commands } from "../src/commands.js";
import { Fallback } from "../src/fallback.js";
import { Server, clusters, libraries, quiet, root, until } from "./server.js";

let server;
let bare;
before(async () => {
  server = await Server.start();
  bare = await Server.start({ module: false });
});
after(async () => {
  await server.stop();
  await bare.stop();
});

test("the script is that of Python", () => {
  const text = (path) => readFileSync(`${root}scripts/clients/${path}/bucket.lua`, "utf8");
  assert.equal(text("node/src"), text("python/redis_rl"));
});

test("the script replies as the module does", async () => {
  const { client, close } = await libraries["node-redis"](server.port);
  const fallback = new Fallback("lua", quiet());
  fallback.isUsed = true;
  const [limit, day] = [["1/h", 10], ["1/d", 10]];
  // The clock runs on between the two calls, so the rates are of hours, and waits may differ by a second and by the time
  // of a pair of calls.
  let apart = 0;
  for (const [name, ...args] of [
    ["take", "k", ...limit, { cost: 3 }],
    ["peek", "k", ...limit, { cost: 8 }],
    ["take", "k", ...limit, { cost: 3, keep: 5 }],
    ["take", "k", ...limit, { cost: 9, keep: 1, atmost: true }],
    ["take", "k", ...day],
    ["take", "k", ...limit, { cost: 2, maxwaitMs: 3_600_000 }],
    ["take", "k", ...limit, { cost: 2, maxwaitMs: 7_200_000 }],
    ["take", "k", ...limit, { cost: 4, force: true }],
    ["take", "k", ...limit, { cost: 0 }],
    ["take", "k", ...limit, { cost: 11 }],
    ["give", "k", ...limit, { cost: 2 }],
    ["peek", "k", ...limit],
    ["give", "k", ...limit, { cost: 99 }],
    ["peek", "new", "100/m", 1000, { cost: 1001 }],
  ]) {
    const call = commands[name](...args);
    const words = call.words((key) => key).map(String);
    const send = (_, sent) => client.sendCommand(sent);
    const start = performance.now();
    const [ours, scripts] = [await send(call.key, words), await fallback.send(call.key, words, send)];
    apart = Math.max(apart, performance.now() - start);
    assert.deepEqual(scripts.slice(0, 3), ours.slice(0, 3), words.join(" "));
    for (const n of [3, 4]) {
      const differs = Math.abs(scripts[n] - ours[n]) > 1000 + 2 * apart || scripts[n] < 0 !== ours[n] < 0;
      assert.ok(!differs, `${words.join(" ")}: ${scripts}, ${ours}`);
    }
  }
  close();
});

for (const [name, connect] of Object.entries({
  ...libraries,
  "a cluster of node-redis": clusters["node-redis"],
  "a cluster of ioredis": clusters.ioredis,
})) {
  test(`a server without the module is limited by the script, with ${name}`, async () => {
    const isCluster = name.startsWith("a cluster");
    const own = isCluster ? await Server.startCluster({ module: false }) : bare;
    await own.ask("FLUSHALL");
    await own.ask("SCRIPT", "FLUSH");
    const connection = await connect(own.port, { keyPrefix: "app:" });
    const log = quiet();
    const limits = new Limiter(connection.client, { timeoutMs: 30_000, log, fallback: "lua" });
    await until("it is connected", () => limits.check());
    const before = { ...limits.counts };
    const sources = [];
    for (let n = 0; n < 3; n++) sources.push(await limits.take("k", "1/h", 2));
    assert.deepEqual(sources.map(({ allowed }) => allowed), [true, true, false]);
    await until("the denial is remembered", async () => (await limits.take("k", "1/h", 2)).source === "memory");
    assert.equal(await limits.give("k", "1/h", 2), 1);
    assert.deepEqual((await own.ask("KEYS", "*k:lua")), ["app:k:lua"]);
    await assert.rejects(limits.wtake("k", 5, "1m"), /unknown command/);
    await own.ask("RPUSH", "app:list:lua", "x");
    await assert.rejects(limits.take("list", 1, 1), /WRONGTYPE/);
    await assert.rejects(limits.take("k", 1, -1), /integer/);
    assert.equal(limits.counts.mistakes, 3);
    assert.equal(log.lines.filter((line) => line.includes("scripts")).length, 1);
    limits.close();
    connection.close();
    if (isCluster) await own.stop();
  });
}

test("the module is preferred", async () => {
  const { client, close } = await libraries["node-redis"](server.port);
  await server.ask("FLUSHALL");
  const limits = new Limiter(client, { timeoutMs: 30_000, fallback: "lua" });
  await limits.take("k", "1/h", 2);
  assert.deepEqual(await server.ask("KEYS", "*"), ["k"]);
  assert.throws(() => new Limiter(client, { fallback: "js" }), RangeError);
  close();
});
