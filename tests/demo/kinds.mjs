// Windows and slots on the live page. Arguments: the page's origin, and that of what the limiter
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
page.setDefaultTimeout(120_000);
await page.goto(`${pages}/dashboard`);
const ask = (caller) =>
  fetch(guarded, { headers: { "X-Api-Key": caller, connection: "close" } }).catch(() => null);

// Two requests that are being served. The key is hashed, as the limiter does it.
for (let i = 0; i < 2; i++) ask("ann");
await page.locator("#who").fill("ann");
await page.locator("#search").getByRole("button").click();
const panel = page.locator("#caller");
await panel.getByText(/^1 of 3 slots free; one request passes now$/).waitFor();
await panel.getByText(/^2 of 4 left; one request passes now; ends in \d+ (h|min|s)$/).waitFor();
await panel.getByText(/^7 of 9 left; one request passes now; all unused in (5[0-9]|6[0-4]) min$/).waitFor();
assert.match(await panel.textContent(), /key:sha256:[0-9a-f]{64}/);

// One button resets them all.
await panel.getByRole("button", { name: /^Reset this caller/ }).click();
await panel.getByText("3 of 3 slots free").waitFor();
await panel.getByText("4 of 4 left").waitFor();
await panel.getByText("9 of 9 left").waitFor();

// Where one of several limits denies, the table names it next to the caller.
setInterval(ask, 200, "eve");
const row = page.locator("#top tr").filter({ hasText: "3 at once" });
await row.getByRole("button", { name: /^sha256:/ }).click();
await panel.getByText("0 of 3 slots free; one request passes in").waitFor();

await browser.close();
process.exit(0);
