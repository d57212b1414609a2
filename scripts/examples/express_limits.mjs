// Rate limits for Express, by the package in ../clients/node.
import express from "express";
import { createClient } from "redis";
import { Caller, Limiter } from "redis-rl";
import { rateLimit } from "redis-rl/express";

const client = createClient({
  url: process.env.REDIS_URL,
  // A connection on which nothing comes back, not even to a ping, is replaced.
  pingInterval: 500,
  socket: { connectTimeout: 1000, socketTimeout: 2000, reconnectStrategy: 100 },
});
client.on("error", () => {}); // The limiter reports it.
client.connect(); // Not awaited: the service also starts while Redis is away.

const app = express();
app.use(rateLimit(new Limiter(client), { rate: "100/m", burst: 20, key: new Caller({ header: "X-Api-Key" }) }));
app.get("/", (request, response) => response.type("text").send("Hello\n"));
app.listen(process.env.PORT ?? 3000, "127.0.0.1");
