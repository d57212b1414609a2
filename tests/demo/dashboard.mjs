// The live page in a real Chromium. Arguments: the page's origin, and that of what the limiter
// guards. Asks for faults on standard output, one a line, and waits for a line in return.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The library lies in the build's folder, where an import would not look for it.
const { chromium } = createRequire(process.env.CLIENTS)("playwright-core");
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
const page = await browser.newPage({ viewport: { width: 360, height: 740 } });
page.setDefaultTimeout(60_000);
const complaints = [];
let faults = false;
page.on("console", (m) => {
  if (["error", "warning"].includes(m.type()) && !faults) complaints.push(m.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("request", (request) => {
  if (!request.url().startsWith(`${pages}/`) && !request.url().startsWith("data:"))
    complaints.push(request.url());
});

const reads = (id, text) =>
  page.waitForFunction(([id, text]) => document.getElementById(id).textContent === text, [id, text]);
const number = async (id) => Number((await page.locator(`#${id}`).textContent()).replace(",", ""));
const points = (name) =>
  page.locator(`polyline.${name}`).evaluate((line) => line.getAttribute("points").split(" "));

async function untilTrue(what, condition) {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    assert(Date.now() < deadline, `waited in vain until ${what}`);
    await ask("eve");
  }
}

// It loads, and says so in words.
await page.goto(`${pages}/dashboard`);
await reads("state", "Redis answers");
assert.equal(await page.title(), "Rate limits");
await page.getByText("Nobody has been denied.").waitFor();
await page.getByText("Each caller gets 1 request per day on average, 2 at once.").waitFor();

// It moves under traffic.
await untilTrue("the chart has three points", async () => (await points("denied")).length >= 3);
await untilTrue("denials are counted", async () => (await number("denied")) > 1);
await untilTrue("the latency is told", async () => (await page.locator("#median").textContent()) !== "–");
const before = await points("denied");
await untilTrue("the chart moves", async () => String(await points("denied")) !== String(before));

// The offender is first, among a thousand at once.
const many = (from) => Promise.all(
  Array.from({ length: 100 }, async (_, i) => {
    for (let j = 0; j < 3; j++) await ask(`offender-${from + i}`);
  }),
);
for (let i = 0; i < 10; i++) await many(100 * i);
const offenders = page.getByRole("rowheader");
await untilTrue("the page tells of ten offenders", async () => (await offenders.count()) === 10);
await untilTrue("eve is the first", async () =>
  (await offenders.first().textContent()) === "rate:limiter:key:eve");

// The keyboard reaches the button, which lets the caller begin anew.
assert.equal(await ask("eve"), 429);
const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
for (let i = 0; i < 20 && (await focused()) !== "Reset rate:limiter:key:eve"; i++)
  await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
await reads("said", "rate:limiter:key:eve begins anew.");
assert.equal(await focused(), "Reset rate:limiter:key:eve");
assert.equal(await ask("eve"), 200);

// A screen reader is told what the chart is.
await page.getByRole("img", { name: /Requests allowed and denied/ }).waitFor();
assert.equal(await page.getByRole("status").count(), 2);

// It fits a phone, and every text can be read by day and by night.
const contrast = () => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((c) => {
      const share = Number(c) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("p, dt, dd, th, td, button, h1, h2")].map((element) => {
    const ink = light(getComputedStyle(element).color);
    return [Math.max(ink, ground) / Math.min(ink, ground), element.outerHTML];
  });
};
const grounds = new Set();
for (const colorScheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme });
  grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
  for (const [ratio, html] of await page.evaluate(contrast)) assert(ratio >= 4.5, `${ratio}: ${html}`);
  assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "too wide");
  if (process.env.SCREENSHOT) await page.screenshot({ path: `${process.env.SCREENSHOT}-${colorScheme}.png` });
}
assert.equal(grounds.size, 2);
assert.deepEqual(complaints, []);

// Faults are seen, and the page outlives them.
faults = true;
await cause("kill Redis");
await reads("state", "Redis does not answer");
await untilTrue("failures are counted", async () => (await number("failed")) > 0);
await cause("start Redis");
await reads("state", "Redis answers");
await cause("stop Redis");
await reads("state", "Redis does not answer");
await cause("continue Redis");
await reads("state", "Redis answers");
await cause("kill the demo");
await reads("state", "The demo does not answer");
await cause("start the demo");
await reads("state", "Redis answers");
await untilTrue("denials are counted again", async () => (await number("denied")) > 1);

assert.deepEqual(complaints, []);
await browser.close();
process.exit(0);
