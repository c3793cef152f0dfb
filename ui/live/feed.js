// The web socket that all live parts of the page share. A part tells how it looks at a run; the server sends its drawing,
// and again whenever that changes. Put in front of the script of every live component, so `feed` is made once.

class Feed {
  constructor() {
    this.parts = new Map(); // part -> { look, receive, fixed, key }
    this.latest = new Map(); // key -> its newest drawing, for a part that is mounted anew: the server sends it only once
    this.overrides = {}; // what the reader points at for a moment: another k, another time
    this.votes = new Set(); // answers to polls, told again to a server that comes back: it counts each once
    this.turn = Promise.resolve();
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
    for (const part of this.parts.keys()) part.follow?.(changes);
    this.tell();
  }

  vote(message) {
    if (this.votes.has(message)) return;
    this.votes.add(message);
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(message);
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
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.wait = 500;
      this.send();
      for (const message of this.votes) this.socket.send(message);
    };
    this.socket.onmessage = ({ data }) => {
      this.turn = this.turn.then(() => this.receive(data)).catch(reportError); // in the order in which they came
    };
    this.socket.onclose = () => {
      this.socket = undefined;
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(2 * this.wait, 10_000);
    };
  }

  // Compressed by the server once for all who watch, so the browser's own compression of web sockets is not used.
  async receive(frame) {
    const bytes = new Uint8Array(frame);
    const end = bytes.indexOf(10); // a line break between the key and the drawing
    const key = new TextDecoder().decode(bytes.subarray(0, end));
    const stream = new Blob([bytes.subarray(end + 1)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const drawing = await new Response(stream).json();
    this.latest.set(key, drawing);
    for (const entry of this.parts.values()) if (entry.key === key) entry.receive(drawing);
  }
}

const feed = (window.iwaeFeed ??= new Feed());
