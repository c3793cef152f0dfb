// The time scrubber: a slider over the evaluations of a run, with replay. Moving it makes every live part look at
// another time through the feed, without the page's script; letting go tells the page, for its address.

const scrubbers = new WeakMap();
const REPLAY_SECONDS = 8;

class Scrubber {
  constructor(parent) {
    this.calls = 0;
    this.steps = [];
    this.slider = parent.querySelector("input");
    this.label = parent.querySelector("output");
    this.button = parent.querySelector("button");
    this.slider.oninput = () => {
      const at = Number(this.slider.value);
      this.pause();
      this.point(at);
    };
    this.slider.onchange = () => this.settle();
    this.button.onclick = () => (this.timer ? this.pause(true) : this.play());
    this.keys = (event) => this.key(event);
    document.addEventListener("keydown", this.keys);
  }

  update({ look, url }, setTriggerValue) {
    Object.assign(this, { look, setTriggerValue });
    if (!this.timer && !this.held) {
      this.at = look.at;
      if ("at" in feed.overrides) feed.override({});
    }
    feed.watch(this, url, { ...look, part: "times", at: -1 }, ({ steps = [] }) => this.show(steps), true);
    this.draw();
  }

  show(steps) {
    this.steps = steps;
    this.draw();
  }

  get last() {
    return this.steps.length - 1;
  }

  draw() {
    const at = this.at < 0 ? this.last : Math.min(this.at, this.last);
    this.slider.max = Math.max(this.last, 0);
    this.slider.value = at;
    this.slider.disabled = this.button.disabled = this.last < 1;
    const step = this.steps[at];
    this.label.value = step === undefined ? "" : `step ${step.toLocaleString("en")}${at === this.last ? " (latest)" : ""}`;
    this.slider.ariaValueText = this.label.value;
    this.button.textContent = this.timer ? "❚❚" : "▶";
    this.button.ariaLabel = this.timer ? "Stop the replay" : "Replay the training";
  }

  // -1 follows the run.
  point(at) {
    this.at = at >= this.last ? -1 : Math.max(at, 0);
    this.held = true;
    feed.override(this.at === this.look.at ? {} : { at: this.at });
    this.draw();
  }

  settle() {
    this.held = false;
    if (this.at === this.look.at) return;
    this.setTriggerValue("pin", { at: this.at }); // the override lasts until the page has been made anew for it
  }

  play() {
    const start = this.at < 0 ? 0 : this.at;
    this.point(start);
    const pause = Math.min(700, Math.max(120, (1000 * REPLAY_SECONDS) / Math.max(this.last - start, 1)));
    this.timer = setInterval(() => {
      this.point(this.at + 1);
      if (this.at < 0) this.pause(true);
    }, pause);
    this.draw();
  }

  pause(settle = false) {
    clearInterval(this.timer);
    this.timer = undefined;
    this.draw();
    if (settle) this.settle();
  }

  // Arrows move through time unless something else has the keyboard.
  key(event) {
    const free = document.activeElement === document.body || document.activeElement?.tagName === "MAIN";
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!free || !move || event.altKey || event.ctrlKey || event.metaKey || this.last < 1) return;
    event.preventDefault();
    this.pause();
    this.point((this.at < 0 ? this.last : this.at) + move);
    this.settle();
  }

  dispose() {
    this.pause();
    document.removeEventListener("keydown", this.keys);
    feed.override({});
    feed.unwatch(this);
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  if (!scrubbers.has(parentElement)) scrubbers.set(parentElement, new Scrubber(parentElement));
  const scrubber = scrubbers.get(parentElement);
  const call = ++scrubber.calls;
  scrubber.update(data, setTriggerValue);
  return () => {
    if (call !== scrubber.calls) return;
    scrubbers.delete(parentElement);
    scrubber.dispose();
  };
}
