// A worker that does its work only while it holds one of at most 5 slots, by RL.ACQUIRE.
//
// npm install redis
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";

const key = "slots:reports";
const limit = 5;
const ttlMs = Number(process.env.TTL_MS ?? 30_000); // Some ten times the longest pause of a process.

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

// Runs `work` while it holds a slot. `work` receives a signal, which is aborted when it must stop.
async function withLease(work) {
  const token = randomUUID();
  const lost = new AbortController();
  let ends;
  for (;;) {
    const asked = performance.now();
    const [taken, , , waitMs] = await ask("RL.ACQUIRE", key, limit, `${ttlMs}ms`, token);
    // Counted from before the call: so it is over here before it is over there.
    ends = asked + ttlMs;
    if (taken) break;
    // A hint: somebody may release before, so ask a bit more often.
    await sleep(Math.max(10, Math.min(waitMs, 1000)));
  }
  // Renews at a third of the time, so that two renewals may fail.
  const heart = setInterval(async () => {
    const asked = performance.now();
    try {
      if (await ask("RL.RENEW", key, `${ttlMs}ms`, token)) ends = asked + ttlMs;
      else lost.abort();
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
