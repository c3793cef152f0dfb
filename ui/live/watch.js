// The page of those who only watch: it mounts the live components itself, where Streamlit would run a script for each
// visitor. `mounts` holds what each component exports; the address says which experiment is shown, and how.

// Fields of a look by their names in the address, which are those of the laboratory.
const NUMBERS = { view_k: "k", at: "at", digit: "digit" };
const TEXTS = { run: "experiment", recorded: "recorded", words: "words", x: "x" };

function addressed() {
  const given = new URLSearchParams(location.search);
  const found = {};
  for (const [name, field] of Object.entries(TEXTS)) if (given.has(name)) found[field] = given.get(name);
  for (const [name, field] of Object.entries(NUMBERS)) {
    if (/^-?\d{1,9}$/.test(given.get(name) ?? "")) found[field] = Number(given.get(name));
  }
  return found;
}

const main = document.querySelector("main");
const heading = main.querySelector("[data-plots]");
const plots = JSON.parse(heading.dataset.plots);
const asked = new URLSearchParams(location.search).get("plot");
const plot = Object.hasOwn(plots, asked) ? asked : Object.keys(plots)[0];
const look = { at: -1, k: Number(main.dataset.k), ...addressed() };
heading.textContent = plots[plot];

function draw() {
  for (const parentElement of main.querySelectorAll("[data-kind]")) {
    const { height, kind, part } = parentElement.dataset;
    const data = {
      height: Number(height),
      look: { ...look, part: part === "plot" ? plot : part },
      name: part,
      plotly_js: main.dataset.plotly,
      url: main.dataset.live,
    };
    mounts[kind]({ data, parentElement, setTriggerValue: keep });
  }
}

// A click on a chart and the time scrubber choose a k or a time; nothing else here is a choice.
function keep(name, value) {
  if (name !== "pin") return;
  Object.assign(look, value);
  draw();
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
