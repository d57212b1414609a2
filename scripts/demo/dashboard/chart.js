"use strict";

// What became of requests, in the order in which the server lists it.
const SERIES = ["allowed", "delayed", "denied", "open", "closed"];
const MINUTE = 60_000;
// The chart shows the shortest of these that holds all there is.
const SPANS = [2 * MINUTE, 5 * MINUTE, 15 * MINUTE];
// Figures of now are of so long.
const NOW = 10_000;

const at = (id) => document.getElementById(id);

function show(id, text) {
  // Writing the same text again would make a screen reader say it again.
  if (at(id).textContent !== text) at(id).textContent = text;
}

const short = (n) => (n < 10 ? +n.toFixed(1) : Math.round(n)).toLocaleString("en");

function lasting(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

// Samples of the demo's counters, each with the server's time: [at, up, allowed, …]. A page that
// was held up is told of fewer, and divides by the time that lies between them.
let samples = [];

function remember(sample) {
  samples.push(sample);
  const first = samples.findIndex(([then]) => then >= sample[0] - SPANS.at(-1));
  samples.splice(0, Math.max(0, first - 1));
}

// A second's count between two samples; counters begin at zero again when the demo is started.
function rate(series, from, to) {
  const place = 2 + SERIES.indexOf(series);
  const grown = to[place] >= from[place] ? to[place] - from[place] : to[place];
  return to[0] > from[0] ? (grown * 1000) / (to[0] - from[0]) : 0;
}

// The last item, and the one that is as long before it as figures of now are of.
function ends(list, time) {
  const last = list.at(-1);
  return [list.find((item) => time(item) >= time(last) - NOW), last];
}

// 1, 2 or 5 of a power of ten, so that half of it can be read too.
function above(peak) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(peak, 1)));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= peak);
}

function draw() {
  const end = samples.at(-1)[0];
  const span = SPANS.find((span) => end - samples[0][0] <= span) ?? SPANS.at(-1);
  const x = (time) => Math.max(0, 1000 - ((end - time) / span) * 1000).toFixed(1);
  const lines = SERIES.map((series) =>
    samples.slice(1).map((sample, i) => [sample[0], rate(series, samples[i], sample)]));
  const top = above(Math.max(...lines.flat().map(([, n]) => n), 0));
  lines.forEach((line, i) => {
    const quiet = line.every(([, n]) => n === 0);
    const points = line.map(([time, n]) => `${x(time)},${(199 - (n / top) * 198).toFixed(1)}`);
    // A line along the ground says nothing, but for the first one.
    const shown = i && quiet ? "" : points.join(" ");
    document.querySelector(`polyline.${SERIES[i]}`).setAttribute("points", shown);
  });
  const away = [];
  samples.forEach(([time, up], i) => {
    if (up || !i) return;
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const left = x(samples[i - 1][0]);
    Object.entries({ x: left, y: 0, width: x(time) - left, height: 200 })
      .forEach(([name, value]) => rect.setAttribute(name, value));
    away.push(rect);
  });
  at("away").replaceChildren(...away);
  show("top-rate", short(top));
  show("half-rate", short(top / 2));
  show("span-start", `${span / MINUTE} min ago`);
  show("span-middle", `${span / MINUTE / 2} min ago`);
  show("span-end", new Date(end).toLocaleTimeString());
}
