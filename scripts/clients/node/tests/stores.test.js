// The stores for express-rate-limit and rate-limiter-flexible, under these packages.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Limiter } from "../src/index.js";
import { Store } from "../src/express-rate-limit.js";
import { Server, express, libraries, library, root, until } from "./server.js";

let server;
let connection;
let limits;
before(async () => {
  server = await Server.start();
  connection = await libraries["node-redis"](server.port);
  limits = new Limiter(connection.client, { timeoutMs: 30_000 });
});
after(async () => {
  connection.close();
  await server.stop();
});

test("express-rate-limit counts by the store", async () => {
  const { rateLimit } = library("express-rate-limit");
  const store = new Store(limits);
  const app = express();
  const skipFailedRequests = true; // So that a failed request is taken back.
  app.use(rateLimit({ store, limit: 2, windowMs: 3_600_000, standardHeaders: "draft-8", skipFailedRequests }));
  app.get("/", (request, response) => response.send("Hello"));
  app.get("/fails", (request, response) => response.sendStatus(500));
  const listener = await new Promise((resolve) => {
    const opened = app.listen(0, "127.0.0.1", () => resolve(opened));
  });
  const ask = async (path) => {
    const url = `http://127.0.0.1:${listener.address().port}${path}`;
    return new Promise((resolve, reject) => {
      http.get(url, { agent: false }, (response) => response.resume().on("end", () => resolve(response))).on("error", reject);
    });
  };
  assert.equal((await ask("/fails")).statusCode, 500);
  await until("it is taken back", async () => (await store.get("127.0.0.1")) === undefined);
  const first = await ask("/");
  assert.equal(first.statusCode, 200);
  const [, left, seconds] = /r=(\d+); t=(\d+)/.exec(first.headers.ratelimit);
  assert.ok(left === "1" && seconds > 3000 && seconds <= 3600, first.headers.ratelimit);
  assert.deepEqual([(await ask("/")).statusCode, (await ask("/")).statusCode], [200, 429]);
  const { totalHits, resetTime } = await store.get("127.0.0.1");
  assert.ok(totalHits >= 2 && resetTime > Date.now() + 3_500_000);
  await store.resetKey("127.0.0.1");
  assert.equal((await ask("/")).statusCode, 200);
  listener.close();
});

test("a window of the store ends, and its keys expire with it", async () => {
  const store = new Store(limits, { prefix: "short:" });
  store.init({ windowMs: 100 });
  assert.equal((await store.increment("k")).totalHits, 1);
  await until("it ends", async () => (await store.get("k")) === undefined);
  await until("its key expires", async () => (await server.ask("EXISTS", "short:k")) === 0);
});

test("rate-limiter-flexible limits by the store", async () => {
  // A copy next to the libraries, since Node looks for rate-limiter-flexible above the file that imports it.
  const copy = join(root, "target/clients/node/redis-rl-copy");
  for (const name of ["package.json", "src"]) {
    cpSync(new URL(`../${name}`, import.meta.url), join(copy, name), { recursive: true });
  }
  const { RateLimiterRedisRl } = await import(join(copy, "src/rate-limiter-flexible.js"));
  const limiter = new RateLimiterRedisRl({ limiter: limits, points: 3, duration: 3600, keyPrefix: "flex" });
  const first = await limiter.consume("k", 2);
  assert.deepEqual([first.remainingPoints, first.consumedPoints, first.isFirstInDuration], [1, 2, true]);
  assert.ok(first.msBeforeNext > 3_500_000);
  await limiter.consume("k");
  await assert.rejects(limiter.consume("k"), (denied) => denied.consumedPoints === 4 && denied.remainingPoints === 0);
  assert.equal((await limiter.reward("k", 2)).consumedPoints, 2);
  assert.equal((await limiter.penalty("k", 1)).consumedPoints, 3);
  assert.equal((await limiter.get("k")).consumedPoints, 3);
  assert.equal((await limiter.set("k", 1, 60)).consumedPoints, 1);
  assert.ok((await limiter.get("k")).msBeforeNext <= 60_000);
  await limiter.block("k", 60);
  await assert.rejects(limiter.consume("k"), ({ msBeforeNext }) => msBeforeNext > 0);
  assert.deepEqual([await limiter.delete("k"), await limiter.delete("k"), await limiter.get("k")], [true, false, null]);
});
