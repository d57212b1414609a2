// Rate limits for Fastify, by the package in ../clients/node.
import fastify from "fastify";
import { Redis } from "ioredis";
import { Caller, Limiter } from "redis-rl";
import { rateLimit } from "redis-rl/fastify";

const client = new Redis(process.env.REDIS_URL, { socketTimeout: 2000, retryStrategy: () => 100 });
client.on("error", () => {}); // The limiter reports it.

const app = fastify();
const key = new Caller({ header: "X-Api-Key" });
await app.register(rateLimit, { limiter: new Limiter(client), rate: "100/m", burst: 20, key });
app.get("/", (request, reply) => reply.type("text/plain").send("Hello\n"));
await app.listen({ port: process.env.PORT ?? 3000, host: "127.0.0.1" });
