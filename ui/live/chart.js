// One live Plotly chart. Streamlit calls the default export again whenever the data or the theme changes, each time
// with the same parentElement, so all that must outlive an update (zoom, observers) is kept in `charts`.

const TEXT = 13; // pixels
const NARROW = 560; // pixels: a chart of this width has no room for its buttons beside the title of the x axis, nor
// for large text
const BUTTONS = 28; // pixels of height for them below it
const READING = 1500; // ms that the numbers stay where a finger has tapped
let library; // plotly.js, loaded once for all charts of the page

function loadPlotly(url) {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      library = undefined; // the next update tries again
      script.remove();
      reject(new Error("its drawing library did not load. Check the connection or reload the page."));
    };
    script.src = url;
    script.onload = () => (window.Plotly ? resolve(window.Plotly) : fail());
    script.onerror = fail;
    document.head.append(script);
  });
  return library;
}

// Defaults below whatever the figure sets itself, from the CSS variables that Streamlit puts on every component.
function themeOf(element, size) {
  const style = getComputedStyle(element);
  const css = (name) => style.getPropertyValue(`--st-${name}`).trim();
  const [text, line, font] = [css("text-color"), css("border-color"), css("font")];
  const background = css("background-color");
  const axis = {
    automargin: true,
    gridcolor: css("border-color-light"),
    linecolor: line,
    spikecolor: css("gray-color"),
    spikedash: "dot",
    spikethickness: 1,
    ticklabelstandoff: 4,
    title: { standoff: 10 },
    zerolinecolor: line,
  };
  return {
    layout: {
      annotationdefaults: { arrowcolor: text },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger on the plot scrolls the page
      font: { color: text, family: font, size },
      hoverlabel: { bgcolor: background, bordercolor: line, font: { color: text, family: font, size }, namelength: -1 },
      margin: { b: 48, l: 60, r: 12, t: 32 },
      modebar: { activecolor: css("primary-color"), bgcolor: "transparent", color: css("gray-color") },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      shapedefaults: { line: { color: text } },
      title: { automargin: true, font: { size: 1.2 * size }, x: 0, xref: "paper" },
      xaxis: axis,
      yaxis: axis,
    },
  };
}

class LiveChart {
  constructor(parent) {
    this.frame = parent.querySelector(".live-chart");
    this.plot = parent.querySelector(".live-chart-plot");
    this.note = parent.querySelector(".live-chart-note");
    this.caption = parent.querySelector("figcaption");
    this.zooms = new Map(); // axis name -> the range the user chose, null after a reset
    this.turn = Promise.resolve();
    this.observer = new ResizeObserver(() => {
      if (this.drawn && this.plot.offsetWidth) this.Plotly.Plots.resize(this.plot);
    });
    this.observer.observe(this.plot);
  }

  // The figure comes with the data, or else over the feed as the drawing of a look.
  update({ height, look, name, plotly_js, text = TEXT, url, ...drawing }, setTriggerValue) {
    Object.assign(this, { look, name, plotly_js, setTriggerValue, text });
    this.plot.style.height = Number.isFinite(height) ? `${height}px` : height;
    if (look) feed.watch(this, url, look, (drawing) => this.show(drawing));
    else this.show(drawing);
  }

  show({ description, figure, missing, points }) {
    if (missing) {
      this.note.textContent = missing;
      return;
    }
    Object.assign(this, { figure, points });
    this.frame.ariaLabel = description;
    this.caption.textContent = description;
    this.turn = this.turn.then(() => this.drawLatest()); // one drawing at a time: Plotly mixes up two
  }

  async drawLatest() {
    try {
      this.Plotly ??= await loadPlotly(this.plotly_js);
      if (this.observer) await this.draw();
      this.note.textContent = "";
    } catch (error) {
      this.Plotly?.purge(this.plot); // the next update starts afresh
      this.drawn = undefined;
      this.note.textContent = `This chart cannot be shown: ${error.message}`;
    }
  }

  async draw() {
    const size = this.plot.clientWidth > NARROW ? this.text : TEXT;
    const template = themeOf(this.plot, size);
    const wanted = JSON.stringify(template) + this.figure;
    if (wanted === this.drawn) return;
    const first = !this.drawn;
    this.drawn = wanted;
    const { data, layout } = JSON.parse(this.figure);
    this.identify(data);
    this.enlarge(data, layout, size / TEXT);
    this.restoreZoom(layout);
    if (this.plot.clientWidth <= NARROW && layout.margin) layout.margin.b += BUTTONS;
    if (still.matches) delete layout.transition;
    // No config after the first time: Plotly.react rebuilds the chart when it is given one that differs.
    await this.Plotly.react(this.plot, data, { ...layout, template }, ...(first ? [this.config()] : []));
    if (first) this.listen();
  }

  // Plotly remembers a legend choice by trace uid, or else by position, which shifts when a trace is inserted.
  // It also puts the uid into CSS selectors.
  identify(data) {
    const seen = {};
    for (const trace of data) {
      const name = encodeURIComponent(trace.name).replace(/\W/g, "_");
      seen[name] = (seen[name] ?? 0) + 1;
      trace.uid ??= `${name}-${seen[name]}`;
    }
  }

  // On a projector lines, marks and text grow together.
  enlarge(data, layout, by) {
    if (by === 1) return;
    for (const { line, marker } of data) {
      if (line?.width) line.width *= by;
      if (Number.isFinite(marker?.size)) marker.size *= by;
    }
    for (const { font, label, line } of [...(layout.annotations ?? []), ...(layout.shapes ?? [])]) {
      for (const text of [font, label?.font]) if (text?.size) text.size *= by;
      if (label?.padding) label.padding *= by;
      if (line?.width) line.width *= by;
    }
    for (const side of Object.keys(layout.margin ?? {})) layout.margin[side] *= by;
  }

  // Plotly's uirevision forgets the user's zoom once the figure asks for another range, so zoom is restored here and
  // the false uirevision keeps Plotly from doing the same on its own terms.
  restoreZoom(layout) {
    layout.uirevision ??= "live";
    if (layout.uirevision !== this.revision) this.forgetZoom();
    this.revision = layout.uirevision;
    for (const [axis, range] of this.zooms) {
      layout[axis] = { ...layout[axis], uirevision: false, ...(range && { autorange: false, range: [...range] }) };
    }
  }

  forgetZoom() {
    for (const axis of this.zooms.keys()) this.zooms.set(axis, null);
  }

  listen() {
    // The description speaks for the drawing; the buttons stay reachable.
    for (const svg of this.plot.querySelectorAll(".main-svg")) svg.ariaHidden = "true";
    this.plot.on("plotly_relayout", (changes) => {
      for (const key of Object.keys(changes)) {
        const axis = key.match(/^[xy]axis\d*(?=\.(auto)?range)/)?.[0];
        if (axis) this.zooms.set(axis, this.plot.layout[axis].autorange ? null : [...this.plot.layout[axis].range]);
      }
    });
    this.plot.on("plotly_doubleclick", () => this.reset());
    this.plot.on("plotly_hover", ({ xvals, points }) => this.point(xvals?.[0] ?? points[0]?.x));
    this.plot.on("plotly_unhover", () => this.point(undefined));
    this.plot.on("plotly_click", () => this.pin());
    this.plot.addEventListener("pointerup", (event) => event.pointerType === "touch" && this.tap(event));
  }

  pin() {
    if (this.pointed) this.setTriggerValue?.("pin", this.pointed);
  }

  // Plotly makes no click of a tap, and what it shows of the place would stay and cover the lines.
  tap({ clientX, target }) {
    if (!target.matches(".nsewdrag")) return;
    this.point(this.plot._fullLayout.xaxis.p2d(clientX - target.getBoundingClientRect().left));
    this.pin();
    clearTimeout(this.tapped);
    this.tapped = setTimeout(() => this.Plotly.Fx.unhover(this.plot), READING);
  }

  // What the reader points at here, the other parts of the page show, for as long as it lasts; a click keeps it.
  // `points` says what a position on the x axis means: { name: of the look's field, at: positions, values }.
  point(x) {
    if (!this.points) return;
    const { name, at, values } = this.points;
    const log = this.plot.layout.xaxis.type === "log";
    const place = (value) => (log ? Math.log(value) : value);
    const nearest = x === undefined ? -1 : at.reduce((best, value, index) =>
      Math.abs(place(value) - place(x)) < Math.abs(place(at[best]) - place(x)) ? index : best, 0);
    const pointed = nearest < 0 || !at.length ? undefined : { [name]: values[nearest] };
    if (JSON.stringify(pointed) === JSON.stringify(this.pointed)) return;
    this.pointed = pointed;
    clearTimeout(this.pointing);
    this.pointing = setTimeout(() => feed.override(pointed ?? {}, this), 80);
  }

  reset() {
    this.forgetZoom();
    this.drawn += " "; // differs from what is wanted
    this.draw();
  }

  download(format) {
    const paper_bgcolor = getComputedStyle(this.plot).getPropertyValue("--st-background-color").trim();
    const { data, layout, offsetHeight: height, offsetWidth: width } = this.plot;
    const figure = { data, layout: { ...layout, paper_bgcolor } };
    this.Plotly.downloadImage(figure, { filename: this.name, format, height, width, scale: format === "png" ? 2 : 1 });
  }

  config() {
    const { camera, disk, home } = this.Plotly.Icons;
    const reset = {
      click: () => {
        // On a phone this also gives the finger back to the page.
        this.Plotly.relayout(this.plot, { dragmode: this.plot.layout.template.layout.dragmode });
        this.reset();
      },
      icon: home,
      name: "reset",
      title: "Reset view",
    };
    const png = { click: () => this.download("png"), icon: camera, name: "png", title: "Download as PNG" };
    const svg = { click: () => this.download("svg"), icon: disk, name: "svg", title: "Download as SVG" };
    return {
      displaylogo: false,
      doubleClick: false, // Plotly would go back to the first figure's range; ours to the latest
      modeBarButtons: [["zoom2d", "pan2d"], [reset, png, svg]],
      responsive: true,
      scrollZoom: false,
      showSendToCloud: false,
    };
  }

  dispose() {
    feed.unwatch(this);
    this.observer.disconnect();
    this.observer = undefined;
    this.Plotly?.purge(this.plot);
  }
}

export default mounting(LiveChart);
