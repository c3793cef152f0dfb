// The story in five sentences beside a chart that stays in view. Each act asks before it tells; what it tells moves the
// chart. The first four show recorded numbers, the last one an experiment that goes on, through the feed.

const GLIDE_MS = 1100;
const BLUE = "#0f80c9";
const ORANGE = "#e0662a";
const log10 = Math.log10;

class Story {
  constructor(parent) {
    this.root = parent.querySelector(".story");
    this.text = parent.querySelector(".story-text");
    this.svg = parent.querySelector(".story-chart svg");
    this.legend = parent.querySelector(".story-chart figcaption");
    this.guesses = JSON.parse(sessionStorage.getItem("iwaeStory") ?? "{}");
    this.at = 0;
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.svg);
    this.seen = new IntersectionObserver((entries) => this.scrolled(entries), { rootMargin: "-45% 0px -45% 0px" });
  }

  update({ acts, curves, words, recorded, look, url }, setTriggerValue) {
    Object.assign(this, { curves, words, recorded, setTriggerValue });
    if (JSON.stringify(acts) !== JSON.stringify(this.acts)) {
      this.acts = acts;
      this.write();
    }
    if (look) feed.watch(this, url, look, (drawing) => this.follow(drawing), true);
    else {
      feed.unwatch(this);
      this.live = undefined;
    }
    this.now ??= this.goal();
    this.refresh();
  }

  // The proof as it goes on.
  follow(drawing) {
    if (drawing.missing) return;
    this.live = drawing;
    this.refresh();
  }

  write() {
    this.seen.disconnect();
    this.text.replaceChildren(...this.acts.map((act, i) => this.section(act, i)));
    this.sections = [...this.text.children];
    for (const section of this.sections) this.seen.observe(section);
  }

  section({ name, before, question, answers }, i) {
    const part = (tag, kind, text = "") => Object.assign(document.createElement(tag), { className: kind, textContent: text });
    const section = part("section", "act");
    section.dataset.act = i;
    const choices = part("div", "act-answers");
    choices.role = "group";
    choices.ariaLabel = question;
    answers.forEach((answer, chosen) => {
      const button = part("button", "act-answer", answer);
      button.type = "button";
      button.onclick = () => this.guess(i, chosen);
      choices.append(button);
    });
    const sentence = part("p", "act-sentence");
    sentence.role = "status";
    const next = part("button", "act-next", i + 1 < this.acts.length ? this.words.next : this.words.train);
    next.type = "button";
    next.onclick = () => (i + 1 < this.acts.length ? this.go(i + 1) : this.setTriggerValue("train", true));
    const heading = part("h2", "act-name", `${i + 1}. ${name}`);
    section.append(heading, part("p", "act-before", before), part("p", "act-question", question), choices, sentence, next);
    return section;
  }

  guess(i, chosen) {
    this.guesses[i] ??= chosen;
    sessionStorage.setItem("iwaeStory", JSON.stringify(this.guesses));
    this.at = i;
    this.refresh();
  }

  go(i) {
    this.at = i;
    this.sections[i].scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: "center" });
    this.sections[i].querySelector("button").focus({ preventScroll: true });
    this.refresh();
  }

  scrolled(entries) {
    const entered = entries.find((entry) => entry.isIntersecting);
    if (!entered) return;
    this.at = Number(entered.target.dataset.act);
    this.refresh();
  }

  refresh() {
    this.sections.forEach((section, i) => {
      const guess = this.guesses[i];
      const { right, answers, sentence } = this.acts[i];
      const told = guess !== undefined;
      section.classList.toggle("told", told);
      section.classList.toggle("here", i === this.at);
      section.querySelectorAll(".act-answer").forEach((button, answer) => {
        button.disabled = told;
        button.classList.toggle("right", told && answer === right);
        button.classList.toggle("wrong", told && answer === guess && answer !== right);
      });
      const last = i + 1 === this.acts.length;
      const text = last ? (this.live?.text ?? this.words.promise) : sentence;
      const verdict = guess === right ? this.words.right : this.words.wrong.replace("{answer}", answers[right]);
      const place = section.querySelector(".act-sentence");
      const full = told ? (last ? text : `${verdict} ${text}`) : "";
      if (place.textContent !== full) place.textContent = full;
      const next = section.querySelector(".act-next");
      next.hidden = !told;
      next.disabled = last && this.live?.active === true;
      if (last) next.textContent = next.disabled ? this.live.status : this.words.train;
    });
    this.glide();
  }

  // What the chart is to look like, in numbers between which it can glide.
  goal() {
    const told = (i) => this.at > i || (this.at === i && this.guesses[i] !== undefined);
    const { vae, vae_elbo, iwae, iwae_elbo, ks } = this.curves;
    const [top, last] = [Math.max(vae.at(-1), iwae.at(-1)), log10(ks.at(-1))];
    const near = this.at === 2 || (this.at === 3 && !told(3));
    const wide = this.at >= 3 && told(3);
    const bottom = wide ? Math.min(vae_elbo, iwae_elbo) - 1.5 : near ? top - 1.5 : vae_elbo - 1.2;
    return {
      left: near ? last - 1.05 : 0,
      right: last,
      low: bottom,
      high: near ? top + 0.3 : top + (wide ? 1.4 : 0.9),
      drawn: told(0) ? 1 : 0,
      truth: this.at >= 1 && this.at < 2 ? 1 : 0,
      gap: this.at === 1 && told(1) ? 1 : 0,
      iwae: told(2) && this.at >= 2 ? 1 : 0,
      lead: near && told(2) ? 1 : 0,
      price: wide ? 1 : 0,
      proof: this.at === 4 ? 1 : 0,
      told: told(4) ? 1 : 0,
    };
  }

  glide() {
    const [from, to] = [{ ...this.now }, this.goal()];
    cancelAnimationFrame(this.frame);
    if (still.matches || JSON.stringify(from) === JSON.stringify(to)) {
      this.now = to;
      this.draw();
      return;
    }
    const begun = performance.now();
    const tick = (time) => {
      const part = Math.min(Math.max((time - begun) / GLIDE_MS, 0), 1);
      const eased = part * part * (3 - 2 * part);
      for (const name of Object.keys(to)) this.now[name] = from[name] + eased * (to[name] - from[name]);
      this.draw();
      if (part < 1) this.frame = requestAnimationFrame(tick);
    };
    this.frame = requestAnimationFrame(tick);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.svg;
    if (!width || !this.now) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const box = { left: 46, right: width - 10, top: 14, bottom: height - 34 };
    this.narrow = width < 500;
    const { proof } = this.now;
    this.svg.innerHTML = `<clipPath id="story-clip"><path d="M${box.left - 7} 0H${width}V${box.bottom}H${box.left - 7}z"/></clipPath>
      <g opacity="${1 - proof}">${proof < 1 ? this.bounds(box) : ""}</g><g opacity="${proof}">${proof ? this.proof(box) : ""}</g>`;
    const caption = proof > 0.5 ? this.words.proof : this.words.bounds;
    if (this.legend.textContent !== caption) this.legend.textContent = caption;
  }

  bounds(box) {
    const now = this.now;
    const { ks, vae, vae_elbo, iwae, iwae_elbo } = this.curves;
    const x = (k) => box.left + ((log10(k) - now.left) / (now.right - now.left)) * (box.right - box.left);
    const y = (value) => box.top + ((now.high - value) / (now.high - now.low)) * (box.bottom - box.top);
    const points = (values) => ks.map((k, i) => [x(k), y(Array.isArray(values) ? values[i] : values)]);
    const [truth, end, near] = [vae.at(-1), box.right - 4, now.left > 1];
    const flat = points(vae_elbo);
    const rising = points(vae);
    const region = `M${[...rising, [box.right, y(truth)], [x(1), y(truth)]].map((point) => point.join(" ")).join("L")}Z`;
    const some = ks.indexOf(50);
    const both = now.iwae > 0.5;
    const nats = (value) => `${number(value)} ${this.words.nats}`;
    return `${axes(box, x, y, now)}<g clip-path="url(#story-clip)">
      <g opacity="${now.gap}"><path class="area" d="${region}"/>
        ${bracket(x(1) + 6, y(truth), y(vae_elbo), `${this.words.gap}: ${nats(truth - vae_elbo)}`, 0.25)}
        ${bracket(x(50), y(truth), y(vae[some]), nats(truth - vae[some]))}
        ${bracket(x(2000), y(truth), y(vae_elbo), nats(truth - vae_elbo), 0.6, "end")}</g>
      <g opacity="${now.truth}"><path class="truth" d="M${box.left} ${y(truth)}H${box.right}"/>
        ${label(end, y(truth) - 7, this.words.truth, "end")}</g>
      ${line(partly(flat, now.drawn), BLUE, true)}${line(partly(rising, now.drawn), BLUE)}
      ${dot(rising[0], BLUE)}
      <g opacity="${now.drawn}">${label(end, flat[0][1] - 8, this.name("VAE", this.words.elbo), "end", BLUE)}
        ${this.beside(x, y, vae, near ? [1000, 8, 26, "start"] : both ? [20, -4, -12, "end"] : [20, 10, 22, "start"], "VAE", BLUE)}</g>
      <g opacity="${now.iwae}">${line(points(iwae), ORANGE)}
        ${this.beside(x, y, iwae, near ? [1000, -6, -14, "end"] : [5, 12, 24, "start"], "IWAE", ORANGE)}</g>
      <g opacity="${now.lead}">${bracket(end - 8, y(iwae.at(-1)), y(vae.at(-1)), nats(iwae.at(-1) - vae.at(-1)), 0.5, "end")}</g>
      <g opacity="${now.price}">${line(points(iwae_elbo), ORANGE, true)}
        ${label(end, y(iwae_elbo) - 8, this.name("IWAE", this.words.elbo), "end", ORANGE)}
        ${bracket(x(60), y(vae_elbo), y(iwae_elbo), nats(vae_elbo - iwae_elbo))}</g></g>`;
  }

  // The name of a solid line, off its point at some k.
  beside(x, y, values, [k, right, down, anchor], model, colour) {
    const at = this.curves.ks.findIndex((each) => each >= k);
    const name = this.narrow && this.now.iwae > 0.5 ? model : this.name(model, this.words.bound);
    return label(x(k) + right, y(values[at]) + down, name, anchor, colour);
  }

  name(model, formula) {
    return this.now.iwae > 0.5 ? `${model}: ${formula}` : formula;
  }

  // The lead of one copy over the other, step by step: the recorded one faint, one's own strong.
  proof(box) {
    const [mine, ghost] = [this.live, this.recorded];
    const all = [ghost, ...(mine ? [mine] : [])];
    const most = Math.max(...all.flatMap(({ lead, error }) => lead.map((value, i) => value + error[i])), 0.2);
    const least = Math.min(...all.flatMap(({ lead, error }) => lead.map((value, i) => value - error[i])), -0.1);
    const steps = Math.max(...all.map((each) => each.steps.at(-1) ?? 0), mine?.last ?? 0);
    const x = (step) => box.left + (step / steps) * (box.right - box.left);
    const y = (value) => box.top + ((most - value) / (most - least)) * (box.bottom - box.top);
    const drawn = ({ steps, lead, error }, kind) => {
      const at = steps.map((step, i) => [x(step), y(lead[i])]);
      const edge = (sign) => steps.map((step, i) => [x(step), y(lead[i] + sign * error[i])]);
      const band = [...edge(-1), ...edge(1).reverse()].map((point) => point.join(" ")).join("L");
      return at.length ? `<g class="${kind}"><path class="error" d="M${band}Z"/>${line(at, ORANGE)}${dot(at.at(-1), ORANGE)}</g>` : "";
    };
    const marks = [0, 0.2, 0.4, 0.6, 0.8, 1].filter((value) => value < most).map((value) =>
      `<path class="grid" d="M${box.left} ${y(value)}H${box.right}"/>
      <text class="tick" x="${box.left - 6}" y="${y(value) + 4}" text-anchor="end">${value ? `+${value}` : "0"}</text>`);
    const ticks = [0, steps / 2, steps].map((step, i) => `<text class="tick" x="${x(step)}" y="${box.bottom + 17}"
      text-anchor="${["start", "middle", "end"][i]}">${Math.round(step).toLocaleString("en")}${i === 2 ? ` ${this.words.steps}` : ""}</text>`);
    return `${marks.join("")}${ticks.join("")}<path class="zero" d="M${box.left} ${y(0)}H${box.right}"/>
      ${label(box.left + 6, y(0) - 7, this.words.ahead, "start", ORANGE)}${label(box.left + 6, y(0) + 17, this.words.behind, "start", BLUE)}
      <g opacity="${this.now.told}">${drawn(ghost, mine ? "ghost" : "")}${mine ? drawn(mine, "") : ""}
      ${label(box.right - 4, box.top + 12, mine ? this.words.yours : this.words.recorded, "end")}</g>`;
  }

  dispose() {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.seen.disconnect();
    feed.unwatch(this);
  }
}

// The marks of the chart, as SVG.
function axes(box, x, y, now) {
  const step = now.high - now.low > 12 ? 5 : now.high - now.low > 4 ? 1 : 0.5;
  const marks = [];
  for (let value = Math.ceil(now.low / step) * step; value <= now.high; value += step) {
    marks.push(`<path class="grid" d="M${box.left} ${y(value)}H${box.right}"/><text class="tick" x="${box.left - 6}"
      y="${y(value) + 4}" text-anchor="end">${number(value, step < 1 ? 1 : 0)}</text>`);
  }
  for (const k of [1, 10, 100, 1000, 5000]) {
    if (log10(k) < now.left - 1e-6) continue;
    const anchor = k === 1 ? "start" : k === 5000 ? "end" : "middle";
    const text = k === 1 ? "k = 1" : k.toLocaleString("en");
    marks.push(`<text class="tick" x="${x(k)}" y="${box.bottom + 17}" text-anchor="${anchor}">${text}</text>`);
  }
  return marks.join("");
}

function line(points, colour, dashed = false) {
  if (!points.length) return "";
  const dashes = dashed ? ' stroke-dasharray="8 6"' : "";
  return `<path class="line" stroke="${colour}"${dashes} d="M${points.map((point) => point.join(" ")).join("L")}"/>`;
}

// The first part of a line, cut between two of its points.
function partly(points, part) {
  const until = points[0][0] + part * (points.at(-1)[0] - points[0][0]);
  const after = points.findIndex(([x]) => x > until);
  if (after < 0) return points;
  const [[x0, y0], [x1, y1]] = [points[after - 1], points[after]];
  return [...points.slice(0, after), [until, y0 + ((until - x0) / (x1 - x0)) * (y1 - y0)]];
}

const dot = ([x, y], colour) => `<circle class="dot" fill="${colour}" cx="${x}" cy="${y}" r="5.5"/>`;

function label(x, y, text, anchor, colour = "var(--st-text-color)") {
  return `<text class="label" fill="${colour}" x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
}

function bracket(x, top, bottom, text, part = 0.5, anchor = "start") {
  const place = anchor === "start" ? x + 9 : x - 9;
  return `<path class="bracket" d="M${x - 5} ${top}h10M${x} ${top}V${bottom}M${x - 5} ${bottom}h10"/>
    ${label(place, top + part * (bottom - top) + 5, text, anchor)}`;
}

export default mounting(Story);
