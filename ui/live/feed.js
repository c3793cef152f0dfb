// The web socket that all live parts of the page share. A part tells how it looks at a run; the server sends its drawing,
// and again whenever that changes. Put in front of the script of every live component, so `feed` is made once.

class Feed {
  constructor() {
    this.parts = new Map(); // part -> { look, receive, fixed, key }
    this.latest = new Map(); // key -> its newest drawing, for a part that is mounted anew: the server sends it only once
    this.overrides = {}; // what the reader points at for a moment: another k, another time
    this.wait = 500;
    this.sent = 0;
  }

  // `look` is an object; `receive` is called with each drawing. A fixed part ignores overrides.
  watch(part, url, look, receive, fixed = false) {
    this.url = url;
    this.parts.set(part, { look, receive, fixed });
    this.aim(part); // at once: a drawing may be on its way
    this.tell();
  }

  unwatch(part) {
    this.parts.delete(part);
    this.tell();
  }

  // Look at everything but `source` another way, until told otherwise.
  override(changes, source) {
    this.overrides = changes;
    this.source = source;
    this.tell();
  }

  tell() {
    this.due ??= setTimeout(() => {
      this.due = undefined;
      for (const part of this.parts.keys()) this.aim(part);
      if (!this.socket) this.connect();
      else if (this.socket.readyState === WebSocket.OPEN) this.send();
    }, Math.max(20, this.sent + 50 - performance.now())); // the server reads a list every 50 ms
  }

  aim(part) {
    const entry = this.parts.get(part);
    const changes = entry.fixed || part === this.source ? {} : this.overrides;
    const key = JSON.stringify({ ...entry.look, ...changes });
    if (key === entry.key) return;
    entry.key = key;
    if (this.latest.has(key)) entry.receive(this.latest.get(key));
  }

  send() {
    const keys = new Set([...this.parts.values()].map((entry) => entry.key));
    for (const key of this.latest.keys()) if (!keys.has(key)) this.latest.delete(key);
    this.socket.send(JSON.stringify([...keys]));
    this.sent = performance.now();
  }

  connect() {
    if (!this.parts.size) return;
    this.socket = new WebSocket(new URL(this.url, location.href.replace(/^http/, "ws")));
    this.socket.onopen = () => {
      this.wait = 500;
      this.send();
    };
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.latest.set(message.key, message.data);
      for (const entry of this.parts.values()) if (entry.key === message.key) entry.receive(message.data);
    };
    this.socket.onclose = () => {
      this.socket = undefined;
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(2 * this.wait, 10_000);
    };
  }
}

const feed = (window.iwaeFeed ??= new Feed());
