// Windows and leases on the live page. Arguments: the page's origin, and that of what the limiter
// guards, whose answers take long.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { chromium } = createRequire(process.env.CLIENTS)("playwright-core");
const [pages, guarded] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"],
});
const page = await browser.newPage();
page.setDefaultTimeout(60_000);
await page.goto(`${pages}/dashboard`);
await page.getByText("Redis answers").waitFor();

// Two requests that are being served.
const served = [1, 2].map(() => fetch(guarded, { headers: { "X-Api-Key": "ann" } }).catch(() => null));
const panel = page.locator("#caller");
const reads = async (text) => {
  await page.locator("#who").fill("ann");
  const deadline = Date.now() + 60_000;
  for (;;) {
    await page.locator("#search").getByRole("button").click();
    await panel.getByRole("heading").first().waitFor();
    if ((await panel.textContent()).includes(text)) return;
    assert(Date.now() < deadline, `${text} is not in ${await panel.textContent()}`);
  }
};
const pressTwice = async (name) => {
  const button = panel.getByRole("button", { name }).first();
  await button.click();
  await button.click();
};
// The key is hashed, as the limiter does it.
await reads("2 of 3 slots held; one request would pass now");
assert.match(await panel.textContent(), /key:sha256:[0-9a-f]{64}/);
assert.match(await panel.textContent(), /2 of 4 used; one request would pass now; ends in \d+ (h|min|s)/);
assert.match(await panel.textContent(), /2 of 9 used; one request would pass now; all unused in 6[0-4] min/);

// Who holds a slot, for how long; and that one can be freed.
const holders = panel.getByRole("rowheader");
assert.equal(await holders.count(), 2);
assert.match(await panel.textContent(), /(59|60|58|57) s left/);
const token = await holders.first().textContent();
const button = panel.getByRole("button", { name: `Free slot: ${token}` });
await button.click();
assert.match(await panel.textContent(), /2 of 3 slots held/);
await panel.getByRole("button", { name: `Free slot: ${token}? Press again` }).click();
await page.getByText(`The slot of ${token} is free.`).waitFor();
await panel.getByText("1 of 3 slots held").waitFor();
assert.equal(await holders.count(), 1);

await pressTwice(/^Empty window: 4 DAY/);
await panel.getByText("0 of 4 used; one request would pass now").waitFor();
await panel.getByText("2 of 9 used").waitFor();
await pressTwice(/^Free all slots/);
await panel.getByText("0 of 3 slots held").waitFor();

// Where one of several limits denies, the table says which, and what can be done about it.
for (let i = 0; i < 4; i++) fetch(guarded, { headers: { "X-Api-Key": "eve" } }).catch(() => null);
await page.locator("#top").getByRole("button", { name: /^Free all slots: .*3 at once$/ }).waitFor();
await page.locator("#top").getByRole("button", { name: /^Look at/ }).first().click();
await panel.getByText("3 of 3 slots held; one request would pass in").waitFor();

await browser.close();
process.exit(0);
