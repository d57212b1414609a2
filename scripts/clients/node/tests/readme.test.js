// The applications of README, as they are printed there.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Server, root, until } from "./server.js";

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

// Returns the application of the first block of code below this heading, copied to where Node finds its imports.
async function application(heading, replaced, by) {
  const [, code] = new RegExp(`^## ${heading}$.*?\`\`\`js\n(.*?)\`\`\``, "ms").exec(readme);
  assert.ok(code.trim().split("\n").length <= 10 && code.includes(replaced));
  const path = join(root, `target/clients/node/readme-${heading}-${process.pid}.mjs`);
  writeFileSync(path, `${code.replace(replaced, by)}\nexport { app };\n`);
  return (await import(path)).app;
}

async function limits(port) {
  const ask = (key) => fetch(`http://127.0.0.1:${port}/`, { headers: { "X-Api-Key": key } });
  await until("the server is asked", async () => (await ask("other")).headers.get("ratelimit")?.includes("r=1"));
  const taken = async () => 20 - (await server.ask("RL.PEEK", "limit:key:2bb80d537b1da3e38bd30361aa855686", "1/d", 20))[2];
  await until("the header is charged", async () => {
    const answer = await ask("secret");
    assert.deepEqual([answer.status, answer.headers.get("ratelimit-policy")], [200, '"default";q=20;w=12']);
    return (await taken()) > 0;
  });
}

test("Express", async () => {
  const app = await application("Express", "createClient()", `createClient({ url: "redis://127.0.0.1:${server.port}" })`);
  app.get("/", (request, response) => response.send("Hello\n"));
  const listener = await new Promise((resolve) => {
    const opened = app.listen(0, "127.0.0.1", () => resolve(opened));
  });
  await limits(listener.address().port);
  listener.close();
});

test("Fastify", async () => {
  const app = await application("Fastify", "new Redis()", `new Redis(${server.port})`);
  app.get("/", async () => "Hello\n");
  await app.listen({ port: 0, host: "127.0.0.1" });
  await server.ask("FLUSHALL");
  await limits(app.server.address().port);
  await app.close();
});
