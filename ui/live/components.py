"""The live components: a chart, a text, the time scrubber and a poll. Their drawings come over the web socket."""

from functools import partial
from typing import Any

import streamlit as st

from ui.live.chart import chart_component
from ui.live.component import HERE, component
from ui.live.hub import live_url
from ui.live.scene import Look
from ui.settings import choose

SETTING = {"k": "view_k", "at": "at"}

_SCRUBBER = """
<div class="scrubber">
  <button type="button"></button>
  <input type="range" min="0" aria-label="Time: evaluation shown">
  <output></output>
</div>
"""
_SCRUBBER_CSS = """
.scrubber { align-items: center; display: flex; gap: 0.6rem; font-size: 0.875rem; }
.scrubber input { accent-color: var(--st-primary-color); flex: 1; min-width: 5rem; }
.scrubber output { font-variant-numeric: tabular-nums; min-width: 9.5em; white-space: nowrap; }
.scrubber button {
  background: none; border: 1px solid var(--st-border-color); border-radius: 0.5rem; color: inherit; cursor: pointer;
  font-size: 0.75rem; height: 2rem; width: 2.4rem;
}
.scrubber button:disabled { opacity: 0.4; }
.scrubber :is(button, input):focus-visible { outline: 2px solid var(--st-primary-color); }
"""
_HTML_CSS = """
.live-html { container-type: inline-size; font-size: 0.9rem; line-height: 1.45; }
.live-html p { margin: 0 0 0.6rem; }
.live-html .table { margin: 0 0 0.7rem; overflow-x: auto; }
.live-html .table:focus-visible { outline: 2px solid var(--st-primary-color); }
.live-html table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
.live-html :is(th, td) { border-bottom: 1px solid var(--st-border-color); padding: 0.3rem 0.5rem; text-align: right;
  white-space: nowrap; }
@container (max-width: 380px) {
  .live-html .table table { font-size: 0.8rem; }
  .live-html .table :is(th, td) { padding: 0.3rem 0.2rem; }
}
.live-html th[scope=row], .live-html thead th:first-child { text-align: left; }
.live-html th { font-weight: 600; }
.live-html figure { margin: 0 0 0.6rem; }
.live-html figcaption { border-left: 0.3rem solid currentColor; font-size: 0.85rem; margin-bottom: 0.2rem;
  padding-left: 0.4rem; }
.live-html img { image-rendering: pixelated; width: 100%; }
.live-html img.small { border: 1px solid var(--st-border-color); width: 4rem; }
.live-html progress { accent-color: var(--st-primary-color); display: block; height: 0.6rem; width: 100%; }
.live-html .quiet { color: var(--st-gray-text-color); font-size: 0.85rem; }
.live-html .notice { border-left: 0.3rem solid var(--st-orange-color); padding: 0.2rem 0.6rem; }
.live-html .question { font-size: 1rem; margin: 0 0 0.25rem; }
@media (max-width: 700px) { .live-html .question { display: none; } }
.live-html .headline p { align-items: baseline; column-gap: 1rem; display: flex; flex-wrap: wrap; margin: 0; }
.live-html .headline strong { font-size: 1.9rem; font-variant-numeric: tabular-nums; line-height: 1.3;
  white-space: nowrap; }
.live-html .headline span { flex: 1; font-size: 1rem; min-width: 16rem; }
.live-html .headline .unsure { color: var(--st-gray-text-color); font-weight: 400; }
.live-html .headline .sure { color: var(--st-primary-color); }
.live-spoken { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; width: 1px; }
"""

_TEXT = '<div class="live-html"></div><p class="live-spoken" aria-live="polite"></p>'
_POLL = '<section class="poll" aria-label="Question to the class"></section>'

_html = component("live_html", _TEXT, _HTML_CSS, "live_html.js")
_scrubber = component("scrubber", _SCRUBBER, _SCRUBBER_CSS, "scrubber.js")
_poll = component("poll", _POLL, (HERE / "poll.css").read_text(encoding="utf-8"), "poll.js")


def live_html(look: Look, *, key: str, state: str | None = None) -> None:
    """Text and pictures. With `state`, the page is made anew once the experiment is in another state than this."""
    _html(
        key=key,
        data={"look": _fields(look), "state": state, "url": live_url()},
        on_state_change=lambda: None,
    )


def live_figure(look: Look, *, key: str, height: int | str, text: int = 13) -> None:
    """A chart of `look.part`. Pointing at it moves the other parts for a moment; a click keeps that in the settings.

    `height` is in pixels, or a length of CSS; `text` is the size of its text in pixels, with which all else grows.
    """
    data = {"height": height, "text": text, "look": _fields(look), "name": key, "url": live_url()}
    chart_component(key=key, data=data, on_pin_change=partial(_keep, key))


def scrubber(look: Look, *, key: str) -> None:
    """The slider through time, for the setting `at`: the number of the evaluation shown, -1 for the latest."""
    _scrubber(key=key, data={"look": _fields(look), "url": live_url()}, on_pin_change=partial(_keep, key))


def live_poll(look: Look, *, key: str, projected: bool = False) -> None:
    """What the class is asked, if it is asked anything: for those who answer, or for all to see."""
    _poll(key=key, data={"look": _fields(look), "projected": projected, "url": live_url()})


def _keep(key: str) -> None:
    pin = st.session_state[key]["pin"]
    if isinstance(pin, dict):  # it comes from a browser
        choose(**{SETTING[name]: value for name, value in pin.items() if name in SETTING and type(value) is int})


def _fields(look: Look) -> dict[str, Any]:
    return look.__dict__
