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
let samples = [];
// Counts the demos that were asked.
let run = 0;
const told = [];
async function follow() {
  const body = (await fetch(`${pages}/dashboard/events`)).body;
  let rest = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    rest += chunk;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = JSON.parse(event.slice(event.indexOf("data: ") + 6));
      if (event.startsWith("event: history")) {
        samples = data;
        run += 1;
      } else {
        samples.push([data.at, data.downSince === null ? 1 : 0, ...data.requests]);
        told.push({ ...data, run, before: samples.filter(([at]) => at >= data.at - 10_000) });
      }
    }
  }
}
(async () => {
  for (;;) {
    await follow().catch(() => null);
    await new Promise((go) => setTimeout(go, 50));
  }
})();

// Everything that the page shows, at every moment: whenever it changes, and several times a second.
const SERIES = ["allowed", "denied", "open", "closed"];
const watch = (series) => {
  const text = (id) => document.getElementById(id).textContent;
  const clocks = () => Array.from({ length: 11 }, (_, i) => new Date(Date.now() - i * 1000).toLocaleTimeString());
  globalThis.shown = [];
  const look = () => globalThis.shown.push({
    time: Date.now(),
    state: document.getElementById("state").dataset.state,
    figures: series.map(text),
    limits: [...document.querySelectorAll("#limits td")].map((td) => td.textContent),
    latency: [text("median"), text("slow")],
    rows: document.querySelector("#denials.stale") ? [] : [...document.querySelectorAll("#top tr")]
      .map((tr) => [tr.dataset.key, ...[...tr.querySelectorAll("td")].map((td) => td.textContent)]),
    // The standing of one caller that is shown as current, next to a time that is not.
    old: document.querySelector("#caller:not(.stale) > *") !== null
      && !clocks().some((time) => text("as-of") === `As of ${time}`) && text("as-of"),
  });
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  setInterval(look, 100);
};

// Nothing shown was false: each number is one that the server sent in the last ten seconds.
const short = (n) => (n === null ? "–" : (n < 10 ? +n.toFixed(1) : Math.round(n)).toLocaleString("en"));
function isTrue({ time, state, figures, limits, latency, rows, old }) {
  if (old !== false) return `as of ${old}`;
  const recent = told.filter(({ at }) => at >= time - 10_000 && at <= time + 1000);
  if (state === "wait" || figures.every((figure) => figure === "–")) return figures.every((figure) => figure === "–") || "figures";
  const rates = ({ requests, at }, from) => String(requests.map((n, i) => short(((n - from[2 + i]) * 1000) / (at - from[0]))));
  if (!recent.some((last) => last.before.some((from) => rates(last, from) === String(figures)))) return "figures";
  const denials = (from, last) => String(last.limits.flatMap(({ denied }, i) =>
    [short(from === last ? null : ((denied - from.limits[i].denied) * 1000) / (last.at - from.at)), denied.toLocaleString("en")]));
  const since = (last) => told.filter(({ at, run }) => run === last.run && at >= last.at - 10_000 && at <= last.at);
  if (!recent.some((last) => since(last).some((from) => denials(from, last) === String(limits)))) return "limits";
  if (state === "down" && latency.some((time) => time !== "–")) return "latency";
  return rows.every(([key, limit, rate, denials]) => recent.some(({ denied }) => denied?.top.some((row) =>
    row.key === key && row.limit === limit && short(row.rate) === rate && row.denials.toLocaleString("en") === denials))) || "rows";
}

// It says in words what applies, and which Redis is asked.
await page.goto(`${pages}/dashboard`);
await page.evaluate(watch, SERIES);
await matches("state", "^Redis at 127.0.0.1:\\d+ answers$");
await matches("store", "^127.0.0.1:\\d+ \\((Redis|Valkey) \\d.*, redis-rl \\d");
await matches("none", "^Nobody was denied in the last \\d+ s.$");
await page.getByRole("rowheader", { name: "1 request per day on average, 2 at once" }).waitFor();
await matches("by", "^x-api-key, else address$");
await matches("fail", "^after \\d+ ms a request is held to the same limits in this process");

// No script but its own runs.
faults = true;
await page.evaluate(() => {
  const script = document.createElement("script");
  script.textContent = "document.title = 'run'";
  document.body.append(script);
});
assert.equal(await page.title(), "Rate limits");
faults = false;

// It moves under traffic, and goes on after the page was held up.
await untilTrue("the chart has three points", async () => (await points("denied")).length >= 3);
await untilTrue("the latency is told", async () => (await text("median")).startsWith("≤"));
const stalled = page.evaluate(() => {
  const end = performance.now() + 3_000;
  while (performance.now() < end);
});
for (let over = false; !over;) {
  await ask("eve");
  over = await Promise.race([stalled.then(() => true), new Promise((go) => setTimeout(go, 1, false))]);
}

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

// One caller is looked at, and shown as it is now without a click; the button resets it.
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

// Under load, while Redis is away, nothing old is shown as if it were of now.
faults = true;
await lookAt("ann");
await panel.getByText("1 of 2 left").waitFor();
let loaded = true;
const load = async (caller) => {
  for (; loaded; await new Promise((go) => setTimeout(go, 5))) await ask(caller).catch(() => null);
};
for (const caller of ["ben", "eve", "zoe"]) load(caller);
for (const [begin, end] of [["kill Redis", "start Redis"], ["stop Redis", "continue Redis"]]) {
  await cause(begin);
  await matches("state", "^Redis at 127.0.0.1:\\d+ has not answered since ");
  assert.equal(await page.title(), "✕ Redis away – Rate limits");
  await matches("stale", "^As it was at .*: .");
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
await untilTrue("both pages have the same history", async () => Math.abs((await there(later)) - (await there(page))) <= 3);
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
// The new demo has another limit.
await panel.getByText(/ of 3 left; /).waitFor();
assert.equal(await panel.getByRole("meter").evaluate((meter) => meter.max), 3);
loaded = false;

const shown = await page.evaluate(() => globalThis.shown);
const lies = shown.map((one) => [isTrue(one), one]).filter(([truth]) => truth !== true);
assert(lies.length === 0, JSON.stringify(lies.slice(0, 3)));
for (const state of ["up", "down", "wait"]) assert(shown.some((one) => one.state === state), state);

assert.deepEqual(complaints, []);
await browser.close();
process.exit(0);
