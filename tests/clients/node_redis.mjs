// The commands from node-redis. Argument: the server's port.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The library lies in the build's folder, where an import would not look for it.
const { createClient } = createRequire(process.env.CLIENTS)("redis");

for (const RESP of [2, 3]) {
  const client = await createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, RESP }).connect();
  const key = `user:${RESP}`;
  const take = (...options) => client.sendCommand(["RL.TAKE", key, "1/d", "2", ...options]);
  assert.deepEqual(await take(), [1, 2, 1, 0, 86400000]);
  assert.deepEqual((await take("COST", "1")).slice(0, 4), [1, 2, 0, 0]);
  const [taken, limit, remaining, waitMs, resetMs] = await take();
  assert.deepEqual([taken, limit, remaining], [0, 2, 0]);
  assert(waitMs > 0 && waitMs <= 86400000 && resetMs > 86400000 && resetMs <= 2 * 86400000);

  const piped = ["RL.TAKE", "piped", "1/d", "9"];
  const replies = await client.multi().addCommand(piped).addCommand(piped).exec();
  assert.deepEqual(replies.map(([taken]) => taken), [1, 1]);

  await assert.rejects(client.sendCommand(["RL.TAKE", key, "nan", "2"]), /rate must be/);
  client.destroy();
}
