// The opening picture: real draws of one digit as balls, and two needles on one scale. It needs nothing but its data,
// so it is there before anything is trained; k is dragged on the plot or the slider, by keys, or plays by itself.

const PLAY_SECONDS = 9;
const REST_MS = 1400; // on each k, where nothing is to glide
const STOPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const GOLDEN = (Math.sqrt(5) - 1) / 2; // successive multiples, modulo 1, spread evenly at any number of them

// Values of k that are evenly spaced by their logarithms, as far as whole numbers are.
const gridTo = (last, points) => [...new Set(Array.from({ length: points + 1 }, (_, i) => Math.round(last ** (i / points))))];

class Opening {
  constructor(parent) {
    for (const part of ["count", "play", "again", "plot", "slider", "numbers", "caption", "digit"]) {
      this[part] = parent.querySelector(`.opening-${part}`);
    }
    this.canvas = this.plot.querySelector("canvas");
    [this.backdrop, this.scene] = this.plot.querySelectorAll("svg");
    this.slider.oninput = () => this.hold(Math.round(this.last ** (this.slider.value / this.slider.max)));
    this.slider.onkeydown = (event) => this.key(event);
    this.play.onclick = () => (this.clock ? this.pause() : this.start());
    this.again.onclick = () => this.shuffle();
    this.plot.onpointerdown = (event) => this.grab(event);
    this.plot.onpointermove = (event) => this.plot.hasPointerCapture(event.pointerId) && this.drag(event);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.plot);
  }

  update({ log_weights, bands, digit, log_p, words }) {
    this.words = words;
    this.label();
    if (this.weights) return this.resize(); // other words, or another theme: the draws stay
    const bytes = Uint8Array.from(atob(log_weights), (letter) => letter.charCodeAt(0));
    this.weights = Float64Array.from(new Int16Array(bytes.buffer), (cents) => cents / 100);
    Object.assign(this, { bands, logP: log_p, last: this.weights.length, grid: gridTo(this.weights.length, 200) });
    this.digit.src = digit;
    this.places();
    this.add();
    this.k = this.last;
    this.resize();
    if (!still.matches && !window.iwaeOpened) this.start();
    window.iwaeOpened = true; // who comes back has seen it play
  }

  // The range of the scale, and how far from the middle each ball may lie: more where there are more of them.
  places() {
    const sorted = this.weights.toSorted();
    this.top = sorted.at(-1);
    this.low = sorted[Math.floor(0.02 * this.last)] - 1;
    this.high = this.top + 1;
    this.below = sorted.findIndex((value) => value >= this.low);
    const counts = new Float64Array(60);
    const cell = (value) => Math.max(0, Math.floor(((value - this.low) / (this.high - this.low)) * counts.length));
    for (const value of sorted) counts[cell(value)] += 1;
    const smooth = counts.map((_, i) => (counts[i - 1] ?? 0) + 2 * counts[i] + (counts[i + 1] ?? 0));
    const most = Math.max(...smooth);
    this.breadth = (value) => 0.12 + 0.88 * Math.sqrt(smooth[cell(value)] / most);
  }

  // Running sums of log w, and of w in units of the largest, in the order of the draws.
  add() {
    this.logs = new Float64Array(this.last + 1);
    this.sums = new Float64Array(this.last + 1);
    this.weights.forEach((value, i) => {
      this.logs[i + 1] = this.logs[i] + value;
      this.sums[i + 1] = this.sums[i] + Math.exp(value - this.top);
    });
  }

  averageOfLogs = (k) => this.logs[k] / k;
  logOfAverage = (k) => this.top + Math.log(this.sums[k] / k);

  // The same draws in another order, so that the first k are others.
  shuffle() {
    for (let i = this.last - 1; i > 0; i -= 1) {
      const j = Math.floor(Math.random() * (i + 1));
      [this.weights[i], this.weights[j]] = [this.weights[j], this.weights[i]];
    }
    this.add();
    if (this.k === this.last) this.start();
    else this.draw();
  }

  start() {
    this.pause();
    const from = this.k >= this.last ? 0 : Math.log(this.k) / Math.log(this.last);
    if (still.matches) {
      const stops = STOPS.filter((k) => k > this.k || from === 0);
      this.clock = setInterval(() => (stops.length ? this.show(stops.shift()) : this.pause()), REST_MS);
      this.show(stops.shift());
    } else {
      const begun = performance.now() - 1000 * PLAY_SECONDS * from;
      const tick = (now) => {
        const part = Math.min(Math.max((now - begun) / (1000 * PLAY_SECONDS), 0), 1);
        if (part < 1) this.clock = requestAnimationFrame(tick);
        else this.pause();
        this.show(Math.round(this.last ** part));
      };
      this.clock = requestAnimationFrame(tick);
    }
    this.label();
  }

  pause() {
    cancelAnimationFrame(this.clock);
    clearInterval(this.clock);
    this.clock = undefined;
    this.label();
  }

  hold(k) {
    this.pause();
    this.show(k);
  }

  label() {
    const [icon, text] = this.clock ? ["❚❚", this.words.pause] : ["▶", this.words.play];
    this.play.textContent = `${icon} ${text}`;
    this.play.ariaLabel = text;
    this.again.textContent = this.words.again;
  }

  grab(event) {
    if (event.button !== 0 || event.offsetX < this.trace.left - 12) return;
    this.plot.setPointerCapture(event.pointerId);
    this.drag(event);
  }

  drag({ clientX }) {
    const x = clientX - this.plot.getBoundingClientRect().left;
    const part = (x - this.trace.left) / (this.trace.right - this.trace.left);
    this.hold(Math.round(this.last ** Math.min(Math.max(part, 0), 1)));
  }

  // A step is to another whole k, however close those are on the slider.
  key(event) {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 15, PageDown: -15 }[event.key];
    if (!steps) return;
    event.preventDefault();
    const at = nearest(this.grid, this.k) + steps;
    this.hold(this.grid[Math.min(Math.max(at, 0), this.grid.length - 1)]);
  }

  show(k) {
    this.k = k;
    this.draw();
  }

  // Where everything lies, and all that does not move with k.
  resize() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width || !this.weights) return;
    const wide = width >= 700;
    const margin = { top: 26, bottom: 22, left: 40, right: wide ? 212 : 4 };
    const balls = { left: margin.left, right: margin.left + (wide ? 0.27 : 0.3) * (width - margin.left - margin.right) };
    const trace = { left: balls.right + 26, right: width - margin.right - 8 };
    const y = (value) => margin.top + ((this.high - value) / (this.high - this.low)) * (height - margin.top - margin.bottom);
    const x = (k) => trace.left + (Math.log(k) / Math.log(this.last)) * (trace.right - trace.left);
    Object.assign(this, { width, height, wide, margin, balls, trace, x, y });
    this.slider.style.marginLeft = `${trace.left - 9}px`; // half a thumb
    this.slider.style.width = `${trace.right - trace.left + 18}px`;
    const ratio = devicePixelRatio;
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    this.ink = this.canvas.getContext("2d");
    this.ink.scale(ratio, ratio);
    for (const svg of [this.backdrop, this.scene]) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.backdrop.innerHTML = this.background();
    this.draw();
  }

  background() {
    const { balls, trace, x, y, margin, height, words } = this;
    const marks = [];
    for (let value = Math.ceil(this.low / 5) * 5; value < this.high; value += 5) {
      const at = y(value);
      marks.push(`<path class="grid" d="M${balls.left} ${at}H${trace.right}"/>`);
      marks.push(`<text class="tick" x="${balls.left - 6}" y="${at + 4}" text-anchor="end">${number(value, 0)}</text>`);
    }
    for (const k of [1, 10, 100, 1000, this.last]) {
      if (k === 1000 && !this.wide) continue;
      const anchor = k === this.last ? "end" : "middle";
      marks.push(`<text class="tick" x="${x(k)}" y="${height - 5}" text-anchor="${anchor}">${k.toLocaleString("en")}</text>`);
    }
    const band = ([low, high]) => {
      const ends = (values) => values.map((value, i) => `${x(this.bands.k[i])} ${y(Math.max(value, this.low))}`);
      return `<path class="band" d="M${[...ends(low), ...ends(high).reverse()].join("L")}Z"/>`;
    };
    const middle = (balls.left + balls.right) / 2;
    const title = (at, text, anchor) => `<text class="title" x="${at}" y="13" text-anchor="${anchor}">${text}</text>`;
    return `${marks.join("")}${band(this.bands.average_of_logs)}${band(this.bands.log_of_average)}
      <path class="truth" d="M${balls.left} ${y(this.logP)}H${trace.right}"/>
      ${this.inside(trace.left + 4, y(this.logP) - 6, words.truth, "truth-name", "start")}
      ${title(middle, this.wide ? words.balls : words.balls_short, "middle")}
      ${title(this.wide ? (trace.left + trace.right) / 2 : trace.right, words.trace, this.wide ? "middle" : "end")}`;
  }

  draw() {
    if (!this.width) return;
    const { k, words } = this;
    const [elbo, bound] = [this.averageOfLogs(k), this.logOfAverage(k)];
    this.scene.innerHTML = this.needles(k, elbo, bound) + this.lower(this.spread(k));
    this.count.textContent = `k = ${k.toLocaleString("en")}`;
    const numbers = [[words.elbo, elbo], [words.bound, bound], [words.truth, this.logP]];
    const [, caption] = words.captions.findLast(([from]) => k >= from);
    this.caption.textContent = caption.replace("{nats}", (this.logP - elbo).toFixed(1));
    this.slider.value = (this.slider.max * Math.log(k)) / Math.log(this.last);
    const told = `k = ${k}: ${numbers.map(([name, value]) => `${name} ${number(value, 2)}`).join(", ")}`;
    this.slider.ariaValueText = this.numbers.textContent = told;
  }

  // The first k draws. Their areas are their shares of the weight, so all the ink together stays the same.
  spread(k) {
    const { ink, balls, y, low } = this;
    const total = this.sums[k];
    const [middle, half] = [(balls.left + balls.right) / 2, (balls.right - balls.left) / 2 - 8];
    let hidden = 0;
    ink.clearRect(0, 0, this.width, this.height);
    for (let i = 0; i < k; i += 1) {
      const value = this.weights[i];
      if (value < low) {
        hidden += 1;
        continue;
      }
      const share = Math.exp(value - this.top) / total;
      const size = 1.1 + 17 * Math.sqrt(share);
      const aside = 2 * ((i * GOLDEN) % 1) - 1;
      ink.fillStyle = `rgba(15, 128, 201, ${0.32 + 0.5 * Math.min(1, 12 * Math.sqrt(share))})`;
      ink.beginPath();
      ink.arc(middle + aside * half * this.breadth(value), y(value), size, 0, 2 * Math.PI);
      ink.fill();
    }
    return hidden;
  }

  // What the scale leaves out is told.
  lower(hidden) {
    const text = this.words.hidden.replace("{number}", hidden);
    const middle = (this.balls.left + this.balls.right) / 2;
    return hidden ? `<text class="tick" x="${middle}" y="${this.height - 5}" text-anchor="middle">${text}</text>` : "";
  }

  needles(k, elbo, bound) {
    const { balls, trace, x, y, words, wide } = this;
    const [low, high] = [y(Math.max(elbo, this.low)), y(bound)];
    const path = (formula) => {
      const until = this.grid.filter((at) => at < k).concat(k);
      return `M${until.map((at) => `${x(at).toFixed(1)} ${y(Math.max(formula(at), this.low)).toFixed(1)}`).join("L")}`;
    };
    const needle = (at, kind) => `<path class="needle ${kind}" d="M${balls.left} ${at}H${balls.right + 4}"/>
      <path class="head" d="M${balls.right + 16} ${at}l-13 -6v12z"/>`;
    const at = x(k);
    let labels;
    if (wide) {
      // Beside the plot, apart from each other.
      const apart = Math.max(0, 64 - (low - high)) / 2;
      labels = this.beside(high - apart, words.bound + words.bound_of, words.bound_formula, bound) +
        this.beside(low + apart, words.elbo + words.elbo_of, words.elbo_formula, elbo);
    } else {
      labels = this.inside(trace.right - 2, Math.abs(high - y(this.logP)) < 24 ? y(this.logP) - 23 : high - 9, `${words.bound} ${number(bound, 1)}`, "name", "end") +
        this.inside(trace.right - 2, low + 20, `${words.elbo} ${number(elbo, 1)}`, "name", "end");
    }
    return `<path class="gap" d="M${at} ${y(this.logP)}V${low}"/>
      <path class="leader" d="M${balls.right + 16} ${high}H${at}M${balls.right + 16} ${low}H${at}"/>
      <path class="line dashed" d="${path(this.averageOfLogs)}"/><path class="line" d="${path(this.logOfAverage)}"/>
      ${needle(low, "dashed")}${needle(high, "")}
      <path class="dot" d="M${at} ${low - 6}l6 6l-6 6l-6 -6z"/><circle class="dot" cx="${at}" cy="${high}" r="5"/>${labels}`;
  }

  beside(at, name, formula, value) {
    const left = this.trace.right + 16;
    const below = this.logP - value;
    const gap = below > 0.05 ? this.words.below.replace("{nats}", below.toFixed(1)) : this.words.there;
    return `<text class="name" x="${left}" y="${at - 12}">${name}</text>
      <text class="formula" x="${left}" y="${at + 5}">${formula} = ${number(value, 1)}</text>
      <text class="tick" x="${left}" y="${at + 22}">${gap}</text>`;
  }

  inside(x, y, text, kind, anchor) {
    return `<text class="${kind} haloed" x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
  }

  dispose() {
    cancelAnimationFrame(this.clock);
    clearInterval(this.clock);
    this.observer.disconnect();
  }
}

const nearest = (grid, k) => grid.reduce((best, at, i) => (Math.abs(at - k) < Math.abs(grid[best] - k) ? i : best), 0);

export default mounting(Opening);
