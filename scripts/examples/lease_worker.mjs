// A worker that does its work only while it holds one of at most 5 slots, by RL.ACQUIRE … WAIT.
//
// npm install redis
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";

const key = "slots:reports";
const limit = 5;
const ttlMs = Number(process.env.TTL_MS ?? 30_000); // Some ten times the longest pause of a process.

const waitMs = 60_000;

const redis = createClient({
  url: process.env.REDIS_URL,
  // While there is no connection a call fails at once: the next beat tries again.
  disableOfflineQueue: true,
  socket: { connectTimeout: 1000, socketTimeout: ttlMs, reconnectStrategy: 100 },
});
// Without a listener an error would end the process. The affected call reports it.
redis.on("error", () => {});
await redis.connect();

const ask = (...words) => redis.sendCommand(words.map(String));

// Waits in the server until there is a slot, over a connection of its own.
async function acquire(token) {
  const line = redis.duplicate({ socket: { connectTimeout: 1000, socketTimeout: waitMs + 10_000 } });
  line.on("error", () => {});
  await line.connect();
  try {
    for (;;) {
      const words = ["RL.ACQUIRE", key, limit, `${ttlMs}ms`, token, "WAIT", waitMs];
      const [taken, , , retryMs] = await line.sendCommand(words.map(String));
      if (taken) return;
      // The wait is over, or too many callers wait already.
      await sleep(Math.max(10, Math.min(retryMs, 1000)));
    }
  } finally {
    line.destroy();
  }
}

// Runs `work` while it holds a slot. `work` receives a signal, which is aborted when it must stop.
async function withLease(work) {
  const token = randomUUID();
  const lost = new AbortController();
  let ends;
  // Renews the lease, and returns whether it is still live.
  const renew = async () => {
    const asked = performance.now();
    const isLive = Boolean(await ask("RL.RENEW", key, `${ttlMs}ms`, token));
    // Measured from before the call, so it ends here before it ends in the server.
    if (isLive) ends = asked + ttlMs;
    return isLive;
  };
  // The lease began at an unknown time during the wait; a renewal begins at a known one.
  do {
    await acquire(token);
  } while (!(await renew()));
  // Renews at a third of the time, so that two renewals may fail.
  const heart = setInterval(async () => {
    try {
      if (!(await renew())) lost.abort();
    } catch (error) {
      console.warn(`no renewal: ${error.message}`); // The lease still runs.
    }
  }, ttlMs / 3);
  // Ends it by this machine's clock where no renewal came through.
  const watch = setInterval(() => performance.now() >= ends && lost.abort(), Math.min(50, ttlMs / 3));
  try {
    return await work(lost.signal);
  } finally {
    clearInterval(heart);
    clearInterval(watch);
    await ask("RL.RELEASE", key, token).catch((error) => {
      console.warn(`no release, the slot comes back by itself: ${error.message}`);
    });
  }
}

await withLease(async (signal) => {
  console.log("working");
  for (let step = 0; step < Number(process.env.STEPS ?? 100); step += 1) {
    // Checked between steps that are short compared to the ttl. A fetch accepts the signal itself.
    if (signal.aborted) return console.log(`stopped at step ${step}: the lease has ended`);
    await sleep(50); // The work.
  }
  console.log("done");
});
redis.destroy();
