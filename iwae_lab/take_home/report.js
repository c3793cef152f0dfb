// Draws every chart of a report in the colours of the moment: light, dark, or paper.

function theme() {
  const style = getComputedStyle(document.documentElement);
  const [background, text, muted, line, grid] = ["background", "text", "muted", "line", "grid"].map((name) =>
    style.getPropertyValue(`--${name}`).trim()
  );
  const font = { color: text, family: "system-ui, sans-serif", size: 13 };
  const axis = {
    automargin: true,
    gridcolor: grid,
    linecolor: line,
    spikecolor: muted,
    spikedash: "dot",
    spikethickness: 1,
    title: { standoff: 10 },
    zerolinecolor: line,
  };
  return {
    layout: {
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger on the chart scrolls the page
      font,
      hoverlabel: { bgcolor: background, bordercolor: line, font, namelength: -1 },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      xaxis: axis,
      yaxis: axis,
    },
  };
}

const redraws = [...document.querySelectorAll(".chart")].map((chart) => {
  const frames = JSON.parse(chart.querySelector("script").textContent);
  const [plot, caption, slider, shown] = [".plot", "figcaption", "input", "output"].map((s) => chart.querySelector(s));
  const draw = () => {
    const { data, layout, step, summary } = frames[slider ? slider.value : frames.length - 1];
    caption.textContent = summary;
    if (slider) shown.textContent = slider.ariaValueText = step;
    // Plotly writes into what it is given.
    const figure = structuredClone({ data, layout });
    Plotly.react(plot, figure.data, { ...figure.layout, template: theme() }, { displayModeBar: false, responsive: true });
    for (const svg of plot.querySelectorAll(".main-svg")) svg.ariaHidden = "true"; // the caption speaks for it
  };
  slider?.addEventListener("input", draw);
  draw();
  return draw;
});

for (const query of ["print", "(prefers-color-scheme: dark)"]) {
  matchMedia(query).addEventListener("change", () => redraws.forEach((draw) => draw()));
}
