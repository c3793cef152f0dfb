// A sheet of paper to draw on with mouse, pen, finger or keyboard: arrow keys move a pen from one cell of a grid to the
// next, the space bar puts it down or lifts it. Each finished stroke sends all strokes to the page, in units of
// the paper's side; between strokes nothing is sent. Another `turn` asks for an empty sheet.

const NEAR = 0.005; // of the side: points closer than this are the same
const CELLS = 20; // of the grid, along a side
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Sketch {
  constructor(parent) {
    this.strokes = [];
    this.paper = parent.querySelector("canvas");
    this.hint = parent.querySelector(".sketch-hint");
    [this.undo, this.clear] = parent.querySelectorAll("button");
    this.paper.onpointerdown = (event) => this.begin(event);
    this.paper.onpointermove = (event) => this.go(event);
    this.paper.onpointerup = this.paper.onpointercancel = (event) => this.end(event);
    this.cell = [CELLS / 2, CELLS / 4]; // where the keyboard's pen is
    this.paper.onkeydown = (event) => this.key(event);
    this.paper.onfocus = () => this.draw();
    this.paper.onblur = () => this.lift();
    this.undo.onclick = () => this.keep(this.strokes.slice(0, -1));
    this.clear.onclick = () => this.keep([]);
  }

  update({ pen, turn }, setTriggerValue) {
    const idle = this.pointer === undefined && !this.down;
    if (this.turn !== undefined && turn !== this.turn && idle) this.strokes = [];
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

  key(event) {
    const move = ARROWS[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey || !(move || event.key === " ")) return;
    event.preventDefault();
    if (!move && this.down) return this.lift();
    if (move) this.cell = this.cell.map((value, axis) => Math.min(CELLS - 1, Math.max(1, value + move[axis])));
    else this.strokes = [...this.strokes, []];
    this.down ||= !move;
    if (this.down) this.addPoint(this.cell.map((value) => value / CELLS));
    this.draw();
  }

  lift() {
    const was = this.down;
    this.down = false;
    if (was) this.keep(this.strokes);
    else this.draw();
  }

  add({ clientX, clientY }) {
    const { left, top, width, height } = this.paper.getBoundingClientRect();
    this.addPoint([(clientX - left) / width, (clientY - top) / height].map((value) => Number(value.toFixed(4))));
  }

  addPoint(point) {
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
    if (this.paper.matches(":focus-visible")) this.drawPen(ink, side);
    this.hint.hidden = this.strokes.length > 0;
    this.undo.disabled = this.clear.disabled = !this.strokes.length;
  }

  // Where the keyboard's pen is: a ring, filled while it is down.
  drawPen(ink, side) {
    const [x, y] = this.cell.map((value) => (side * value) / CELLS);
    Object.assign(ink, { fillStyle: "#c0392b", lineWidth: side / 120, strokeStyle: "#c0392b" });
    ink.beginPath();
    ink.arc(x, y, side / 45, 0, 7);
    if (this.down) ink.fill();
    else ink.stroke();
  }
}

export default mounting(Sketch);
