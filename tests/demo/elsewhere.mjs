// A page of another origin in a real Chromium tries to reset a caller. Arguments: the origin of
// the operators' pages, that of what the limiter guards, the caller's key, and the token by which
// the operator is let in, if one is asked for.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createServer } from "node:http";

// The library lies in the build's folder, where an import would not look for it.
const { chromium } = createRequire(process.env.CLIENTS)("playwright-core");
const [pages, guarded, key, token] = process.argv.slice(2);
const target = `${pages}/dashboard/reset`;

const html = `<!doctype html><title>elsewhere</title>
<form method="post" enctype="text/plain" target="_blank" action="${target}"><input name="k"></form>`;
const elsewhere = createServer((_, answer) => {
  answer.setHeader("content-type", "text/html");
  answer.end(html);
});
await new Promise((listens) => elsewhere.listen(0, "127.0.0.1", listens));
const { port } = elsewhere.address();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"],
});
const context = await browser.newContext();
context.setDefaultTimeout(120_000);
let sent = 0;
const statuses = new Set();
context.on("request", (request) => (sent += request.url() === target));
context.on("response", (answer) => {
  if (answer.url() === target) statuses.add(answer.status());
});
const ask = async () => (await fetch(guarded, { headers: { connection: "close" } })).status;
// The list has whoever was denied a moment ago.
let asked = Promise.resolve();
const denied = setInterval(() => (asked = Promise.allSettled([asked, ask()])), 200);
const operator = await context.newPage();
// The operator's own page stands open and is let in; its cookie goes along with what follows.
await operator.goto(`${pages}/dashboard?token=${token}`);
await operator.getByRole("rowheader", { name: "test-client" }).waitFor();

// Another port of this machine is another origin, but the same site; another name is another site.
for (const name of ["127.0.0.1", "localhost"]) {
  const evil = await context.newPage();
  await evil.goto(`http://${name}:${port}/`);
  const before = sent;
  await evil.evaluate(
    ([url, key]) =>
      fetch(url, { method: "POST", mode: "no-cors", credentials: "include", body: key }).catch(
        () => {},
      ),
    [target, key],
  );
  await evil.evaluate((url) => navigator.sendBeacon(url, "x"), target);
  const opened = context.waitForEvent("page");
  await evil.evaluate(() => document.forms[0].submit());
  await (await opened).waitForLoadState();
  assert(sent >= before + 2, "nothing was sent");
  // Nor may it keep the operators' server busy.
  const events = await evil.evaluate(
    (url) =>
      new Promise((told) => {
        const source = new EventSource(url, { withCredentials: true });
        source.onopen = () => told("open");
        source.onerror = () => told("refused");
      }),
    `${pages}/dashboard/events`,
  );
  assert.equal(events, "refused");
  await evil.close();
}
// Where the cookie did not go along, nobody was let in.
assert([...statuses].every((status) => [401, 403].includes(status)), `${[...statuses]}`);
assert.equal(await ask(), 429);

// The page's own button does.
await operator.getByRole("rowheader", { name: "test-client" }).getByRole("button").click();
const own = operator.locator("#caller").getByRole("button", { name: /^Reset this caller/ });
clearInterval(denied);
await asked;
await own.click();
await operator.getByText(`${key} was reset.`).waitFor();
assert.equal(await ask(), 200);
await browser.close();
process.exit(0);
