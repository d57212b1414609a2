// The middlewares for Express and Fastify, over HTTP, with a real server behind.

import assert from "node:assert/strict";
import http from "node:http";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Caller, Limiter } from "../src/index.js";
import { rateLimit as forExpress } from "../src/express.js";
import { rateLimit as forFastify } from "../src/fastify.js";
import { Server, express, fastify, libraries, quiet, until } from "./server.js";

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const origin = { Origin: "https://page.example" };
const preflight = { ...origin, "Access-Control-Request-Method": "POST" };

// The least that a CORS middleware does.
const corsFields = { "Access-Control-Allow-Origin": "*" };

const frameworks = {
  async express(limits, options, path) {
    const app = express();
    app.use((request, response, next) => {
      response.set(corsFields);
      next();
    });
    app.use(forExpress(limits, options));
    app.use((request, response) => response.set("X-App", "1").type("text").send("Hello\n"));
    app.use((error, request, response, next) => response.status(500).send(error.message));
    const listener = await new Promise((resolve) => {
      const opened = app.listen(...path, () => resolve(opened));
    });
    return { address: listener.address(), close: () => listener.close() };
  },
  async fastify(limits, options, path) {
    const app = fastify();
    app.addHook("onRequest", async (request, reply) => {
      reply.headers(corsFields);
    });
    await app.register(forFastify, { limiter: limits, ...options });
    app.all("/*", (request, reply) => reply.header("X-App", "1").type("text/plain").send("Hello\n"));
    await app.listen(path.length === 2 ? { port: path[0], host: path[1] } : { path: path[0] });
    return { address: app.server.address(), close: () => app.close() };
  },
};

for (const [name, serve] of Object.entries(frameworks)) {
  describe(`the middleware for ${name}`, () => {
    async function using({ port = server.port, listen = [0, "127.0.0.1"], limiter, ...options }, body) {
      if (port === server.port) await server.ask("FLUSHALL");
      const connection = await libraries["node-redis"](port);
      const log = quiet();
      const limits = new Limiter(connection.client, { timeoutMs: 30_000, log, ...limiter });
      let site;
      try {
        site = await serve(limits, { rate: "1/h", burst: 2, ...options }, listen);
        const target = typeof site.address === "string" ? { socketPath: site.address } : { host: "127.0.0.1", port: site.address.port };
        await body((path = "/", headers = {}, method = "GET") => ask(target, path, headers, method), limits, log);
      } finally {
        connection.close();
        await site?.close();
      }
    }

    const ask = (target, path, headers, method) =>
      new Promise((resolve, reject) => {
        const request = http.request({ ...target, path, headers, method, agent: false }, (response) => {
          let body = "";
          response.on("data", (data) => (body += data));
          response.on("end", () => resolve({ status: response.statusCode, fields: response.headers, body }));
        });
        request.on("error", reject).end();
      });

    test("a request is allowed, then denied, with its fields", () =>
      using({}, async (ask) => {
        const first = await ask();
        assert.deepEqual([first.status, first.body, first.fields["x-app"]], [200, "Hello\n", "1"]);
        assert.equal(first.fields["ratelimit-policy"], '"default";q=2;w=7200');
        assert.equal(first.fields.ratelimit, '"default";r=1;t=3600');
        assert.equal(first.fields["retry-after"], undefined);
        await ask();
        const { status, body, fields } = await ask();
        assert.deepEqual([status, body], [429, "Too many requests\n"]);
        assert.equal(fields.ratelimit, `"default";r=0;t=${fields["retry-after"]}`);
      }));

    test("skip, cost and key are functions", () =>
      using(
        {
          key: async ({ url }) => `limit:${url}`,
          skip: ({ url }) => url === "/healthz",
          cost: ({ url }) => (url === "/big" ? 2 : 1),
        },
        async (ask) => {
          const statuses = async (path, times) => {
            const got = [];
            for (let n = 0; n < times; n++) got.push((await ask(path)).status);
            return got;
          };
          assert.deepEqual(await statuses("/healthz", 4), [200, 200, 200, 200]);
          assert.deepEqual(await statuses("/big", 2), [200, 429]);
          assert.deepEqual(await statuses("/small", 3), [200, 200, 429]);
        },
      ));

    test("callers are told apart by header and behind a proxy", () =>
      using({ burst: 1, key: new Caller({ header: "X-Api-Key", trusted: ["127.0.0.1"] }) }, async (ask) => {
        const status = async (fields) => (await ask("/", fields)).status;
        assert.deepEqual([await status({ "X-Api-Key": "a" }), await status({ "X-Api-Key": "a" })], [200, 429]);
        assert.equal(await status({ "X-Api-Key": "b" }), 200);
        // Another port each time, as Azure's gateway writes it.
        const via = (text) => status({ "X-Forwarded-For": text });
        assert.deepEqual([await via("203.0.113.7:40060"), await via("203.0.113.7:40061")], [200, 429]);
        assert.deepEqual([await via("unknown"), await via("aaa"), await status({})], [200, 429, 429]);
        assert.equal(await status({ "X-Api-Key": ["c", "c"], "X-Forwarded-For": "203.0.113.9" }), 200);
        assert.equal(await status({ "X-Api-Key": "c" }), 200);
      }));

    test("callers on a Unix socket share a bucket instead of passing", async () => {
      const path = join(mkdtempSync(join(tmpdir(), "redis-rl-")), "s");
      await using({ listen: [path] }, async (ask) => {
        assert.deepEqual([(await ask()).status, (await ask()).status, (await ask()).status], [200, 200, 429]);
      });
    });

    test("a preflight is not charged, and a page may read the fields", () =>
      using({ burst: 1 }, async (ask) => {
        for (let n = 0; n < 3; n++) assert.equal((await ask("/", preflight, "OPTIONS")).status, 200);
        for (const expected of [200, 429]) {
          const { status, fields } = await ask("/", origin);
          assert.equal(status, expected);
          assert.equal(fields["access-control-allow-origin"], "*");
          assert.equal(fields["access-control-expose-headers"], "RateLimit, RateLimit-Policy, Retry-After");
        }
        assert.equal((await ask()).fields["access-control-expose-headers"], undefined);
      }));

    test("the closed policy answers 503", async () => {
      const gone = await Server.start();
      const connection = { port: gone.port, limiter: { onError: "closed", timeoutMs: 50 } };
      await using(connection, async (ask) => {
        await gone.kill();
        const { status, fields } = await ask();
        assert.deepEqual([status, fields["retry-after"], fields.ratelimit], [503, "1", undefined]);
      });
    });

    test("a missing module fails the start or every request, and is logged", async () => {
      const bare = await Server.start({ module: false });
      const logs = [];
      const served = using({ port: bare.port }, async (ask, limits, log) => {
        logs.push(log);
        await until("it is logged", () => log.lines.some((line) => line.includes("unknown command")));
        const { status, body } = await ask();
        assert.equal(status, 500);
        assert.match(body, /unknown command/);
      });
      if (name === "fastify") await assert.rejects(served, /unknown command/);
      else await served;
      await bare.stop();
    });
  });
}
