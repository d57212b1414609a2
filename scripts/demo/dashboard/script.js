"use strict";

// Seconds in the chart.
const SPAN = 120;
const history = [];
let last = null;

const at = (id) => document.getElementById(id);

function show(id, text) {
  // Writing the same text again would make a screen reader say it again.
  if (at(id).textContent !== text) at(id).textContent = text;
}

function state(name, text) {
  at("state").dataset.state = name;
  show("state", text);
}

// Counters begin at zero again when the demo is started again.
const grown = (now, before) => (now >= before ? now - before : now);

function rates(now, before) {
  const seconds = (now.at - before.at) / 1000;
  const rate = (...names) =>
    names.reduce((sum, n) => sum + grown(now.requests[n], before.requests[n]), 0) / seconds;
  return {
    allowed: rate("allowed", "delayed"),
    denied: rate("refused"),
    failed: rate("failed_open", "failed_closed"),
  };
}

// The bound of the bucket that the given share of the takes since `before` is within.
function quantile(share, now, before) {
  const counts = now.takes.map(([, n], i) => grown(n, before.takes[i][1]));
  const total = counts[counts.length - 1];
  if (!total) return "–";
  const i = counts.findIndex((n) => n >= share * total);
  return `${+(now.takes[i][0] * 1000).toPrecision(3)} ms`;
}

const short = (n) => (n < 10 ? +n.toFixed(1) : Math.round(n)).toLocaleString("en");

function draw() {
  const peak = Math.max(1, ...history.map((r) => Math.max(r.allowed, r.denied)));
  for (const name of ["allowed", "denied"]) {
    const points = history.map((r, i) => {
      const x = SPAN - history.length + i + 1;
      return `${x},${(39 - (r[name] / peak) * 38).toFixed(2)}`;
    });
    document.querySelector(`polyline.${name}`).setAttribute("points", points.join(" "));
  }
  show("peak", short(peak));
}

function ago(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 2) return "now";
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

async function reset(key) {
  const answer = await fetch("/dashboard/reset", { method: "POST", body: key }).catch(() => null);
  show("said", answer?.ok ? `${key} begins anew.` : `${key} could not be reset.`);
}

function row(key) {
  const tr = document.createElement("tr");
  tr.dataset.key = key;
  const th = tr.appendChild(document.createElement("th"));
  th.scope = "row";
  th.textContent = key;
  for (let i = 0; i < 3; i++) tr.appendChild(document.createElement("td"));
  const button = tr.lastChild.appendChild(document.createElement("button"));
  button.type = "button";
  button.textContent = "Reset";
  button.setAttribute("aria-label", `Reset ${key}`);
  button.addEventListener("click", () => reset(key));
  return tr;
}

// Rows are kept and moved, never made anew, so that a focused button stays focused.
function offenders(top) {
  const body = at("top");
  const rows = new Map([...body.rows].map((tr) => [tr.dataset.key, tr]));
  top.forEach(({ key, denials, error, since }, i) => {
    const tr = rows.get(key) ?? row(key);
    rows.delete(key);
    tr.cells[1].textContent = denials.toLocaleString("en");
    tr.cells[1].title = error ? `at the most; up to ${error} fewer` : "";
    tr.cells[2].textContent = ago(since);
    if (body.rows[i] !== tr) body.insertBefore(tr, body.rows[i] ?? null);
  });
  for (const tr of rows.values()) tr.remove();
  document.querySelector("table").hidden = top.length === 0;
  at("none").hidden = top.length > 0;
}

function take(snapshot) {
  snapshot.at = performance.now();
  if (snapshot.up) state("up", "Redis answers");
  else state("down", "Redis does not answer");
  if (last) {
    const now = rates(snapshot, last);
    history.push(now);
    history.splice(0, history.length - SPAN);
    for (const name of ["allowed", "denied", "failed"]) show(name, short(now[name]));
    show("median", quantile(0.5, snapshot, last));
    show("slow", quantile(0.99, snapshot, last));
    draw();
  }
  last = snapshot;
  const limits = snapshot.limits.join(", and ");
  show("limits", snapshot.cost === 1 ? limits : `${limits}; a request takes ${snapshot.cost}`);
  if (snapshot.top) offenders(snapshot.top);
}

function listen() {
  const source = new EventSource("/dashboard/events");
  source.addEventListener("message", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    state("wait", "The demo does not answer");
    // The browser tries again by itself, but not after every kind of error.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

listen();
