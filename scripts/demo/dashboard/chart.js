"use strict";

// What became of requests, in the order in which the server lists it.
const SERIES = ["allowed", "denied", "open", "closed"];
const NAMES = ["Allowed", "Denied", "Failed open", "Failed closed"];
const MINUTE = 60_000;
// The chart shows the shortest of these that holds all there is.
const SPANS = [2 * MINUTE, 5 * MINUTE, 15 * MINUTE];
// Figures of now are of so long.
const NOW = 10_000;
const UNKNOWN = "–";

const at = (id) => document.getElementById(id);

function show(node, text) {
  // Writing the same text again would make a screen reader say it again.
  if (node.textContent !== text) node.textContent = text;
}

const short = (n) =>
  n === null ? UNKNOWN : (n < 10 ? +n.toFixed(1) : Math.round(n)).toLocaleString("en");

const clock = (ms) => new Date(ms).toLocaleTimeString();

function lasting(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

// The demo's counters, each with the server's time: [at, up, allowed, …]. A page that was held up
// gets fewer samples, and divides by the time that lies between them.
let samples = [];

function remember(sample) {
  samples.push(sample);
  const first = samples.findIndex(([then]) => then >= sample[0] - SPANS.at(-1));
  samples.splice(0, Math.max(0, first - 1));
}

// A second's count between two readings of a counter; null if no time lies between them.
const perSecond = (from, to, ms) => (ms > 0 ? ((to - from) * 1000) / ms : null);

const rates = (from, to) =>
  SERIES.map((_, i) => perSecond(from[2 + i], to[2 + i], to[0] - from[0]));

// The last item, and the one that is as long before it as figures of now are of.
function ends(list, time) {
  const last = list.at(-1);
  return [list.find((item) => time(item) >= time(last) - NOW), last];
}

// A round number that is little more than the peak.
function above(peak) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(peak, 1)));
  return [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].map((n) => n * ten).find((n) => n >= peak);
}

function spanned() {
  const end = samples.at(-1)[0];
  return [end, SPANS.find((span) => end - samples[0][0] <= span) ?? SPANS.at(-1)];
}

function draw() {
  const [end, span] = spanned();
  const x = (time) => Math.max(0, 1000 - ((end - time) / span) * 1000).toFixed(1);
  const points = samples.slice(1).map((sample, i) => [sample[0], rates(samples[i], sample)]);
  const top = above(Math.max(0, ...points.flatMap(([, rates]) => rates)));
  SERIES.forEach((series, i) => {
    const quiet = points.every(([, rates]) => rates[i] === 0);
    const line = points.map(([time, rates]) => `${x(time)},${(199 - (rates[i] / top) * 198).toFixed(1)}`);
    // A line along the ground says nothing, but for the first one.
    document.querySelector(`polyline.${series}`).setAttribute("points", i && quiet ? "" : line.join(" "));
  });
  const away = samples.slice(1).flatMap(([time, up], i) => {
    if (up) return [];
    const left = x(samples[i][0]);
    return `M${left} 0V200H${x(time)}V0Z`;
  });
  at("away").setAttribute("d", away.join(""));
  show(at("top-rate"), short(top));
  show(at("half-rate"), short(top / 2));
  show(at("span-start"), `${span / MINUTE} min before`);
  show(at("span-end"), clock(end));
}

// The values under the pointer.
at("chart").addEventListener("pointermove", (event) => {
  if (samples.length < 2) return;
  const box = at("chart").getBoundingClientRect();
  const [end, span] = spanned();
  const time = end - (1 - (event.clientX - box.left) / box.width) * span;
  const i = samples.findIndex((sample, i) => i > 0 && sample[0] >= time);
  if (i < 1 || time < samples[0][0]) return at("chart").dispatchEvent(new Event("pointerleave"));
  const [then, up] = samples[i];
  const told = rates(samples[i - 1], samples[i])
    .flatMap((rate, i) => (rate || !i ? `${NAMES[i]} ${short(rate)}` : []));
  show(at("hover"), `${clock(then)}: ${told.join(", ")} a second${up ? "" : "; Redis away"}`);
  const x = (1000 - ((end - then) / span) * 1000).toFixed(1);
  at("cursor").setAttribute("d", `M${x} 0V200`);
});
at("chart").addEventListener("pointerleave", () => {
  show(at("hover"), "Point at the chart to read its values.");
  at("cursor").setAttribute("d", "");
});
