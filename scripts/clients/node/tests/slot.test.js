// A slot that is held while a body runs, with each library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Limiter, NoSlot, Outage, SlotLost } from "../src/index.js";
import { Server, Stalls, libraries, quiet, until } from "./server.js";

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const held = async () => (await server.ask("RL.LEASES", "jobs", 5))[0];

for (const [name, connect] of Object.entries(libraries)) {
  describe(`a slot by ${name}`, () => {
    async function using(body, port = server.port, timeoutMs = 30_000) {
      if (port === server.port) await server.ask("FLUSHALL");
      const connection = await connect(port);
      const limits = new Limiter(connection.client, { timeoutMs, log: quiet() });
      await until("it is connected", () => limits.check());
      try {
        await body(limits);
      } finally {
        limits.close();
        connection.close();
      }
    }

    async function isRenewed(limits, ttlMs, stalls) {
      await server.ask("DEL", "jobs");
      const result = await limits.slot("jobs", 1, ttlMs, {}, async () => {
        for (const start = performance.now(); performance.now() - start < 2.5 * ttlMs; await sleep(20)) {
          assert.equal(await held(), 1);
          stalls.happened();
        }
        await assert.rejects(limits.slot("jobs", 1, ttlMs, {}, () => assert.fail("it is held")), NoSlot);
        return 7;
      });
      assert.deepEqual([result, await held()], [7, 0]);
    }

    test("is renewed while the body runs, and released", () =>
      using(async (limits) => {
        let ttlMs = 1500;
        await until("nothing stalls for a third of a ttl while a slot is renewed", async () => {
          const stalls = new Stalls(ttlMs);
          try {
            await isRenewed(limits, ttlMs, stalls);
            return true;
          } catch (error) {
            if (!stalls.happened()) throw error;
          }
          ttlMs *= 2;
        });
        await assert.rejects(limits.slot("jobs", 1, 600, {}, () => Promise.reject(new Error("mine"))), /mine/);
        assert.equal(await held(), 0);
      }));

    test("aborts the body when a renewal returns 0", () =>
      using(async (limits) => {
        let aborted = false;
        const body = async (signal) => {
          signal.addEventListener("abort", () => (aborted = true));
          await server.ask("DEL", "jobs");
          await new Promise(() => {});
        };
        await assert.rejects(limits.slot("jobs", 1, 600, {}, body), SlotLost);
        assert.ok(aborted);
      }));

    test("aborts the body when no renewal comes through", async () => {
      const own = await Server.start();
      const body = async (limits) => {
        const hangs = async () => {
          own.hang();
          await new Promise(() => {});
        };
        await until("a slot is held and lost", async () => {
          const error = await limits.slot("jobs", 1, 600, {}, hangs).catch((error) => error);
          // On a busy machine the server may not answer in time.
          assert.ok([SlotLost, NoSlot, Outage].some((kind) => error instanceof kind), String(error));
          return error instanceof SlotLost;
        });
      };
      await using(body, own.port, 50);
      own.goOn();
      await own.stop();
    });

    test("is waited for in the server, in line", () =>
      using(async (limits) => {
        const events = [];
        let second;
        await limits.slot("jobs", 1, 3_600_000, {}, async () => {
          second = limits.slot("jobs", 1, 3_600_000, { waitMs: 50_000 }, async () => events.push("second"));
          await until("it waits", async () => (await server.ask("RL.LEASES", "jobs", 1))[6] === 1);
          // The connection of the others is free.
          assert.ok((await limits.take("other", 1, 1)).allowed);
          events.push("first");
        });
        await second;
        assert.deepEqual(events, ["first", "second"]);
        await limits.slot("jobs", 1, 3_600_000, {}, () =>
          assert.rejects(limits.slot("jobs", 1, 3_600_000, { waitMs: 200 }, () => assert.fail("it is held")), NoSlot),
        );
      }));
  });
}
