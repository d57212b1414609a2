// What the server sends each second.

let recent = [];
let heard = 0;

function state(name, text, trouble) {
  at("state").dataset.state = name;
  show(at("state"), text);
  const title = trouble ? `${trouble} – Rate limits` : "Rate limits";
  if (document.title !== title) document.title = title;
}

// The bound of the histogram that the given share of the calls lies within.
function quantile(share, from, to) {
  const counts = to.takes.map(([, n], i) => n - from.takes[i][1]);
  const total = to.all - from.all;
  if (!total) return UNKNOWN;
  const i = counts.findIndex((n) => n >= share * total);
  return i < 0 ? `> ${to.takes.at(-1)[0] * 1000} ms` : `≤ ${+(to.takes[i][0] * 1000).toPrecision(3)} ms`;
}

function figures(up) {
  const now = rates(...ends(samples, ([time]) => time));
  SERIES.forEach((series, i) => {
    show(at(series), short(now[i]));
    at(series).parentElement.classList.toggle("zero", !now[i]);
  });
  const [from, to] = ends(recent, ({ at }) => at);
  // While Redis is away nothing is measured.
  show(at("median"), up ? quantile(0.5, from, to) : UNKNOWN);
  show(at("slow"), up ? quantile(0.99, from, to) : UNKNOWN);
  at("limits").replaceChildren(...to.limits.map(({ words, denied }, i) => {
    const rate = perSecond(from.limits[i].denied, denied, to.at - from.at);
    const cells = [short(rate), denied.toLocaleString("en")];
    return element("tr", {}, element("th", { scope: "row" }, words), ...cells.map((text) => element("td", {}, text)));
  }));
  return now;
}

const LONG = 36;
const cut = (text) => (text.length > LONG ? `${text.slice(0, 20)}…${text.slice(-8)}` : text);

// Callers' names begin with the prefix, and one from a header with "key:".
const named = (name, prefix) => name.slice(prefix.length).replace(/^key:/, "");

function row({ key, caller }) {
  const tr = element("tr", {}, element("th", { scope: "row", title: key }),
    ...[" ", " a second", " in all"].map((unit) => {
      const td = element("td");
      td.dataset.unit = unit;
      return td;
    }));
  tr.dataset.key = key;
  if (caller !== null) {
    const button = element("button", { type: "button", className: "key" });
    button.addEventListener("click", async () => {
      await look(`caller:${caller}`);
      at("caller").scrollIntoView({ block: "nearest" });
    });
    tr.cells[0].append(button);
  }
  return tr;
}

// Rows are kept and moved, never recreated, so that a focused button stays focused.
function offenders(denied, prefix) {
  const { top, rest, over } = denied ?? { top: [], rest: 0 };
  const body = at("top");
  const rows = new Map([...body.rows].map((tr) => [tr.dataset.key, tr]));
  top.forEach((offender, i) => {
    const { key, caller, limit, rate, denials, error } = offender;
    const tr = rows.get(key) ?? row(offender);
    rows.delete(key);
    show(tr.cells[0].firstChild ?? tr.cells[0], cut(caller === null ? key : named(caller, prefix)));
    [limit ?? "of another service", short(rate), denials.toLocaleString("en")]
      .forEach((text, i) => show(tr.cells[i + 1], text));
    tr.cells[3].title = error ? `at most; up to ${error} fewer` : "";
    if (body.rows[i] !== tr) body.insertBefore(tr, body.rows[i] ?? null);
  });
  for (const tr of rows.values()) tr.remove();
  document.querySelector("#denials table").hidden = top.length === 0;
  show(at("none"), top.length || !denied ? "" : `Nobody was denied in the last ${lasting(over)}.`);
  show(at("rest"), rest ? `and ${rest.toLocaleString("en")} more, denied less often` : "");
}

function applies({ cost, by, prefix, fail, timeout, store, about }) {
  show(at("by"), cost === 1 ? by : `${by}; a request takes ${cost}`);
  show(at("fail"), `after ${timeout} ms a request is ${fail}`);
  show(at("store"), about ? `${store} (${about})` : store);
  const everybody = by === "all callers together";
  at("who").hidden = everybody;
  show(at("who-label"), everybody ? "All callers share their limits" : "Caller");
  at("who").placeholder = by === "address" ? "an address" : `${by.split(",")[0]}, or ip:ADDRESS`;
  show(at("prefix"), `Keys begin with ${prefix}.`);
}

function take(snapshot) {
  const up = snapshot.downSince === null;
  heard = Date.now();
  document.body.classList.remove("away");
  remember([snapshot.at, up ? 1 : 0, ...snapshot.requests]);
  recent.push(snapshot);
  recent = recent.filter(({ at }) => at >= snapshot.at - NOW);
  applies(snapshot);
  const open = figures(up)[SERIES.indexOf("open")];
  draw();
  const { denied, prefix, trouble } = snapshot;
  offenders(denied, prefix);
  at("denials").classList.toggle("stale", trouble !== null);
  const when = denied ? `As it was at ${clock(snapshot.toldAt)}` : "Not known";
  show(at("stale"), trouble === null ? "" : `${when}: ${trouble}`);
  if (up) {
    state("up", `Redis at ${snapshot.store} answers`, open > 0 ? `! ${short(open)}/s failed open` : "");
  } else {
    const since = `${clock(snapshot.downSince)}, for ${lasting(snapshot.at - snapshot.downSince)}`;
    state("down", `Redis at ${snapshot.store} has not answered since ${since}`, "✕ Redis away");
  }
  look();
}

// Nothing that is shown is of now any more.
function away() {
  state("wait", "The demo does not answer", "✕ Demo away");
  document.body.classList.add("away");
  for (const id of [...SERIES, "median", "slow"]) show(at(id), UNKNOWN);
  for (const tr of at("limits").rows) show(tr.cells[1], UNKNOWN);
  if (recent.length) show(at("stale"), `As it was at ${clock(recent.at(-1).at)}.`);
  at("denials").classList.add("stale");
  outdated();
}

function listen() {
  const source = new EventSource("/dashboard/events");
  source.addEventListener("history", (event) => {
    samples = JSON.parse(event.data);
    recent = [];
    // Another demo may have other limits.
    at("caller").replaceChildren();
    if (samples.length) draw();
  });
  source.addEventListener("message", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    away();
    // The browser tries again by itself, but not after every kind of error.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

// A demo that hangs ends no connection.
setInterval(() => {
  if (heard && Date.now() - heard > 5000) away();
}, 1000);
listen();
