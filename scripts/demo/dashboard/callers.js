// What an operator does about callers.

function element(name, attributes, ...content) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...content);
  return made;
}

const post = (what, body) =>
  fetch(`/dashboard/${what}`, { method: "POST", body }).catch(() => null);

// A button that acts when it is pressed for the second time.
function twice(label, about, act) {
  const button = element("button", { type: "button", textContent: label });
  button.setAttribute("aria-label", `${label}: ${about}`);
  let timer = null;
  function disarm() {
    clearTimeout(timer);
    timer = null;
    button.classList.remove("armed");
    button.textContent = label;
    button.setAttribute("aria-label", `${label}: ${about}`);
  }
  button.addEventListener("click", () => {
    if (timer !== null) {
      disarm();
      act();
      return;
    }
    timer = setTimeout(disarm, 5000);
    button.classList.add("armed");
    button.textContent = `${label}? Press again`;
    button.setAttribute("aria-label", `${label}: ${about}? Press again`);
  });
  return button;
}

const REFILL = { bucket: "Refill bucket", window: "Empty window", sliding: "Empty window", lease: "Free all slots" };

async function refill(caller, index, key) {
  const answer = await post("refill", `${index}\n${caller}`);
  show("said", answer?.ok ? `${key} begins anew.` : `${key} could not be reset.`);
  if (at("caller").dataset.caller === caller) await look(`caller:${caller}`);
}

async function free(caller, index, token) {
  const answer = await post("free", `${index}\n${caller}\n${token}`);
  show("said", answer?.ok ? `The slot of ${token} is free.` : `${token} holds no slot any more.`);
  await look(`caller:${caller}`);
}

function holders(caller, index, limit) {
  if (!limit.holders.length) return [];
  const rows = limit.holders.map(([token, left]) =>
    element("tr", {},
      element("th", { scope: "row" }, element("code", {}, token)),
      element("td", {}, `${lasting(left)} left`),
      element("td", {}, twice("Free slot", token, () => free(caller, index, token)))));
  return [element("table", {},
    element("thead", { className: "unseen" }, element("tr", {},
      ...["Held by", "For", "Action"].map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows))];
}

function standing(limit) {
  const used = limit.quota - limit.remaining;
  const wait = limit.wait === null ? "never passes"
    : limit.wait === 0 ? "would pass now" : `would pass in ${limit.wait < 10_000 ? `${limit.wait.toLocaleString("en")} ms` : lasting(limit.wait)}`;
  const reset = lasting(limit.reset);
  switch (limit.kind) {
    case "bucket":
      return `${limit.remaining} of ${limit.quota} left; one request ${wait}` +
        (limit.reset ? `; full in ${reset}` : "");
    case "sliding":
      return `${used} of ${limit.quota} used; one request ${wait}` +
        (limit.reset ? `; all unused in ${reset}` : "");
    case "window":
      return `${used} of ${limit.quota} used; one request ${wait}` +
        (limit.reset ? `; ends in ${reset}` : "");
    default:
      return `${used} of ${limit.quota} slots held; one request ${wait}`;
  }
}

function card(caller, index, limit) {
  const meter = element("meter", { min: 0, max: Math.max(limit.quota, 1), value: limit.remaining });
  meter.setAttribute("aria-label", `What is left of ${limit.name}`);
  return element("div", {},
    element("h3", {}, limit.name),
    meter,
    element("p", {}, standing(limit)),
    ...holders(caller, index, limit),
    twice(REFILL[limit.kind], limit.name, () => refill(caller, index, limit.key)));
}

async function look(asked) {
  const answer = await post("look", asked);
  const place = at("caller");
  if (!answer?.ok) {
    place.replaceChildren(element("p", {}, answer ? await answer.text() : "The demo does not answer."));
    return;
  }
  const { caller, limits } = await answer.json();
  place.dataset.caller = caller;
  const cards = limits.map((limit, index) => card(caller, index, limit));
  place.replaceChildren(
    element("p", {}, element("code", {}, caller)),
    element("div", { className: "cards" }, ...cards));
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  look(`who:${at("who").value.trim()}`);
});

at("forget").replaceWith((() => {
  const button = twice("Forget who was denied", "the list begins anew", async () => {
    const answer = await post("forget", "");
    show("said", answer?.ok ? "The list begins anew." : "The list could not be cleared.");
  });
  button.id = "forget";
  button.hidden = true;
  return button;
})());
