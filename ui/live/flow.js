// One training step as it flows: an image, its draws, their weights, the two averages, and what pulls on each draw.
// Every new step is told part by part; what the reader points at is told in words.

const PART_MS = 750;

class Flow {
  constructor(parent) {
    this.svg = parent.querySelector(".flow svg");
    this.tip = parent.querySelector(".flow-tip");
    this.note = parent.querySelector(".flow-note");
    this.caption = parent.querySelector(".flow figcaption");
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.svg);
    this.svg.onpointermove = (event) => this.point(event);
    this.svg.onpointerleave = () => (this.tip.hidden = true);
  }

  update({ look, url }) {
    feed.watch(this, url, look, (drawing) => this.show(drawing));
  }

  show(drawing) {
    this.note.textContent = drawing.missing ?? "";
    this.svg.style.display = drawing.missing ? "none" : "";
    if (drawing.missing) return;
    const fresh = drawing.step !== this.seen?.step;
    this.seen = drawing;
    this.caption.textContent = drawing.text;
    this.draw();
    if (fresh && !still.matches) this.tell();
  }

  draw() {
    const { clientWidth: width } = this.svg;
    if (!width || !this.seen) return;
    const { runs, image, words } = this.seen;
    const lane = runs.length > 2 ? 118 : 158;
    const height = 26 + lane * runs.length;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
    const known = runs.flatMap((run) => [...run.before, ...run.after]).sort((a, b) => a - b);
    const low = known[Math.floor(0.04 * known.length)];
    const high = known.at(-1);
    const side = width > 420 ? 54 : 40;
    const draws = { left: side + 62, right: width - 132 };
    const middle = 26 + (lane * runs.length) / 2;
    this.balls = [];
    const lanes = runs.map((run, i) => this.lane(run, 26 + i * lane, lane, draws, side, middle, low, high));
    const titles = [[side / 2, words.image], [side + 34, words.q], [(draws.left + draws.right) / 2, words.draws],
      [width - 62, words.averages]];
    this.svg.innerHTML = `<defs><marker id="flow-head" markerUnits="userSpaceOnUse"
      markerWidth="9" markerHeight="8" refX="5" refY="4" orient="auto">
      <path class="fill" d="M0 0L9 4L0 8z"/></marker></defs>
      ${titles.map(([x, text]) => `<text class="title" x="${x}" y="12" text-anchor="middle">${text}</text>`).join("")}
      <image href="${image}" x="0" y="${middle - side / 2}" width="${side}" height="${side}"/>${lanes.join("")}`;
  }

  lane(run, top, height, draws, side, middle, low, high) {
    const y = (value) => top + 16 + ((high - Math.max(value, low)) / (high - low || 1)) * (height - 34);
    const x = (i) => draws.left + ((i + 0.5) / run.before.length) * (draws.right - draws.left);
    const most = Math.max(...run.pulls.map(Math.abs), 1e-9);
    const centre = top + height / 2;
    const balls = run.before.map((value, i) => {
      const ball = { x: x(i), y: y(value), to: y(run.after[i]), run, i };
      this.balls.push(ball);
      return `<circle class="ball" cx="${ball.x}" cy="${ball.to}" r="${1.5 + 11 * Math.sqrt(Math.abs(run.pulls[i]))}"
        data-from="${ball.y - ball.to}"/>`;
    });
    const arrows = run.pulls.map((pull, i) => (Math.abs(pull) < 0.02 * most ? "" :
      `<path class="pull" marker-end="url(#flow-head)" stroke-width="${1 + 2 * Math.abs(pull / most)}"
        d="M${x(i)} ${y(run.after[i])}v${-Math.sign(pull) * (6 + 26 * Math.abs(pull) / Math.max(most, 0.1))}"/>`));
    const averages = run.bounds.map(([before, after], i) => {
      const at = y(after);
      return { at, text: `${number(after, 1)} <tspan class="gain">${number(after - before, 2, "+")}</tspan>`, dashed: i === 0 };
    });
    const apart = Math.max(0, 34 - (averages[0].at - averages[1].at)) / 2;
    const needles = averages.map(({ at, text, dashed }, i) => {
      const to = Math.min(Math.max(at + (i ? -apart : apart), top + 14), top + height - 14);
      const name = [this.seen.words.elbo, this.seen.words.bound][i];
      return `<path class="needle" ${dashed ? 'stroke-dasharray="6 4"' : ""} d="M${draws.left} ${at}H${draws.right + 6}"/>
        <path class="thin" d="M${draws.right + 6} ${at}L${draws.right + 14} ${to}"/>
        <text class="number" x="${draws.right + 18}" y="${to - 3}">${text}</text>
        <text class="title" x="${draws.right + 18}" y="${to + 11}">${name}</text>`;
    });
    return `<g fill="${run.colour}" stroke="${run.colour}">
      <g class="part-0"><path class="thin" d="M${side + 2} ${middle}C${side + 14} ${middle} ${side + 8} ${centre} ${side + 20} ${centre}"/>
        <text class="run" x="${side + 22}" y="${centre - 4}">${run.label}</text>
        <text class="title" x="${side + 22}" y="${centre + 11}">k = ${run.k}</text></g>
      <g class="part-1">${balls.join("")}</g><g class="part-2">${needles.join("")}</g><g class="part-3">${arrows.join("")}</g></g>`;
  }

  // Part after part; in the last one the draws go where the update has moved them.
  tell() {
    for (let part = 0; part < 4; part += 1) {
      const timing = { duration: PART_MS, delay: part * PART_MS, fill: "backwards", easing: "ease-out" };
      for (const group of this.svg.querySelectorAll(`.part-${part}`)) group.animate([{ opacity: 0 }, { opacity: 1 }], timing);
    }
    const timing = { duration: PART_MS, delay: 3 * PART_MS, fill: "backwards", easing: "ease-in-out" };
    for (const ball of this.svg.querySelectorAll(".ball")) {
      ball.animate([{ transform: `translateY(${ball.dataset.from}px)` }, { transform: "none" }], timing);
    }
  }

  point({ clientX, clientY }) {
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [clientX - box.left, clientY - box.top];
    const away = (ball) => Math.hypot(ball.x - x, ball.to - y);
    const ball = this.balls?.reduce((best, each) => (!best || away(each) < away(best) ? each : best), undefined);
    this.tip.hidden = !ball || away(ball) > 18;
    if (this.tip.hidden) return;
    const { run, i } = ball;
    const told = this.seen.words.tip.replace("{label}", run.label).replace("{number}", i + 1)
      .replace("{before}", number(run.before[i])).replace("{after}", number(run.after[i]))
      .replace("{pull}", number(run.pulls[i], 3));
    const picture = Object.assign(new Image(), { src: run.pictures[i] ?? "", alt: "" });
    this.tip.replaceChildren(...(run.pictures[i] ? [picture] : []), told);
    this.tip.style.left = `${Math.min(Math.max(ball.x - 90, 0), box.width - 190)}px`;
    this.tip.style.top = `${ball.to + 16}px`;
  }

  dispose() {
    this.observer.disconnect();
    feed.unwatch(this);
  }
}

export default mounting(Flow);
