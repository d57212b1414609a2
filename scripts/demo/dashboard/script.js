// What the server tells each second.

let recent = [];

function state(name, text, trouble) {
  at("state").dataset.state = name;
  show("state", text);
  const title = trouble ? `${trouble} – Rate limits` : "Rate limits";
  if (document.title !== title) document.title = title;
}

// The bound of the histogram that the given share of the calls lies within.
function quantile(share, from, to) {
  const counts = to.takes.map(([, n], i) => (n >= from.takes[i][1] ? n - from.takes[i][1] : n));
  const total = counts.at(-1);
  if (!total) return "–";
  const i = counts.findIndex((n) => n >= share * total);
  return `≤ ${+(to.takes[i][0] * 1000).toPrecision(3)} ms`;
}

function figures() {
  const [from, to] = ends(samples, ([time]) => time);
  for (const series of SERIES) {
    const now = rate(series, from, to);
    show(series, short(now));
    at(series).parentElement.classList.toggle("zero", now === 0);
  }
  const [older, newest] = ends(recent, ({ at }) => at);
  if (older !== newest) {
    show("median", quantile(0.5, older, newest));
    show("slow", quantile(0.99, older, newest));
  }
}

// What all keys begin with, up to a sign that ends a part.
function prefixOf(keys) {
  let prefix = keys[0];
  for (const key of keys) while (!key.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return keys.length > 1 ? prefix.replace(/[^:]*$/, "") : "";
}

const LONG = 36;
const cut = (text) => (text.length > LONG ? `${text.slice(0, 20)}…${text.slice(-8)}` : text);

function row(offender) {
  const { key, caller, limit } = offender;
  const about = limits[limit];
  const actions = [];
  if (about) {
    const open = element("button", { type: "button", textContent: "Look" });
    open.setAttribute("aria-label", `Look at ${key}`);
    open.addEventListener("click", async () => {
      await look(`caller:${caller}`);
      at("caller").scrollIntoView({ block: "nearest" });
    });
    actions.push(open, " ", twice(REFILL[about.kind], key, () => refill(caller, limit, key)));
  }
  const tr = element("tr", {},
    element("th", { scope: "row" }, element("button", { type: "button", className: "key" })),
    ...[" a second", " of all", " in all", ""].map((unit) => {
      const td = element("td", {});
      td.dataset.unit = unit;
      return td;
    }),
    element("td", {}, ...actions));
  tr.dataset.key = key;
  const name = tr.cells[0].firstChild;
  name.setAttribute("aria-expanded", "false");
  name.addEventListener("click", () => {
    const whole = name.getAttribute("aria-expanded") === "false";
    name.setAttribute("aria-expanded", String(whole));
    name.textContent = whole ? key : cut(key.slice(name.dataset.from));
  });
  return tr;
}

function fill(tr, { key, denials, error, since, rate }, all, prefix) {
  const name = tr.cells[0].firstChild;
  name.title = key;
  name.dataset.from = prefix.length;
  if (name.getAttribute("aria-expanded") === "false") {
    const text = cut(key.slice(prefix.length));
    if (name.textContent !== text) name.textContent = text;
  }
  const share = all > 0 && rate !== null ? `${Math.round((100 * rate) / all)} %` : "–";
  const last = since < 2000 ? "now" : `${lasting(since)} ago`;
  [rate === null ? "–" : short(rate), share, denials.toLocaleString("en"), last]
    .forEach((text, i) => {
      if (tr.cells[i + 1].textContent !== text) tr.cells[i + 1].textContent = text;
    });
  tr.cells[3].title = error ? `at the most; up to ${error} fewer` : "";
}

// Rows are kept and moved, never made anew, so that a focused button stays focused.
function offenders({ rate, top, rest }) {
  const body = at("top");
  const rows = new Map([...body.rows].map((tr) => [tr.dataset.key, tr]));
  const prefix = top.length ? prefixOf(top.map(({ key }) => key)) : "";
  top.forEach((offender, i) => {
    const tr = rows.get(offender.key) ?? row(offender);
    rows.delete(offender.key);
    fill(tr, offender, rate, prefix);
    if (body.rows[i] !== tr) body.insertBefore(tr, body.rows[i] ?? null);
  });
  for (const tr of rows.values()) tr.remove();
  document.querySelector("#denials table").hidden = top.length === 0;
  at("none").hidden = top.length > 0;
  at("forget").hidden = top.length === 0;
  at("rest").hidden = rest === 0;
  show("rest", `and ${rest.toLocaleString("en")} more, denied less often`);
  const all = rate === null ? "" : `${short(rate)} denials a second by all limits. `;
  show("prefix", all + (prefix ? `Keys begin with ${prefix}` : ""));
}

let limits = [];

function applies({ limits: named, cost, by, fail, timeout, server, module, nodes }) {
  if (JSON.stringify(named) !== JSON.stringify(limits)) {
    limits = named;
    at("limits").replaceChildren(...named.map(({ words }) => element("li", {}, words)));
  }
  show("by", cost === 1 ? by : `${by}; a request takes ${cost}`);
  show("fail", `after ${timeout} ms a request is ${fail}`);
  const several = nodes > 1 ? `, ${nodes} nodes` : "";
  show("server", server + (module ? `, redis-rl ${module}` : "") + several || "not known yet");
  const everybody = by === "all callers together";
  at("who").hidden = everybody;
  show("who-label", everybody ? "All callers share their limits" : "Caller");
  at("who").placeholder = by === "address" ? "an address" : `${by.split(",")[0]}, or ip:ADDRESS`;
}

function take(snapshot) {
  const { requests: r } = snapshot;
  remember([snapshot.at, snapshot.up ? 1 : 0,
    r.allowed, r.delayed, r.refused, r.failed_open, r.failed_closed]);
  recent.push(snapshot);
  recent = recent.filter(({ at }) => at >= snapshot.at - NOW);
  applies(snapshot.applies);
  figures();
  draw();
  if (snapshot.denied) offenders(snapshot.denied);
  const section = at("denials");
  section.classList.toggle("stale", !snapshot.up);
  at("stale").hidden = snapshot.up;
  const unasked = Number(at("open").textContent.replace(",", ""));
  if (!snapshot.up) {
    const since = new Date(snapshot.downSince).toLocaleTimeString();
    const long = lasting(snapshot.at - snapshot.downSince);
    show("stale", `As it was at ${since}, when Redis last answered.`);
    state("down", `Redis has not answered since ${since}, for ${long}`, "✕ Redis away");
  } else if (unasked > 0) {
    state("up", "Redis answers", `! ${short(unasked)}/s unasked`);
  } else {
    state("up", "Redis answers", "");
  }
}

function listen() {
  const source = new EventSource("/dashboard/events");
  source.addEventListener("history", (event) => {
    samples = JSON.parse(event.data);
    recent = [];
    if (samples.length) draw();
  });
  source.addEventListener("message", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    state("wait", "The demo does not answer", "✕ Demo away");
    at("denials").classList.add("stale");
    // The browser tries again by itself, but not after every kind of error.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

listen();
