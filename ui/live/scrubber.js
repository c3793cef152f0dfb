// The time scrubber: a slider over the evaluations of a run, with replay. Moving it makes every live part look at
// another time through the feed, without the page's script; letting go tells the page, for its address.

const REPLAY_SECONDS = 8;

class Scrubber {
  constructor(parent) {
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
    feed.watch(this, url, { ...look, part: "times", at: -1 }, (drawing) => this.show(drawing), true);
    this.draw();
  }

  show({ steps = [], next }) {
    Object.assign(this, { steps, next });
    this.draw();
  }

  // What is pointed at elsewhere shows here too, or the slider would tell another time than the charts.
  follow({ at }) {
    this.pointed = at;
    this.draw();
  }

  get last() {
    return this.steps.length - 1;
  }

  draw() {
    const wanted = this.pointed ?? this.at;
    const at = wanted < 0 ? this.last : Math.min(wanted, this.last);
    this.slider.max = Math.max(this.last, 0);
    this.slider.value = at;
    this.slider.disabled = this.button.disabled = this.last < 1;
    const step = this.steps[at];
    const number = (value) => value.toLocaleString("en");
    const latest = this.next ? ` (latest, next at ${number(this.next)})` : " (latest)";
    this.label.value = step === undefined ? "" : `step ${number(step)}${at === this.last ? latest : ""}`;
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

  // Unless something else has the keyboard, arrows move through time, and the space bar holds a run or lets it go on.
  key(event) {
    const free = document.activeElement === document.body || document.activeElement?.tagName === "MAIN";
    if (!free || event.altKey || event.ctrlKey || event.metaKey) return;
    const hold = event.key === " " && document.querySelector(".st-key-hold button:enabled");
    if (hold) {
      event.preventDefault();
      hold.click();
      return;
    }
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move || this.last < 1) return;
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

export default mounting(Scrubber);
