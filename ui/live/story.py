"""The story beside a chart that stays in view, told in the browser; its last act follows an experiment."""

from collections.abc import Callable
from typing import Any

from ui.live.component import alone
from ui.live.hub import live_url
from ui.live.scene import Look

_HTML = """
<div class="story">
  <figure class="story-chart"><svg role="img" aria-label="Chart of the story"></svg><figcaption></figcaption></figure>
  <div class="story-text"></div>
</div>
"""
_CSS = """
.story { color: var(--st-text-color); display: grid; gap: 0 3rem;
  grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); }
.story-chart { align-self: start; background: var(--st-background-color); grid-column: 2; grid-row: 1; margin: 0;
  padding-top: 0.5rem; position: sticky; top: 3.75rem; z-index: 1; }
.story-chart svg { display: block; font-family: var(--st-font); font-size: 14px; height: min(62vh, 520px);
  width: 100%; }
.story-chart figcaption { color: var(--st-gray-text-color); font-size: 0.875rem; }
.story-text { grid-column: 1; grid-row: 1; padding-bottom: 20vh; }
.act { border-left: 3px solid transparent; margin: 0 0 5rem; min-height: 46vh; padding: 0.5rem 0 0.5rem 1rem;
  transition: opacity 0.3s; }
.act.here { border-color: var(--st-primary-color); }
.act:not(.here) { opacity: 0.7; }
.act p { font-size: 1.0625rem; line-height: 1.5; margin: 0 0 0.75rem; }
.act .act-name { font-size: 1.15rem; font-weight: 600; margin: 0 0 0.5rem; padding: 0; }
.act .act-question { font-weight: 600; }
.act-answers { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-bottom: 1rem; }
.act button { background: none; border: 1px solid var(--st-border-color); border-radius: 0.5rem; color: inherit;
  cursor: pointer; font: inherit; font-size: 0.9375rem; min-height: 2.75rem; padding: 0.25rem 0.9rem;
  text-align: left; }
.act button:hover:enabled { border-color: var(--st-primary-color); }
.act button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
.act button:disabled { cursor: default; }
.act-answer:disabled { opacity: 0.7; }
.act .act-answer.right { border: 2px solid var(--st-green-color); opacity: 1; }
.act .act-answer.wrong { border-style: dashed; text-decoration: line-through; }
.act .act-sentence { font-size: 1.2rem; font-weight: 600; line-height: 1.45; }
.act .act-sentence:empty { display: none; }
.act .act-next { background: var(--st-primary-color); border-color: var(--st-primary-color); color: #fff; }
.act .act-next:disabled { opacity: 0.5; }
.story svg .tick { fill: var(--st-gray-text-color); font-size: 13px; font-variant-numeric: tabular-nums; }
.story svg .label { font-weight: 600; paint-order: stroke; stroke: var(--st-background-color); stroke-linejoin: round;
  stroke-width: 4px; }
.story svg path { fill: none; }
.story svg .grid { stroke: var(--st-border-color-light); }
.story svg .truth { stroke: #808b97; stroke-width: 2.5; }
.story svg .zero { stroke: var(--st-text-color); stroke-opacity: 0.6; }
.story svg .line { stroke-linejoin: round; stroke-width: 3; }
.story svg .area { fill: #0f80c9; fill-opacity: 0.14; }
.story svg .error { fill: #e0662a; fill-opacity: 0.15; }
.story svg .ghost { opacity: 0.3; }
.story svg .bracket { stroke: var(--st-text-color); stroke-width: 1.5; }
@media (max-width: 700px) {
  .story { display: block; }
  .story-chart svg { font-size: 12.5px; height: 250px; }
  .story-chart { border-bottom: 1px solid var(--st-border-color); padding-bottom: 0.25rem; }
  .act { margin-bottom: 3rem; padding-left: 0.75rem; scroll-margin-top: 330px; }
}
@media (prefers-reduced-motion: reduce) { .act { transition: none; } }
"""
_mount = alone("story", _HTML, _CSS, "story.js")


def story(data: dict[str, Any], look: Look | None, *, key: str, on_train: Callable[[], None]) -> None:
    """Show it; with a look the last act follows that experiment."""
    more = {"look": look.__dict__ if look else None, "url": live_url()}
    _mount(key=key, data=data | more, on_train_change=on_train)
