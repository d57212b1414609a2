// The live page in a real Chromium. Arguments: the page's origin, and that of what the limiter
// guards. Asks for faults on standard output, one a line, and waits for a line in return.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The libraries lie in the build's folder, where an import would not look for them.
const require = createRequire(process.env.CLIENTS);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [pages, guarded] = process.argv.slice(2);

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function cause(fault) {
  console.log(fault);
  await answers.next();
}

const ask = async (caller) => {
  const answer = await fetch(guarded, { headers: { "X-Api-Key": caller } });
  await answer.text();
  return answer.status;
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
page.setDefaultTimeout(60_000);
const complaints = [];
let faults = false;
page.on("console", (m) => {
  if (["error", "warning"].includes(m.type()) && !faults) complaints.push(m.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));
const asked = [];
page.on("request", (request) => {
  asked.push(request.url());
  if (!request.url().startsWith(`${pages}/`) && !request.url().startsWith("data:"))
    complaints.push(request.url());
});

const text = (id) => page.locator(`#${id}`).textContent();
const reads = (id, text) =>
  page.waitForFunction(([id, text]) => document.getElementById(id).textContent === text, [id, text]);
const begins = (id, text) => page.waitForFunction(
  ([id, text]) => document.getElementById(id).textContent.startsWith(text), [id, text]);
const number = async (id) => Number((await text(id)).replace(",", ""));
const points = (name) => page.locator(`polyline.${name}`)
  .evaluate((line) => (line.getAttribute("points") ?? "").split(" ").filter(Boolean));

async function untilTrue(what, condition, caller = "eve") {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    assert(Date.now() < deadline, `waited in vain until ${what}`);
    await ask(caller);
  }
}

// What the server sends to every page, as a page of our own that never stalls.
const told = [];
const follow = async () => {
  const body = (await fetch(`${pages}/dashboard/events`)).body;
  let rest = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    rest += chunk;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events)
      if (event.startsWith("data: ")) told.push(JSON.parse(event.slice(6)));
  }
};
const following = follow().catch(() => null);

// What the page has to show of a snapshot: the figures of the ten seconds before it.
function expected(last) {
  const from = told.find(({ at }) => at >= last.at - 10_000);
  const per = (name) => ((last.requests[name] - from.requests[name]) * 1000) / (last.at - from.at);
  const short = (n) => (n < 10 ? +n.toFixed(1) : Math.round(n)).toLocaleString("en");
  return {
    allowed: short(per("allowed")), denied: short(per("refused")), delayed: short(per("delayed")),
    open: short(per("failed_open")), closed: short(per("failed_closed")),
  };
}
const figures = () => page.evaluate(() => Object.fromEntries(
  ["allowed", "denied", "delayed", "open", "closed"]
    .map((id) => [id, document.getElementById(id).textContent])));
// Every figure is that of one of the last snapshots.
async function figuresAreTold(what) {
  await untilTrue(what, async () => {
    const shown = JSON.stringify(await figures());
    const sorted = (o) => JSON.stringify(Object.fromEntries(Object.keys(JSON.parse(shown)).map((k) => [k, o[k]])));
    return told.length > 12 && told.slice(-3).some((last) => sorted(expected(last)) === shown);
  });
}

// It is one request, then one stream; and it says in words what is.
await page.goto(`${pages}/dashboard`);
await reads("state", "Redis answers");
assert.deepEqual(asked.filter((url) => !url.startsWith("data:")),
  [`${pages}/dashboard`, `${pages}/dashboard/events`]);
assert.equal(await page.title(), "Rate limits");
await page.getByText("Nobody has been denied.").waitFor();
await page.getByText("1 request per day on average, 2 at once").waitFor();
await begins("server", "");
await page.waitForFunction(() => /^(Redis|Valkey) \d.*, redis-rl \d/.test(document.getElementById("server").textContent));
await reads("by", "x-api-key, else address");
await reads("fail", "after 5000 ms a request is let through");

// No script but its own runs.
const csp = (await (await fetch(`${pages}/dashboard`)).headers).get("content-security-policy");
assert(!csp.includes("unsafe") && csp.includes("script-src 'sha256-"), csp);
faults = true;
await page.evaluate(() => {
  const script = document.createElement("script");
  script.textContent = "document.title = 'run'";
  document.body.append(script);
});
assert.equal(await page.title(), "Rate limits");
faults = false;

// It moves under traffic, and each figure is the server's.
await untilTrue("the chart has three points", async () => (await points("denied")).length >= 3);
await untilTrue("the latency is told", async () => (await text("median")).startsWith("≤"));
const before = await points("denied");
await untilTrue("the chart moves", async () => String(await points("denied")) !== String(before));
await figuresAreTold("the figures are the server's");

// Also of a page that was held up for three seconds.
const peak = async () => number("top-rate");
const usual = await peak();
const stalled = page.evaluate(() => {
  const end = performance.now() + 3_000;
  while (performance.now() < end);
});
for (let over = false; !over;) {
  await ask("eve");
  over = await Promise.race([stalled.then(() => true), new Promise((go) => setTimeout(go, 1, false))]);
}
await figuresAreTold("the figures are the server's after a stall");
assert((await peak()) <= 5 * usual, `the chart's top jumps from ${usual} to ${await peak()}`);

// The offender is first, among a thousand at once; the others are counted.
const many = (from) => Promise.all(
  Array.from({ length: 100 }, async (_, i) => {
    for (let j = 0; j < 3; j++) await ask(`offender-${from + i}`);
  }),
);
for (let i = 0; i < 10; i++) await many(100 * i);
const offenders = page.locator("#top").getByRole("rowheader");
await untilTrue("the page tells of twenty offenders", async () => (await offenders.count()) === 20);
await untilTrue("eve is the first", async () => (await offenders.first().textContent()) === "eve");
await page.waitForFunction(() => document.getElementById("prefix").textContent
  .endsWith("Keys begin with rate:limiter:key:"));
// RL.TOP keeps 128.
await reads("rest", "and 108 more, denied less often");
const cells = () => page.locator("#top tr").first().evaluate((tr) => [...tr.cells].map((td) => td.textContent));
await untilTrue("who is denied now is what the server says", async () => {
  const shown = await cells();
  return told.slice(-3).some(({ denied }) => {
    const [first] = denied.top;
    const short = (n) => (n < 10 ? +n.toFixed(1) : Math.round(n)).toLocaleString("en");
    return first.rate !== null && shown[1] === short(first.rate) &&
      shown[2] === `${Math.round((100 * first.rate) / denied.rate)} %` &&
      shown[3] === first.denials.toLocaleString("en");
  });
});

// The keyboard reaches the buttons. The one that lets the caller begin anew is pressed twice.
assert.equal(await ask("eve"), 429);
const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? "");
const refill = "Refill bucket: rate:limiter:key:eve";
for (let i = 0; i < 20 && (await focused()) !== refill; i++) await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
assert.equal(await focused(), `${refill}? Press again`);
assert.equal(await ask("eve"), 429);
await page.keyboard.press("Enter");
await reads("said", "rate:limiter:key:eve begins anew.");
assert.equal(await focused(), refill);
assert.equal(await ask("eve"), 200);

// One who was never denied can be looked at, by what the header says.
const lookAt = async (who) => {
  await page.getByRole("searchbox").or(page.locator("#who")).fill(who);
  await page.locator("#search").getByRole("button").click();
};
assert.equal(await ask("ann"), 200);
await lookAt("ann");
await page.getByText("1 of 2 left; one request would pass now; full in 24 h").waitFor();
await page.locator("#caller").getByText("rate:limiter:key:ann", { exact: true }).waitFor();
const button = page.locator("#caller").getByRole("button", { name: /^Refill bucket/ });
await button.click();
await button.click();
await page.getByText("2 of 2 left; one request would pass now").waitFor();
faults = true;
await lookAt("ip:no address");
await page.getByText("'no address' is no address").waitFor();
faults = false;

// A screen reader is told what the chart is, a checker finds nothing wrong, it fits a phone and a
// desk, and every text can be read by day and by night.
await page.getByRole("img", { name: /Requests a second: allowed, delayed, denied/ }).waitFor();
for (const width of [390, 1280]) {
  await page.setViewportSize({ width, height: 844 });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const found = violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
    assert.deepEqual(found, [], `${width} ${colorScheme}: ${JSON.stringify(found)}`);
    assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "too wide");
    if (process.env.SCREENSHOT)
      await page.screenshot({ path: `${process.env.SCREENSHOT}-${width}-${colorScheme}.png`, fullPage: true });
  }
}

// The list can be begun anew.
const forget = page.locator("#forget");
await forget.click();
await forget.click();
await reads("said", "The list begins anew.");
await page.getByText("Nobody has been denied.").waitFor();
assert.deepEqual(complaints, []);

// Faults are seen, and the page outlives them.
faults = true;
await untilTrue("there is a row", async () => (await offenders.count()) > 0);
await cause("kill Redis");
await begins("state", "Redis has not answered since ");
const since = told.find(({ up }) => !up);
assert(Math.abs(since.downSince - Date.now()) < 60_000);
assert.equal(await page.title(), "✕ Redis away – Rate limits");
await begins("stale", "As it was at ");
assert.equal(await page.locator("#denials").getAttribute("class"), "stale");
await untilTrue("failures are counted", async () => (await number("open")) > 0);
await untilTrue("the outage is in the chart", async () => (await page.locator("#away rect").count()) > 1);
await untilTrue("failures are in the chart", async () => (await points("open")).length > 2);
await cause("start Redis");
await reads("state", "Redis answers");
await untilTrue("the title tells that requests went through unasked", async () =>
  /^! .* unasked – Rate limits$/.test(await page.title()) || (await number("open")) === 0);
assert(await page.locator("#stale").isHidden());
await cause("stop Redis");
await begins("state", "Redis has not answered since ");
await cause("continue Redis");
await reads("state", "Redis answers");

// A page that is opened later has the history too.
const later = await browser.newPage();
await later.goto(`${pages}/dashboard`);
await later.waitForFunction(() => document.getElementById("state").textContent === "Redis answers");
const there = (what) => what.locator("polyline.allowed").evaluate((line) => line.getAttribute("points").split(" ").length);
assert(Math.abs((await there(later)) - (await there(page))) <= 3);
assert(await later.locator("#away rect").count() > 1);
await later.close();

await cause("kill the demo");
await reads("state", "The demo does not answer");
assert.equal(await page.title(), "✕ Demo away – Rate limits");
await cause("start the demo");
await reads("state", "Redis answers");
await untilTrue("denials are counted again", async () => (await number("denied")) > 1);

assert.deepEqual(complaints, []);
await browser.close();
await following;
process.exit(0);
