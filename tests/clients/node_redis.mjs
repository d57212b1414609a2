// Every command from node-redis. Argument: the server's port.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The library lies in the build's folder, where an import would not look for it.
const { createClient } = createRequire(process.env.CLIENTS)("redis");
const day = 86400000;

async function check(client, key) {
  const send = (...words) => client.sendCommand(words);
  const call = (name, ...options) => send(name, key, "1/d", "2", ...options);

  assert.deepEqual(await call("RL.PEEK"), [1, 2, 2, 0, 0]);
  assert.deepEqual(await call("RL.TAKE"), [1, 2, 1, 0, day]);
  assert.deepEqual((await call("RL.TAKE", "COST", "1")).slice(0, 4), [1, 2, 0, 0]);
  const [taken, limit, remaining, waitMs, resetMs] = await call("RL.TAKE");
  assert.deepEqual([taken, limit, remaining], [0, 2, 0]);
  assert(0 < waitMs && waitMs <= day && day < resetMs && resetMs <= 2 * day);
  assert.deepEqual((await call("RL.GIVE", "COST", "1")).slice(0, 3), [1, 2, 1]);
  assert.deepEqual((await call("RL.TAKE", "COST", "2", "ATMOST")).slice(0, 4), [1, 2, 0, 0]);
  const reserved = await call("RL.TAKE", "MAXWAIT", String(day));
  assert(reserved[0] === 1 && 0 < reserved[3] && reserved[3] <= day);
  assert.deepEqual((await call("RL.TAKE", "COST", "9", "FORCE")).slice(0, 3), [9, 2, 0]);

  const buckets = [`${key}:s`, "1/d", "5", `${key}:d`, "1/d", "9"];
  assert.deepEqual(await send("RL.MTAKE", "2", ...buckets, "COST", "2"), [
    2,
    0,
    [
      [2, 5, 3, 0, 2 * day],
      [2, 9, 7, 0, 2 * day],
    ],
  ]);
  const throttled = await send("CL.THROTTLE", `${key}:cl`, "2", "1", "86400");
  assert.deepEqual(throttled, [0, 3, 2, -1, 86400]);

  const piped = ["RL.TAKE", `${key}:piped`, "1/d", "9"];
  const replies = await client.multi().addCommand(piped).addCommand(piped).exec();
  assert.deepEqual(replies.map(([taken]) => taken), [1, 1]);

  await assert.rejects(call("RL.TAKE", "COST", "nan"), /COST must be/);
}

for (const RESP of [2, 3]) {
  const url = `redis://127.0.0.1:${process.argv[2]}`;
  const client = await createClient({ url, RESP }).connect();
  await check(client, `user:${RESP}`);
  client.destroy();
}
