// Takes tokens as fast as it can until its input ends, then tells how many it was given.
//
// Arguments: cluster host:port,... rate burst key...
// Output: lines of `taken <key> <tokens>` and `error <code> <count>`.
import { createRequire } from "node:module";

// The library lies in the build's folder, where an import would not look for it.
const { createCluster } = createRequire(process.env.CLIENTS)("redis");

const [, addresses, rate, burst, ...keys] = process.argv.slice(2);
const rootNodes = addresses.split(",").map((address) => ({ url: `redis://${address}` }));
const cluster = createCluster({
  rootNodes,
  // A node that dies is asked about after half a second, and until then its calls fail at once: by
  // default they wait for it to come back.
  topologyRefreshOnReconnectionAttemptStrategy: 500,
  defaults: { disableOfflineQueue: true },
});
const errors = {};
const taken = Object.fromEntries(keys.map((key) => [key, 0]));
// Connections that break are told of beside the calls that fail for it.
cluster.on("error", () => {});
await cluster.connect();

let ended = false;
process.stdin.on("end", () => (ended = true)).resume();
while (!ended) {
  for (const key of keys) {
    try {
      taken[key] += (await cluster.sendCommand(key, false, ["RL.TAKE", key, rate, burst]))[0];
    } catch (error) {
      const [code] = String(error.message).match(/^[A-Z]+(?= )/) ?? ["connection"];
      errors[code] = (errors[code] ?? 0) + 1;
      // A call that fails without being sent lets nothing else happen.
      await new Promise(setImmediate);
    }
  }
}
for (const [key, tokens] of Object.entries(taken)) console.log("taken", key, tokens);
for (const [code, count] of Object.entries(errors)) console.log("error", code, count);
process.exit(0);
