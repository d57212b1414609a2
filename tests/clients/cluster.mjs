// Every command from ioredis' Cluster, as the user app: before, while and after a slot
// moves.
//
// Arguments: host:port,... key...
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The library lies in the build's folder, where an import would not look for it.
const { Cluster } = createRequire(process.env.CLIENTS)("ioredis");
// Without a right that it needs, it would try again for ever.
setTimeout(() => process.exit(1), 120_000).unref();

const [addresses, ...keys] = process.argv.slice(2);
const nodes = addresses.split(",").map((address) => {
  const [host, port] = address.split(":");
  return { host, port: Number(port) };
});
const cluster = new Cluster(nodes, { redisOptions: { username: "app", password: "secret" } });
cluster.on("error", (error) => console.error(String(error)));

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
for (const moment of ["before", "while", "after"]) {
  for (const key of keys.map((key) => `${key}:${moment}`)) {
    assert.equal((await cluster.call("RL.TAKE", key, "1/d", "99"))[0], 1);
    assert.equal((await cluster.call("RL.PEEK", key, "1/d", "99"))[0], 1);
    assert.equal((await cluster.call("RL.GIVE", key, "1/d", "99"))[0], 1);
    // Of several new keys in a slot that moves, a server says TRYAGAIN.
    if (moment === "while") continue;
    const many = ["2", `${key}:2`, "1/d", "99", `${key}:3`, "1/d", "99"];
    assert.equal((await cluster.call("RL.MTAKE", ...many))[0], 1);
  }
  console.log("taken");
  await lines.next();
}
process.exit(0);
