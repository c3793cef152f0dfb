"""One training step as data flow: image, draws, weights, the two averages, and the pull on each draw."""

from ui.live.component import alone
from ui.live.hub import live_url
from ui.live.scene import Look

_HTML = """
<figure class="flow"><svg aria-hidden="true"></svg><div class="flow-tip" hidden></div><p class="flow-note"></p>
  <figcaption aria-live="polite"></figcaption></figure>
"""
_CSS = """
.flow { color: var(--st-text-color); margin: 0; position: relative; }
.flow svg { display: block; font-family: var(--st-font); font-size: 13px; overflow: visible; width: 100%; }
.flow svg text { fill: var(--st-text-color); stroke: none; }
.flow svg .title { fill: var(--st-gray-text-color); font-size: 12px; }
.flow svg :is(.number, .run) { font-size: 14px; font-variant-numeric: tabular-nums; font-weight: 600; }
.flow svg .gain { fill: var(--st-green-text-color); }
.flow svg path { fill: none; }
.flow svg .fill { fill: context-stroke; }
.flow svg .ball { fill-opacity: 0.5; stroke: none; }
.flow svg .thin { stroke-opacity: 0.5; }
.flow svg .needle { stroke-width: 2.5; }
.flow svg image { image-rendering: pixelated; }
.flow-tip { align-items: center; background: var(--st-background-color); border: 1px solid var(--st-border-color);
  border-radius: 0.5rem; display: flex; font-size: 0.8125rem; gap: 0.5rem; padding: 0.4rem 0.6rem; pointer-events: none;
  position: absolute; width: 190px; z-index: 2; }
.flow-tip[hidden] { display: none; }
.flow-tip img { image-rendering: pixelated; width: 36px; }
.flow-note { color: var(--st-gray-text-color); }
.flow figcaption { color: var(--st-gray-text-color); font-size: 0.875rem; line-height: 1.4; }
"""
_mount = alone("flow", _HTML, _CSS, "flow.js")


def flow(look: Look, *, key: str) -> None:
    """Show the newest single step of an experiment."""
    _mount(key=key, data={"look": look.__dict__, "url": live_url()})
