"""The opening picture: two formulas on the same real draws, moved in the browser alone."""

from iwae_lab.shipped.opening import Opening
from iwae_lab.words.opening import Words
from ui.live.component import alone

_HTML = """
<figure class="opening" aria-label="Two formulas on the same draws, as k grows">
  <div class="opening-head">
    <img class="opening-digit" alt="The digit whose latent variables are drawn">
    <b class="opening-count"></b>
    <p class="opening-caption" role="status"></p>
    <button type="button" class="opening-play"></button>
    <button type="button" class="opening-again"></button>
  </div>
  <div class="opening-plot"><svg aria-hidden="true"></svg><canvas></canvas><svg aria-hidden="true"></svg></div>
  <input type="range" class="opening-slider" min="0" max="1000" step="any" aria-label="k, the number of draws">
  <figcaption class="opening-numbers"></figcaption>
</figure>
"""
_CSS = """
.opening { color: var(--st-text-color); color-scheme: light dark; margin: 0; }
.opening-head { align-items: center; display: flex; gap: 0.75rem; }
.opening-digit { background: #fff; border: 1px solid var(--st-border-color); border-radius: 4px; height: 40px;
  image-rendering: pixelated; width: 40px; }
.opening-count { font-size: 1.25rem; font-variant-numeric: tabular-nums; min-width: 5.4em; }
.opening-caption { flex: 1; font-size: 1rem; line-height: 1.35; margin: 0; }
.opening button { background: none; border: 1px solid var(--st-border-color); border-radius: 0.5rem; color: inherit;
  cursor: pointer; flex: none; font: inherit; font-size: 0.875rem; min-height: 2.5rem; min-width: 2.75rem;
  padding: 0 0.75rem; }
.opening .opening-play { background: var(--st-primary-color); border-color: var(--st-primary-color); color: #fff;
  min-width: 6rem; }
.opening :is(button, input):focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
.opening-plot { cursor: ew-resize; height: 268px; position: relative; touch-action: pan-y; user-select: none; }
.opening-plot > * { height: 100%; inset: 0; overflow: visible; pointer-events: none; position: absolute; width: 100%; }
.opening-slider { accent-color: var(--st-primary-color); display: block; height: 24px; margin: 0; min-width: 0; }
.opening-numbers { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; width: 1px; }
.opening svg { font-family: var(--st-font); font-size: 13px; }
.opening svg text { fill: var(--st-text-color); }
.opening svg .tick { fill: var(--st-gray-text-color); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.opening svg .title { fill: var(--st-gray-text-color); font-size: 12.5px; }
.opening svg .name { font-size: 15px; font-weight: 600; }
.opening svg .formula { font-size: 14px; font-variant-numeric: tabular-nums; }
.opening svg .truth-name { font-weight: 600; }
.opening svg .haloed { paint-order: stroke; stroke: var(--st-background-color); stroke-linejoin: round;
  stroke-width: 4px; }
.opening svg path { fill: none; }
.opening svg .grid { stroke: var(--st-border-color-light); }
.opening svg .band { fill: #0f80c9; fill-opacity: 0.1; }
.opening svg .truth { stroke: #808b97; stroke-width: 2.5; }
.opening svg .gap { stroke: var(--st-text-color); stroke-dasharray: 2 3; stroke-opacity: 0.6; }
.opening svg .leader { stroke: #0f80c9; stroke-opacity: 0.35; }
.opening svg :is(.line, .needle) { stroke: #0f80c9; stroke-linejoin: round; stroke-width: 2.5; }
.opening svg .needle { stroke-width: 3; }
.opening svg .dashed { stroke-dasharray: 7 5; }
.opening svg :is(.dot, .head) { fill: #0f80c9; }
.opening svg .dot { stroke: var(--st-background-color); stroke-width: 1.5; }
@media (max-width: 700px) {
  .opening-head { flex-wrap: wrap; }
  .opening-count { flex: 1; }
  .opening-caption { flex-basis: 100%; font-size: 0.9rem; min-height: 2.7em; order: 1; }
  .opening-plot { height: 204px; }
  .opening-head { gap: 0.5rem; }
  .opening .opening-play { min-width: 5.2rem; }
  .opening svg .name { font-size: 13.5px; }
}
"""
_mount = alone("opening", _HTML, _CSS, "opening.js")


def opening_picture(shown: Opening, words: Words, *, key: str) -> None:
    """Show the picture, at k = 1 and on its way; for who wants no motion at the largest k."""
    _mount(key=key, data={**shown._asdict(), "words": words._asdict()})
