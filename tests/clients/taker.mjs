// Takes tokens as fast as it can until its input ends, then tells how many it was given.
//
// Arguments: cluster host:port,... rate burst key...
// Output: the line `started` with the first answer, then of `taken <key> <tokens>` and
// `error <code> <count>`.
import { createRequire } from "node:module";

// The library lies in the build's folder, where an import would not look for it.
const { createCluster } = createRequire(process.env.CLIENTS)("redis");

const [, addresses, rate, burst, ...keys] = process.argv.slice(2);
const rootNodes = addresses.split(",").map((address) => ({ url: `redis://${address}` }));
const errors = {};
const taken = Object.fromEntries(keys.map((key) => [key, 0]));

// A call to a node that is gone fails at once: by default it waits for that node to come back.
// One that stalls must not look like one that died.
const socket = { reconnectStrategy: false, connectTimeout: 30_000 };
const defaults = { disableOfflineQueue: true, socket };

let cluster;
async function connect() {
  const attempt = createCluster({ rootNodes, defaults });
  attempt.on("error", () => {});
  cluster = await attempt.connect();
}

async function take(key) {
  if (!cluster) await connect();
  taken[key] += (await cluster.sendCommand(key, false, ["RL.TAKE", key, rate, burst]))[0];
}

let started = false;
let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
while (!ended) {
  for (const key of keys) {
    try {
      await take(key);
      if (!started) console.log("started");
      started = true;
    } catch (error) {
      const [code] = String(error.message).match(/^[A-Z]+(?= )/) ?? ["connection"];
      errors[code] = (errors[code] ?? 0) + 1;
      // Where the slots are now is asked afresh.
      if (code === "connection") {
        cluster?.destroy();
        cluster = undefined;
      }
      // The servers need the processor to settle who is the master now.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
for (const [key, tokens] of Object.entries(taken)) console.log("taken", key, tokens);
for (const [code, count] of Object.entries(errors)) console.log("error", code, count);
process.exit(0);
