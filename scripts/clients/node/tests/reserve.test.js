// An estimate that is charged while a body runs, and settled once, with each library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Denied, HoldEnded, Limiter, bucket, hold, lease, window } from "../src/index.js";
import { Server, libraries, quiet, until, wireTo } from "./server.js";

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const [TPM, MONTH, RUN, HOLDS] = ["{u}:tpm", "{u}:month", "{u}:run", "{u}:holds"];
const limits = (cost = 1500) => [
  bucket(TPM, "1/d", 20_000, { cost }),
  window(MONTH, 2_000_000, "30d", { cost }),
  lease(RUN, 5, 3_600_000, "req"),
];

// Returns the tokens missing, the month's use, the slots held and the open holds.
async function state() {
  const [tpm, month, run, holds] = await Promise.all([
    server.ask("RL.PEEK", TPM, "1/d", 20_000),
    server.ask("RL.WPEEK", MONTH, 2_000_000, "30d"),
    server.ask("RL.LEASES", RUN, 5),
    server.ask("RL.HOLDS", HOLDS),
  ]);
  return [20_000 - tpm[2], 2_000_000 - month[2], run[0], holds[0]];
}

const becomes = (expected) =>
  until(`the state is ${expected}`, async () => String(await state()) === String(expected));

for (const [name, connect] of Object.entries(libraries)) {
  describe(`a reservation by ${name}`, () => {
    async function using(body, port = server.port) {
      await server.ask("FLUSHALL");
      const connection = await connect(port);
      const limiter = new Limiter(connection.client, { timeoutMs: 30_000, log: quiet() });
      await until("it is connected", () => limiter.check());
      try {
        await body(limiter);
      } finally {
        limiter.close();
        connection.close();
      }
    }

    const options = { holds: HOLDS, ttlMs: 3_600_000 };

    test("is settled by what was used, or else by its estimate", () =>
      using(async (limiter) => {
        const result = await limiter.reserve(limits(), options, async (reservation) => {
          assert.deepEqual(await state(), [1500, 1500, 1, 1]);
          const { open, holds } = await limiter.holds(HOLDS);
          assert.deepEqual([open, holds[0].id, holds[0].charge], [1, reservation.id, false]);
          assert.deepEqual(holds[0].held, { [TPM]: 1500, [MONTH]: 1500 });
          reservation.used = { [TPM]: 1120, [MONTH]: 1700 };
          return 7;
        });
        assert.deepEqual([result, await state()], [7, [1120, 1700, 0, 0]]);
        await limiter.reserve(limits(), options, async () => {});
        assert.deepEqual(await state(), [2620, 3200, 0, 0]);
      }));

    test("of a body that throws is settled with 0", () =>
      using(async (limiter) => {
        const throws = () => Promise.reject(new Error("mine"));
        await assert.rejects(limiter.reserve(limits(), options, throws), /mine/);
        assert.deepEqual(await state(), [0, 0, 0, 0]);
      }));

    test("of a body that throws is settled with the amounts used by then", () =>
      using(async (limiter) => {
        const throws = async (reservation) => {
          reservation.used[TPM] = 700;
          throw new Error("mine");
        };
        await assert.rejects(limiter.reserve(limits(), options, throws), /mine/);
        assert.deepEqual(await state(), [700, 0, 0, 0]);
      }));

    test("is charged its cost, with an error, if its amount cannot be charged", () =>
      using(async (limiter) => {
        let tokens = 0;
        for (const used of [{ "{u}:tmp": 1 }, { [RUN]: 1 }, { [TPM]: -1 }, { [TPM]: 1.5 }, { [TPM]: "7" }]) {
          const body = async (reservation) => Object.assign(reservation.used, { [MONTH]: 0 }, used);
          const [key] = Object.keys(used);
          await assert.rejects(limiter.reserve(limits(), options, body), ({ message }) => message.includes(key));
          tokens += 1500;
          assert.deepEqual(await state(), [tokens, 0, 0, 0]);
        }
      }));

    test("that is denied charges nothing and leaves no hold", () =>
      using(async (limiter) => {
        const denied = limiter.reserve(limits(20_001), options, () => assert.fail("it is denied"));
        await assert.rejects(denied, ({ decisions, keys, message }) => {
          assert.deepEqual(keys, [TPM]);
          assert.equal(message, `denied by ${TPM}; retrying does not help`);
          assert.deepEqual(decisions.each.slice(0, 3).map(({ allowed }) => allowed), [false, true, true]);
          return true;
        });
        await assert.rejects(limiter.reserve(limits(20_001), options, () => {}), Denied);
        assert.deepEqual(await state(), [0, 0, 0, 0]);
      }));

    test("whose replies are lost is charged once and settled once", async () => {
      const wire = await wireTo(server.port);
      await using(async (limiter) => {
        wire.lose = 1; // The reply of RL.ALL.
        await limiter.reserve(limits(), options, async (reservation) => {
          assert.equal(wire.lose, 0);
          assert.deepEqual(await state(), [1500, 1500, 1, 1]);
          reservation.used = { [TPM]: 1000, [MONTH]: 1000 };
          wire.lose = 1; // The reply of RL.SETTLE.
        });
        await becomes([1000, 1000, 0, 0]);
      }, wire.port);
      wire.stop();
    });

    test("is repeated while its body runs", () =>
      using(async (limiter) => {
        const taken = [bucket(TPM, "1/d", 20_000, { cost: 5 })];
        await limiter.reserve(taken, { holds: HOLDS, ttlMs: 9000 }, async () => {
          let before = Infinity;
          await until("a repeat moves the deadline", async () => {
            const [{ leftMs }] = (await limiter.holds(HOLDS)).holds;
            const moved = leftMs > before;
            before = leftMs;
            return moved;
          });
        });
      }));

    test("aborts its body when somebody else settled it", () =>
      using(async (limiter) => {
        const [taken] = limits();
        const held = hold(HOLDS, 9000, "mine");
        let aborted = false;
        const body = async ({ signal }) => {
          signal.addEventListener("abort", () => (aborted = true));
          assert.deepEqual(await limiter.settle([[taken, 7], [held, 0]]), { state: 1, each: [-1493, 0] });
          await sleep(50_000, undefined, { ref: false });
        };
        await assert.rejects(limiter.reserve([taken], { holds: HOLDS, ttlMs: 9000, id: "mine" }, body), HoldEnded);
        assert.ok(aborted);
        assert.equal((await state())[0], 7);
        assert.equal((await limiter.settle([[taken, 7], [held, 0]])).state, 0);
      }));

    test("that is not known any more is charged by force", () =>
      using(async (limiter) => {
        await limiter.reserve(limits(), options, async (reservation) => {
          await server.ask("FLUSHALL");
          reservation.used = { [TPM]: 10, [MONTH]: 20 };
        });
        await becomes([10, 20, 0, 0]);
      }));
  });
}
