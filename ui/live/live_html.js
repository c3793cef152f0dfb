// Text and pictures that the server draws anew while a run goes on.

class LiveHtml {
  constructor(parent) {
    this.place = parent.querySelector(".live-html");
    this.voice = parent.querySelector(".live-spoken"); // stays, or a screen reader would not notice new words
  }

  update({ look, state, url }, setTriggerValue) {
    Object.assign(this, { setTriggerValue, state });
    feed.watch(this, url, look, (drawing) => this.show(drawing));
  }

  show({ html, spoken, state }) {
    if (html !== this.html) this.place.innerHTML = html;
    if (spoken && spoken !== this.voice.textContent) this.voice.textContent = spoken;
    this.html = html;
    // The buttons were made for another state of the run: have the page made anew, once.
    if (state !== undefined && this.state !== undefined && state !== this.state && state !== this.told) {
      this.told = state;
      this.setTriggerValue("state", state);
    }
  }

  dispose() {
    feed.unwatch(this);
  }
}

export default mounting(LiveHtml);
