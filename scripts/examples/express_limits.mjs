// Rate limits for Express, by RL.TAKE.
//
// npm install express redis
import express from "express";
import { createClient } from "redis";

const rate = "100/m";
const burst = 20;
const policy = '"default";q=20;w=12'; // w: seconds in which an empty bucket fills.
const timeoutMs = 50;

const redis = createClient({
  url: process.env.REDIS_URL,
  // While disconnected, a call fails at once instead of waiting.
  disableOfflineQueue: true,
  // A connection that does not even answer a ping is replaced. Without a reconnect strategy of its
  // own the client would close for good then.
  pingInterval: 500,
  socket: { connectTimeout: 1000, socketTimeout: 2000, reconnectStrategy: 100 },
});
// Without a listener an error would end the process. The affected request reports it.
redis.on("error", () => {});
// Not awaited: the service also starts without Redis.
redis.connect().catch(() => {});

// The client's own timeout covers only the time until a command is written, not until the reply.
async function withinTime(answer) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

// Whom a request is charged to. Authenticate first: who makes keys up has a bucket for each.
function keyOf(req) {
  const name = req.get("X-Api-Key") ?? "";
  if (/^[A-Za-z0-9._~+/=-]{1,64}$/.test(name)) return `limit:key:${name}`;
  return `limit:ip:${req.ip.replace(/^::ffff:/, "")}`;
}

let warned = -Infinity;
function warn(error) {
  // One line a second is enough.
  if (performance.now() - warned < 1000) return;
  warned = performance.now();
  console.warn(`rate limiter failed open: ${error.message}`);
}

async function rateLimit(req, res, next) {
  let reply;
  try {
    const command = ["RL.TAKE", keyOf(req), rate, String(burst)];
    reply = await withinTime(redis.sendCommand(command));
  } catch (error) {
    warn(error);
    return next();
  }
  const [taken, , left, waitMs, resetMs] = reply;
  const seconds = Math.ceil((taken ? resetMs : waitMs) / 1000);
  res.set("RateLimit-Policy", policy);
  res.set("RateLimit", `"default";r=${left};t=${seconds}`);
  if (taken) return next();
  res.set("Retry-After", String(seconds));
  res.status(429).type("text").send("Too many requests\n");
}

const app = express();
app.use(rateLimit);
app.get("/", (req, res) => res.type("text").send("Hello\n"));
app.listen(process.env.PORT ?? 3000, "127.0.0.1");
