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

// A connection each: the demo closes those that are idle, which may be as one is used again.
const ask = async (caller) => {
  const headers = { "X-Api-Key": caller, connection: "close" };
  const answer = await fetch(guarded, { headers });
  await answer.text();
  return answer.status;
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
page.setDefaultTimeout(60_000);
const complaints = [];
let faults = false;
page.on("console", (m) => {
  if (["error", "warning"].includes(m.type()) && !faults) complaints.push(m.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("request", (request) => {
  const url = request.url();
  if (!url.startsWith(`${pages}/dashboard`) && !url.startsWith("data:")) complaints.push(url);
});

const text = (id) => page.locator(`#${id}`).textContent();
const matches = (id, pattern) => page.waitForFunction(
  ([id, pattern]) => new RegExp(pattern).test(document.getElementById(id).textContent), [id, pattern]);
const points = (name) => page.locator(`polyline.${name}`)
  .evaluate((line) => (line.getAttribute("points") ?? "").split(" ").filter(Boolean));

async function untilTrue(what, condition, caller = "eve") {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    assert(Date.now() < deadline, `timed out waiting until ${what}`);
    await ask(caller).catch(() => null);
  }
}

// What the server sends to every page, as a page of our own that never stalls.
let told = [];
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

const short = (n) => (n < 10 ? +n.toFixed(1) : Math.round(n)).toLocaleString("en");
const SERIES = ["allowed", "denied", "open", "closed"];
// Every figure is that of one of the last snapshots, over the ten seconds before it.
async function figuresAreTold(what) {
  await untilTrue(what, async () => {
    const shown = await page.evaluate((ids) => ids.map((id) => document.getElementById(id).textContent), SERIES);
    return told.length > 12 && told.slice(-3).some((last) => {
      const from = told.find(({ at }) => at >= last.at - 10_000);
      const rates = SERIES.map((_, i) => short(((last.requests[i] - from.requests[i]) * 1000) / (last.at - from.at)));
      return String(rates) === String(shown);
    });
  });
}

// It says in words what applies, and which Redis is asked.
await page.goto(`${pages}/dashboard`);
await matches("state", "^Redis at 127.0.0.1:\\d+ answers$");
await matches("store", "^127.0.0.1:\\d+ \\((Redis|Valkey) \\d.*, redis-rl \\d");
await matches("none", "^Nobody was denied in the last 10 seconds.$");
await page.getByRole("rowheader", { name: "1 request per day on average, 2 at once" }).waitFor();
await matches("by", "^x-api-key, else address$");
await matches("fail", "^after 5000 ms a request is held to the same limits in this process");

// No script but its own runs.
faults = true;
await page.evaluate(() => {
  const script = document.createElement("script");
  script.textContent = "document.title = 'run'";
  document.body.append(script);
});
assert.equal(await page.title(), "Rate limits");
faults = false;

// It moves under traffic, and each figure is the server's, also of a page that was held up.
await untilTrue("the chart has three points", async () => (await points("denied")).length >= 3);
await untilTrue("the latency is told", async () => (await text("median")).startsWith("≤"));
await figuresAreTold("the figures are the server's");
const stalled = page.evaluate(() => {
  const end = performance.now() + 3_000;
  while (performance.now() < end);
});
for (let over = false; !over;) {
  await ask("eve");
  over = await Promise.race([stalled.then(() => true), new Promise((go) => setTimeout(go, 1, false))]);
}
await figuresAreTold("the figures are the server's after a stall");

// Denials are told by limit, and the values of the chart where one points.
await untilTrue("the limit tells its denials", async () => {
  const cells = await page.locator("#limits td").allTextContents();
  return told.slice(-3).some(({ limits }) => cells[1] === limits[0].denied.toLocaleString("en")) && cells[0] !== "0";
});
await page.locator("#chart").scrollIntoViewIfNeeded();
const chart = await page.locator("#chart").boundingBox();
await page.mouse.move(chart.x + chart.width - 2, chart.y + 5);
await matches("hover", "\\d:\\d\\d.*: Allowed [\\d.]+(, Denied [\\d,.]+)? a second$");

// The offender is first, by name; who is denied no more leaves the list.
for (let i = 0; i < 25; i++) for (let j = 0; j < 3; j++) await ask(`offender-${i}`);
const rows = page.locator("#top").getByRole("rowheader");
await untilTrue("eve is the first", async () => (await rows.first().textContent()) === "eve");
assert.equal(await page.locator("#top td").first().textContent(), "1/d:2");
await untilTrue("eve is the only one", async () => (await rows.count()) === 1);

// One caller is looked at, and shown as it is now without a click; the second press resets it.
const lookAt = async (who) => {
  await page.locator("#who").fill(who);
  await page.locator("#search").getByRole("button").click();
};
assert.equal(await ask("ann"), 200);
await lookAt("ann");
const panel = page.locator("#caller");
await panel.getByText("1 of 2 left; one request passes now; full in 24 h").waitFor();
assert.equal(await panel.getByRole("meter").evaluate((meter) => meter.value), 1);
assert.equal(await ask("ann"), 200);
await panel.getByText("0 of 2 left; one request passes in 24 h").waitFor();
const reset = panel.getByRole("button");
await reset.focus();
await page.keyboard.press("Enter");
assert.equal(await reset.textContent(), "Reset this caller? Press again");
assert.equal(await ask("ann"), 429);
await page.keyboard.press("Enter");
await matches("said", "^rate:limiter:key:ann was reset.$");
await panel.getByText("2 of 2 left; one request passes now").waitFor();
assert.equal(await ask("ann"), 200);
await panel.getByText("1 of 2 left").waitFor();
faults = true;
await lookAt("ip:no address");
await matches("as-of", "'no address' is not an address");
faults = false;

// A checker finds nothing wrong, it fits a phone and a desk, by day and by night.
for (const width of [390, 1280]) {
  await page.setViewportSize({ width, height: 844 });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const found = violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
    assert.deepEqual(found, [], `${width} ${colorScheme}: ${JSON.stringify(found)}`);
    assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "too wide");
  }
}
assert.deepEqual(complaints, []);

// While Redis is away nothing old is shown as if it were of now.
faults = true;
await lookAt("ann");
await panel.getByText("1 of 2 left").waitFor();
for (const [begin, end] of [["kill Redis", "start Redis"], ["stop Redis", "continue Redis"]]) {
  await cause(begin);
  await matches("state", "^Redis at 127.0.0.1:\\d+ has not answered since ");
  assert.equal(await page.title(), "✕ Redis away – Rate limits");
  await matches("stale", "^As it was at .*, when Redis last answered.$");
  await matches("as-of", "^As it was at .* There is no answer now.$");
  assert.deepEqual([await text("median"), await text("slow")], ["–", "–"]);
  await untilTrue("failures are counted", async () => (await text("open")) !== "0", `new-${Math.random()}`);
  assert.deepEqual([await text("median"), await text("slow")], ["–", "–"]);
  await cause(end);
  await matches("state", "answers$");
  // An empty Redis has a full bucket for everybody, which nobody has to ask for.
  if (begin === "kill Redis") await panel.getByText("2 of 2 left").waitFor();
  await matches("as-of", "^As of ");
  assert.equal(await text("stale"), "");
  await untilTrue("who is denied is told", async () => (await rows.count()) > 0);
  // No rate is shown that is none: rows of the new run are counted from its beginning.
  for (const rate of await page.locator("#top td:nth-child(3)").allTextContents()) assert.notEqual(rate, "0");
}
await untilTrue("failures are in the chart", async () => (await points("open")).length > 2);
assert((await page.locator("#away").getAttribute("d")).length > 0);

// A page that is opened later has the history too.
const later = await browser.newPage();
await later.goto(`${pages}/dashboard`);
await later.waitForFunction(() => document.getElementById("state").textContent.endsWith("answers"));
const there = (what) => what.locator("polyline.allowed").evaluate((line) => line.getAttribute("points").split(" ").length);
assert(Math.abs((await there(later)) - (await there(page))) <= 3);
await later.close();

// Nor while the demo hangs or is gone.
for (const [begin, end] of [["stop the demo", "continue the demo"], ["kill the demo", "start the demo"]]) {
  await cause(begin);
  await matches("state", "^The demo does not answer$");
  assert.equal(await page.title(), "✕ Demo away – Rate limits");
  for (const id of [...SERIES, "median"]) assert.equal(await text(id), "–", id);
  assert.equal(await page.locator("#limits td").first().textContent(), "–");
  await matches("as-of", "There is no answer now.$");
  await cause(end);
  await matches("state", "answers$");
  await untilTrue("denials are counted again", async () => !["–", "0"].includes(await text("denied")));
}

assert.deepEqual(complaints, []);
await browser.close();
await following;
process.exit(0);
