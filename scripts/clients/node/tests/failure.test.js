// What happens when the server does not answer, or refuses, with each library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Limiter, Outage } from "../src/index.js";
import { slotOf } from "../src/connection.js";
import { isOutage } from "../src/failure.js";
import { Redis, Server, clusters, createClient, libraries, library, quiet, until, wireTo } from "./server.js";

let shared;
before(async () => {
  shared = await Server.start();
});
after(() => shared.stop());

for (const [name, connect] of Object.entries(libraries)) {
  describe(`with ${name}`, () => {
    // A limiter that has been answered, for the length of a test.
    async function using(port, options, body) {
      const { connection: settings, ...own } = options;
      const connection = await connect(port, settings);
      const log = quiet();
      const limits = new Limiter(connection.client, { timeoutMs: 30_000, log, ...own });
      try {
        await until("the server answers", () => limits.check().catch(() => true));
        for (const count of Object.keys(limits.counts)) limits.counts[count] = 0;
        await body(limits, log);
      } finally {
        limits.close();
        connection.close();
      }
    }

    async function ownServer(options, body) {
      const server = await Server.start();
      try {
        await using(server.port, options, (limits, log) => body(server, limits, log));
      } finally {
        server.goOn();
        await server.stop();
      }
    }

    test("a missing module is thrown, and logged with its text", async () => {
      const bare = await Server.start({ module: false });
      await using(bare.port, {}, async (limits, log) => {
        await assert.rejects(limits.take("k", 1, 1), /unknown command/);
        await assert.rejects(limits.check(), /unknown command/);
        assert.deepEqual([limits.counts.mistakes, limits.counts.outages], [2, 0]);
      });
      // Logged once a second, first before the counts began.
      const connection = await connect(bare.port);
      const log = quiet();
      const limits = new Limiter(connection.client, { timeoutMs: 30_000, log });
      await until("it is logged", async () => {
        await limits.check().catch(() => {});
        return log.lines.some((line) => line.startsWith("error: ") && line.includes("unknown command"));
      });
      limits.close();
      connection.close();
      await bare.stop();
    });

    test("a wrong type, wrong syntax and a missing permission are thrown", async () => {
      await shared.ask("FLUSHALL");
      await shared.ask("RPUSH", "list", "x");
      await using(shared.port, {}, async (limits) => {
        await assert.rejects(limits.take("list", 1, 1), /WRONGTYPE/);
        await assert.rejects(limits.take("k", 1, -1));
        assert.equal(limits.counts.mistakes, 2);
      });
      await shared.ask("ACL", "SETUSER", "app", "on", "nopass", "~*", "-@all", "+info", "+select", "+client");
      const user = { username: "app", password: "x" };
      await using(shared.port, { connection: user }, async (limits) => {
        await assert.rejects(limits.take("k", 1, 1), /NOPERM/);
      });
    });

    test("a server that hangs leaves the bucket in the process, and its late denial is remembered", () =>
      ownServer({ timeoutMs: 50, share: 0.5 }, async (server, limits, log) => {
        await until("the server answers in time", async () => (await limits.take("k", "1/h", 1)).source === "server");
        const { outages } = limits.counts;
        server.hang();
        const got = [];
        for (let n = 0; n < 15; n++) got.push(await limits.take("j", "1/h", 20));
        assert.ok(got.every(({ source }) => source === "local"));
        assert.equal(got.filter(({ allowed }) => allowed).length, 10);
        assert.ok(got[14].retryAfterMs > 0 && log.lines.some((line) => line.includes("no answer")));
        assert.equal(limits.counts.outages - outages, 15);
        server.goOn();
        await until("a late denial is remembered", async () => {
          server.hang();
          const late = (await limits.take("k", "1/h", 1)).source === "local";
          const { answered } = limits.counts;
          server.goOn();
          if (late) await until("the late reply comes", () => limits.counts.answered > answered);
          // On a busy machine more than the second may have passed.
          return late && (await limits.take("k", "1/h", 1)).source === "memory";
        });
      }));

    test("a server that is gone is decided by the policy, and asked again when it is back", () =>
      ownServer({ timeoutMs: 50 }, async (server, local) => {
        const limiters = { local };
        const others = [];
        for (const onError of ["open", "closed"]) {
          const connection = await connect(server.port);
          limiters[onError] = new Limiter(connection.client, { onError, log: quiet() });
          others.push(connection);
        }
        await server.kill();
        const got = {};
        for (const [onError, limits] of Object.entries(limiters)) {
          got[onError] = [];
          for (let n = 0; n < 3; n++) got[onError].push((await limits.take("k", "1/h", 2)).allowed);
        }
        assert.deepEqual(got, { local: [true, true, false], open: [true, true, true], closed: [false, false, false] });
        await assert.rejects(limiters.open.peek("k", 1, 2), Outage);
        await server.start();
        for (const limits of Object.values(limiters)) {
          await until("it is asked again", async () => (await limits.take("k", "1/h", 2)).source === "server" || limits.counts.fromMemory);
          limits.close();
        }
        for (const { close } of others) close();
      }));

    test("a call is answered in bounded time while nothing is connected", () =>
      ownServer({ timeoutMs: 50 }, async (server, limits) => {
        await server.kill();
        const start = performance.now();
        for (let n = 0; n < 10; n++) assert.notEqual((await limits.take("k", 1, 1)).source, "server");
        // Ten times 50 ms, however busy the machine; as it was, it was pending for ever.
        assert.ok(performance.now() - start < 30_000);
        await server.start();
      }));

    test("a take is never sent again after a lost reply", async () => {
      await shared.ask("FLUSHALL");
      const wire = await wireTo(shared.port);
      await using(wire.port, {}, async (limits) => {
        assert.equal((await limits.take("k", "1/d", 100)).source, "server");
        wire.lose = 1;
        assert.equal((await limits.take("k", "1/d", 100)).source, "local");
        await until("it is connected again", async () => (await limits.take("other", 1, 1)).source === "server");
        assert.equal(100 - (await shared.ask("RL.PEEK", "k", "1/d", 100))[2], 2);
      });
      wire.stop();
    });

    test("with every place taken by a late call it is decided at once", () =>
      ownServer({ timeoutMs: 200, inFlight: 2 }, async (server, limits) => {
        await until("the server answers in time", async () => (await limits.take("k", "1/h", 9)).source === "server");
        const { late } = limits.counts;
        server.hang();
        await Promise.all([limits.take("k0", 1, 1), limits.take("k1", 1, 1)]);
        assert.equal(limits.counts.late - late, 2);
        for (let n = 0; n < 50; n++) assert.equal((await limits.take(`j${n}`, 1, 1)).source, "local");
        // Only those that were sent count as late: nobody else waited.
        assert.ok(limits.counts.late - late < 20);
      }));

    // 200 callers at once, for a second and 20 calls each. Returns how many passed, and the seconds it took.
    async function flood(limits) {
      const start = performance.now();
      let passed = 0;
      const caller = async () => {
        for (let asked = 0; asked < 20 || performance.now() - start < 1000; asked++) {
          const { allowed } = await limits.take("flood", "100/m", 20);
          if (allowed) passed++;
          await new Promise(setImmediate);
        }
      };
      await Promise.all(Array.from({ length: 200 }, caller));
      return [passed, (performance.now() - start) / 1000];
    }

    test("a flood passes no more than the limit", async () => {
      await shared.ask("FLUSHALL");
      await using(shared.port, { inFlight: 16 }, async (limits) => {
        const [passed, seconds] = await flood(limits);
        assert.equal(limits.counts.localAllowed + limits.counts.outages, 0);
        assert.ok(passed >= 20 && passed <= (20 + (100 / 60) * seconds) * 1.02, `${passed} in ${seconds} s`);
        assert.ok(limits.counts.fromMemory > limits.counts.answered);
      });
    });

    test("a flood past the time-out passes at most the share more", async () => {
      await shared.ask("FLUSHALL");
      await using(shared.port, { timeoutMs: 0.5 }, async (limits) => {
        const [passed, seconds] = await flood(limits);
        const limit = 20 + (100 / 60) * seconds;
        assert.ok(passed <= limit * 2 * 1.02, `${passed} in ${seconds} s`);
        assert.ok(limits.counts.localAllowed <= limit * 1.02);
      });
    });

    test("a denial is remembered until its wait is over, for a second at most", async () => {
      await shared.ask("FLUSHALL");
      await using(shared.port, {}, async (limits) => {
        await limits.take("k", 2, 1);
        await until("a denial is remembered", async () => {
          // On a busy machine the wait may be over before the next call.
          const denied = await limits.take("k", 2, 1);
          const again = await limits.take("k", 2, 1);
          return again.source === "memory" && again.retryAfterMs <= denied.retryAfterMs;
        });
        await until("its wait is over", async () => (await limits.take("k", 2, 1)).allowed);
        await limits.take("l", "1/h", 5, { cost: 4 });
        const start = performance.now();
        await until("it is remembered", async () => (await limits.take("l", "1/h", 5, { cost: 3 })).source === "memory");
        assert.equal((await limits.take("l", "1/h", 5, { cost: 2 })).source, "server");
        await shared.ask("DEL", "l");
        await until("the refund is seen", async () => (await limits.take("l", "1/h", 5, { cost: 2 })).allowed);
        assert.ok(performance.now() - start > 900);
      });
    });
  });
}

for (const [name, connect] of Object.entries(clusters)) {
  test(`a take is never sent again after a lost reply of a cluster, with ${name}`, async () => {
    const node = await Server.startCluster();
    const wire = await wireTo(node.port);
    await node.ask("CONFIG", "SET", "cluster-announce-port", wire.port);
    const connection = await connect(wire.port);
    const limits = new Limiter(connection.client, { timeoutMs: 30_000, log: quiet() });
    await until("it is connected", async () => (await limits.take("other", 1, 1)).source !== "local");
    assert.equal((await limits.take("k", "1/d", 100)).source, "server");
    wire.lose = 1;
    assert.equal((await limits.take("k", "1/d", 100)).source, "local");
    assert.equal(100 - (await node.ask("RL.PEEK", "k", "1/d", 100))[2], 2);
    limits.close();
    connection.close();
    wire.stop();
    await node.stop();
  });
}

test("a state of the server is an outage, a refusal is a mistake", () => {
  const reply = (text) => new (library("redis-errors").ReplyError)(text);
  for (const code of "LOADING MISCONF NOREPLICAS OOM READONLY BUSY CLUSTERDOWN".split(" ")) {
    assert.ok(isOutage(reply(`${code} for a while`)), code);
  }
  for (const text of ["ERR for ever", "NOPERM no", "WRONGTYPE x", "NOAUTH who?"]) assert.ok(!isOutage(reply(text)), text);
});

test("the slot of a key is that of the server", async () => {
  const calculateSlot = library("cluster-key-slot");
  for (const key of ["k", "{a}b", "{}b", "a{b}c{d}", "ä", "{", "}{x}", ""]) assert.equal(slotOf(key), calculateSlot(key), key);
});

test("ioredis that is set up well is used as it is", async () => {
  const client = new Redis(shared.port, { maxRetriesPerRequest: 0, enableOfflineQueue: false });
  await until("it is ready", () => client.status === "ready");
  // Those of other tests may go meanwhile.
  const connections = async () => (await client.client("LIST")).match(/(?<=^id=)\d+/gm);
  const before = await connections();
  const limits = new Limiter(client);
  await limits.check();
  assert.deepEqual((await connections()).filter((id) => !before.includes(id)), []);
  client.disconnect();
});

test("wrong settings are errors", async () => {
  const client = createClient();
  for (const wrong of [{ timeoutMs: 0 }, { onError: "maybe" }, { share: 0 }, { share: 2 }, { inFlight: 0 }]) {
    assert.throws(() => new Limiter(client, wrong), RangeError);
  }
  assert.throws(() => new Limiter({}), TypeError);
  await assert.rejects(new Limiter(client).take("k", "many", 1), RangeError);
});
