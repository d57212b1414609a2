// Each command's call, against a real server, with each library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { commands, hold } from "../src/commands.js";
import { Limiter, bucket, lease, window } from "../src/index.js";
import { slotOf } from "../src/connection.js";
import { Server, clusters, libraries, midDay, until } from "./server.js";

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

for (const [name, connect] of Object.entries(libraries)) {
  describe(`calls by ${name}`, () => {
    let connection;
    let limits;
    before(async () => {
      await server.ask("FLUSHALL");
      connection = await connect(server.port);
      limits = new Limiter(connection.client, { timeoutMs: 30_000 });
      await until("it is connected", () => limits.check());
    });
    after(() => {
      limits.close();
      connection.close();
    });

    test("of a bucket", async () => {
      const taken = await limits.take("b", "1/d", 20, { cost: 5 });
      assert.ok(taken.allowed && taken.resetAfterMs === 5 * 86_400_000);
      assert.deepEqual([taken.taken, taken.limit, taken.remaining, taken.source], [5, 20, 15, "server"]);
      assert.equal((await limits.take("b", "1/d", 20, { cost: 12, keep: 10 })).allowed, false);
      assert.equal((await limits.take("b", "1/d", 20, { cost: 99, atmost: true, keep: 3 })).taken, 12);
      const waits = await limits.take("b", "1/h", 20, { cost: 4, maxwaitMs: 7_200_000 });
      assert.ok(waits.allowed && waits.retryAfterMs > 3_000_000 && waits.retryAfterMs <= 3_600_000);
      assert.ok((await limits.take("b", "1/h", 20, { cost: 5, force: true })).allowed);
      const denied = await limits.peek("b", "1/h", 20, { cost: 3 });
      assert.ok(!denied.allowed && denied.retryAfterMs > 8 * 3_600_000 && denied.remaining === 0);
      assert.equal((await limits.take("b", "1/h", 20, { cost: 21 })).retryAfterMs, null);
      assert.deepEqual([await limits.give("c", "1/h", 20), await limits.give("b", "1/h", 20, { cost: 2 })], [0, 2]);
    });

    test("of several buckets", async () => {
      const buckets = [["{a}", "1/h", 5], ["{a}:b", "1/h", 2]];
      const both = await limits.mtake(buckets, { cost: 2 });
      assert.ok(both.allowed);
      assert.deepEqual(both.each.map((one) => one.remaining), [3, 0]);
      const denied = await limits.mtake(buckets, { cost: 2 });
      assert.deepEqual(denied.each.map((one) => one.allowed), [true, false]);
    });

    test("of a window", async () => {
      assert.equal((await limits.wtake("w", 10, midDay(), { cost: 4 })).remaining, 6);
      assert.equal((await limits.wpeek("w", 10, "DAY", { cost: 7 })).allowed, false);
      assert.equal((await limits.wtake("w", 10, "DAY", { cost: 8, atmost: true, keep: 1 })).taken, 5);
      assert.equal(await limits.wgive("w", 10, "DAY", { cost: 3 }), 3);
      assert.equal(await limits.wgive("w", 10, "DAY", { at: Date.now() - 3 * 86_400_000 }), 0);
      assert.equal((await limits.wtake("s", 3, "SLIDING 1m", { cost: 5, force: true })).remaining, 0);
    });

    test("of leases", async () => {
      assert.equal((await limits.acquire("l", 2, 7_200_000, "a")).remaining, 1);
      assert.equal((await limits.acquire("l", 2, 7_200_000, "b", { keep: 1 })).allowed, false);
      assert.ok((await limits.acquire("l", 2, 3_600_000, "b")).allowed);
      const told = await limits.leases("l", 2);
      assert.deepEqual([told.held, told.limit, told.remaining], [2, 2, 0]);
      assert.deepEqual(told.tokens.map(({ token }) => token), ["b", "a"]);
      assert.equal(await limits.renew("l", 9_000_000, "a", "c"), 1);
      assert.equal(await limits.release("l", "a", "b", "c"), 2);
    });

    test("of all or none", async () => {
      const all = [
        bucket("{u}:rpm", "60/m", 10),
        window("{u}:month", 2000, "30d", { cost: 1500 }),
        lease("{u}:run", 5, 3_600_000, "req", { once: true }),
      ];
      assert.deepEqual((await limits.all(...all)).each.map((one) => one.taken), [1, 1500, 1]);
      assert.deepEqual((await limits.all(...all)).each.map((one) => one.taken), [0, 0, 1]);
      const denied = await limits.all(window("{u}:month", 2000, "30d", { cost: 501 }), bucket("{u}:rpm", "60/m", 10));
      assert.deepEqual([denied.allowed, denied.each.map((one) => one.allowed)], [false, [false, true]]);
    });
  });
}

for (const [name, connect] of Object.entries(libraries)) {
  test(`keyPrefix of ${name} is applied to every key`, async () => {
    await server.ask("FLUSHALL");
    const connection = await connect(server.port, { keyPrefix: "app:" });
    const limits = new Limiter(connection.client, { timeoutMs: 30_000 });
    await until("it is connected", () => limits.check());
    await limits.take("p", "1/h", 5);
    await limits.mtake([["q", "1/h", 5], ["r", "1/h", 5]]);
    assert.deepEqual((await server.ask("KEYS", "*[pqr]")).sort(), ["app:p", "app:q", "app:r"]);
    limits.close();
    connection.close();
  });
}

test("a time that is not a number names the mistake", () => {
  const calls = [
    () => commands.acquire("k", 5, "30s", "t"),
    () => commands.acquire("k", 5, 30_000, "t", { waitMs: "2s" }),
    () => commands.renew("k", "30s", "t"),
    () => commands.take("k", 1, 1, { maxwaitMs: "2s" }),
    () => lease("k", 5, "30s", "t"),
    () => hold("h", "30s", "id"),
  ];
  for (const call of calls) assert.throws(call, /a time is a number of milliseconds, such as 30000, not "/);
});

test("a cluster is asked by the key's slot", async () => {
  const node = await Server.startCluster();
  for (const [name, connect] of Object.entries(clusters)) {
    const connection = await connect(node.port, { keyPrefix: `${name}:` });
    const limits = new Limiter(connection.client, { timeoutMs: 30_000 });
    await until("it is connected", () => limits.check());
    assert.equal((await limits.take("{k}", "1/h", 5)).remaining, 4);
    assert.equal((await limits.all(bucket("{k}", "1/h", 5), bucket("{k}2", "1/h", 5))).each[0].remaining, 3);
    assert.deepEqual((await node.ask("KEYS", "*{k}*")).sort(), [`${name}:{k}`, `${name}:{k}2`]);
    await node.ask("FLUSHALL");
    limits.close();
    connection.close();
  }
  // ioredis alone would ask any node, and follow a redirect.
  const safe = { retryDelayOnFailover: 0, enableOfflineQueue: false, redisOptions: { maxRetriesPerRequest: 0 } };
  const { client, close } = await clusters.ioredis(node.port, safe);
  const slots = [];
  const send = client.sendCommand;
  client.sendCommand = function (command, ...rest) {
    slots.push(command.slot);
    return send.call(this, command, ...rest);
  };
  await new Limiter(client, { timeoutMs: 30_000 }).take("{k}x", "1/h", 5);
  assert.deepEqual(slots, [slotOf("k")]);
  close();
  await node.stop();
});
