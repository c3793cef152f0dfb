"""The page of those who only watch and its script, made of the live components."""

import gzip
import hashlib
from functools import cache

from markupsafe import Markup
from streamlit import config

from iwae_lab.words import sentences as words
from iwae_lab.words.opening import TITLE
from iwae_lab.words.templates import template
from ui.live import components  # noqa: F401  (registers them)
from ui.live.component import FIRST, HERE, SOURCES
from ui.live.hub import live_url
from ui.live.plotly_route import plotly_js_url
from ui.live.watch import File, watch_url
from ui.settings import PLOTS, VIEW

FOR_GOOD = "public, max-age=31536000, immutable"
# Streamlit tells its components the theme in such variables. Plotly reads some, and knows no mixed colours.
THEME = {
    "primaryColor": "primary-color",
    "backgroundColor": "background-color",
    "secondaryBackgroundColor": "secondary-background-color",
    "textColor": "text-color",
    "borderColor": "border-color",
}
FIXED = (
    "--st-font: system-ui, sans-serif; --st-gray-color: #808b97; --st-orange-color: #e0662a; "
    "--st-border-color-light: rgba(128,128,128,0.25); "
    "--st-gray-text-color: color-mix(in srgb, var(--st-text-color) 80%, var(--st-background-color))"
)


@cache
def page() -> File:
    """The page, the same for all who watch."""
    html = template("ui/live/watch.html.jinja").render(
        curves=words.BESIDE["curves"],
        k=VIEW["view_k"].default,
        live=live_url(),
        plotly=plotly_js_url(),
        plots=PLOTS,
        script=f"{watch_url()}-{hashlib.sha256(_code()).hexdigest()[:16]}.js",
        sources=SOURCES,
        theme=Markup(theme()),
        title=TITLE,
    )
    return File(gzip.compress(html.encode()), "text/html", "no-cache")


@cache
def script() -> File:
    """All its code; its name changes with it, so browsers may keep it for good."""
    return File(gzip.compress(_code()), "text/javascript", FOR_GOOD)


@cache
def _code() -> bytes:
    parts = (
        "{\n" + source.script.replace("export default", f"mounts.{name} =") + "}" for name, source in SOURCES.items()
    )
    host = (HERE / "watch.js").read_text(encoding="utf-8")
    return "\n".join((FIRST, "const mounts = {};", *parts, host)).encode()


def theme() -> str:
    """The colours of the page's theme, light or dark as the reader's system is."""
    light, dark = (
        "; ".join(f"--st-{name}: {config.get_option(f'theme.{ground}.{option}')}" for option, name in THEME.items())
        for ground in ("light", "dark")
    )
    return (
        f":root {{ color-scheme: light dark; {FIXED}; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )
