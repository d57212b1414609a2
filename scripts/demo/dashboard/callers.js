// One caller: its state, queried each second, and the button that resets it.

function element(name, attributes, ...content) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...content);
  return made;
}

const post = (what, body) =>
  fetch(`/dashboard/${what}`, { method: "POST", body }).catch(() => null);

function standing({ kind, quota, remaining, wait, reset }) {
  const noun = kind === "lease" ? "slots free" : "left";
  const passes = wait === null ? "never passes"
    : wait === 0 ? "passes now" : `passes in ${wait < 10_000 ? `${wait.toLocaleString("en")} ms` : lasting(wait)}`;
  const end = { bucket: "full", window: "ends", sliding: "all unused" }[kind];
  const full = end && reset ? `; ${end} in ${lasting(reset)}` : "";
  return `${remaining.toLocaleString("en")} of ${quota.toLocaleString("en")} ${noun}; one request ${passes}${full}`;
}

// What is looked at, as the server is asked for it.
let asked = null;
let asking = false;

function outdated() {
  at("caller").classList.add("stale");
  if (at("as-of").dataset.at) show(at("as-of"), `As it was at ${at("as-of").dataset.at}. There is no answer now.`);
  else show(at("as-of"), asked ? "There is no answer now." : "");
}

async function look(what = asked) {
  const other = what !== asked;
  asked = what;
  if (other) {
    at("caller").replaceChildren();
    delete at("as-of").dataset.at;
    show(at("as-of"), "");
  }
  if (asked === null || asking) return;
  asking = true;
  const sent = clock(Date.now());
  const answer = await post("look", asked);
  const body = answer && (await answer.text().catch(() => null));
  asking = false;
  if (what !== asked) return look();
  if (answer?.status === 400) {
    show(at("as-of"), body);
    asked = null;
  } else if (answer?.ok && body !== null) {
    caller(JSON.parse(body), sent);
  } else {
    outdated();
  }
}

function caller({ caller, limits }, sent) {
  const place = at("caller");
  place.classList.remove("stale");
  at("as-of").dataset.at = sent;
  show(at("as-of"), `As of ${sent}`);
  if (!place.children.length) {
    const cards = limits.map(({ name, quota }) => {
      const meter = element("meter", { min: 0, max: Math.max(quota, 1) });
      meter.setAttribute("aria-label", `What is left of ${name}`);
      return element("div", {}, element("h3", {}, name), meter, element("p"));
    });
    const reset = element("button", { type: "button" }, "Reset this caller");
    reset.addEventListener("click", async () => {
      const answer = await post("reset", caller);
      show(at("said"), answer?.ok ? `${caller} was reset.` : `${caller} could not be reset: ${answer ? await answer.text() : "no answer"}`);
      look();
    });
    place.append(element("p", {}, element("code", {}, caller), " ", reset),
      element("div", { className: "cards" }, ...cards));
  }
  limits.forEach((limit, i) => {
    const [, meter, text] = place.lastChild.children[i].children;
    meter.value = limit.remaining;
    show(text, standing(limit));
  });
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  show(at("said"), "");
  look(`who:${at("who").value.trim()}`);
});
