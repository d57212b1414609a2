// A plugin for Fastify: app.register(rateLimit, { limiter, rate, burst }).
//
// Register it after @fastify/cors, or a 429 lacks the fields of CORS. A mistake fails the start, and later
// the request.

import { middleware, refusal } from "./middleware.js";

export async function rateLimit(fastify, { limiter, ...options }) {
  const { checkKey, decide } = middleware(limiter, options);
  await limiter.check(checkKey);
  fastify.addHook("onRequest", async (request, reply) => {
    const decided = await decide(request, request.raw);
    if (!decided) return;
    for (const [name, value] of decided.fields) reply.header(name, value);
    if (decided.decision.allowed) return;
    const [status, body] = refusal(decided.decision);
    return reply.code(status).type("text/plain; charset=utf-8").send(body);
  });
}

// The hook applies to the application that registers the plugin, not to a scope of its own.
rateLimit[Symbol.for("skip-override")] = true;
rateLimit[Symbol.for("fastify.display-name")] = "redis-rl";
