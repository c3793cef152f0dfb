// A sheet of paper to draw on with mouse, pen or finger. Each finished stroke sends all strokes to the page, in units of
// the paper's side; between strokes nothing is sent. Another `turn` asks for an empty sheet.

const sketches = new WeakMap();
const NEAR = 0.005; // of the side: points closer than this are the same

class Sketch {
  constructor(parent) {
    this.calls = 0;
    this.strokes = [];
    this.paper = parent.querySelector("canvas");
    this.hint = parent.querySelector(".sketch-hint");
    [this.undo, this.clear] = parent.querySelectorAll("button");
    this.paper.onpointerdown = (event) => this.begin(event);
    this.paper.onpointermove = (event) => this.go(event);
    this.paper.onpointerup = this.paper.onpointercancel = (event) => this.end(event);
    this.undo.onclick = () => this.keep(this.strokes.slice(0, -1));
    this.clear.onclick = () => this.keep([]);
  }

  update({ pen, turn }, setTriggerValue) {
    if (this.turn !== undefined && turn !== this.turn && this.pointer === undefined) this.strokes = [];
    Object.assign(this, { pen, turn, setTriggerValue });
    this.draw();
  }

  begin(event) {
    if (this.pointer !== undefined || event.button !== 0) return;
    event.preventDefault(); // no selecting of text with the pen
    this.paper.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.strokes = [...this.strokes, []];
    this.add(event);
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const each of passed.length ? passed : [event]) this.add(each);
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = undefined;
    this.keep(this.strokes);
  }

  add({ clientX, clientY }) {
    const { left, top, width, height } = this.paper.getBoundingClientRect();
    const point = [(clientX - left) / width, (clientY - top) / height].map((value) => Number(value.toFixed(4)));
    const stroke = this.strokes.at(-1);
    const last = stroke.at(-1);
    if (last && Math.hypot(point[0] - last[0], point[1] - last[1]) < NEAR) return;
    stroke.push(point);
    this.draw();
  }

  keep(strokes) {
    this.strokes = strokes;
    this.draw();
    this.setTriggerValue("drawing", { strokes });
  }

  draw() {
    const side = this.paper.width;
    const ink = this.paper.getContext("2d");
    ink.clearRect(0, 0, side, side);
    Object.assign(ink, { lineCap: "round", lineJoin: "round", lineWidth: this.pen * side, strokeStyle: "#111" });
    for (const stroke of this.strokes) {
      ink.beginPath();
      ink.moveTo(side * stroke[0][0], side * stroke[0][1]);
      for (const [x, y] of stroke) ink.lineTo(side * x, side * y);
      ink.stroke();
    }
    this.hint.hidden = this.strokes.length > 0;
    this.undo.disabled = this.clear.disabled = !this.strokes.length;
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  if (!sketches.has(parentElement)) sketches.set(parentElement, new Sketch(parentElement));
  const sketch = sketches.get(parentElement);
  const call = ++sketch.calls;
  sketch.update(data, setTriggerValue);
  return () => {
    if (call === sketch.calls) sketches.delete(parentElement);
  };
}
