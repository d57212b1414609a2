// Rates as text, for the bucket in the process and the header fields; the server parses its own.

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const units = {
  ms: 1,
  s: 1000, sec: 1000, second: 1000,
  m: minute, min: minute, minute,
  h: hour, hr: hour, hour,
  d: day, day,
  w: 7 * day, week: 7 * day,
};
const number = "[0-9]+(?:\\.[0-9]+)?";
const wholeRate = new RegExp(`^(${number}(?:[eE][+-]?[0-9]+)?)(?:/([^\\n]+))?$`);

// Parses a rate: 10 (per second), "100/m", "1/15m". Throws a RangeError if it is not a rate.
export function parseRate(given) {
  const text = String(given);
  const match = wholeRate.exec(text);
  if (!match) throw new RangeError(`"${text}" is not a rate; write 10 (per second), 100/m or 1/15m`);
  const tokens = Number(match[1]);
  const periodMs = match[2] === undefined ? 1000 : period(match[2], text);
  if (!(tokens > 0 && tokens < Infinity && periodMs > 0)) {
    throw new RangeError(`the rate "${text}" must be above 0`);
  }
  return { text, tokens, periodMs };
}

// Returns the seconds in which an empty bucket fills, rounded up.
export function fillSeconds({ tokens, periodMs }, burst) {
  return Math.max(0, Math.ceil((burst * periodMs) / tokens / 1000 - 1e-9));
}

function period(text, whole) {
  const part = new RegExp(`(${number})?([A-Za-z]+)`, "y");
  let total = 0;
  while (part.lastIndex < text.length) {
    const match = part.exec(text);
    const unit = match && unitMs(match[2]);
    // Only a period of one unit may leave out its count.
    if (!unit || (match[1] === undefined && match[0] !== text)) {
      throw new RangeError(`unknown period in the rate "${whole}"; use ms, s, m, h, d or w`);
    }
    total += Number(match[1] ?? 1) * unit;
  }
  return total;
}

function unitMs(name) {
  if (name === "ms" || name === "m") return units[name];
  let low = name.toLowerCase();
  if (low === "ms" || low === "m") return undefined;
  if ((low.length > 3 && low.endsWith("s")) || low === "hrs") low = low.slice(0, -1);
  return Object.hasOwn(units, low) ? units[low] : undefined;
}
