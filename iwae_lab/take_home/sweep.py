"""A sweep as one HTML file, which needs nothing else, like that of an experiment."""

from collections.abc import Sequence

from markupsafe import Markup

from iwae_lab.figures import against_training_k, plotly_js, sweep_summary
from iwae_lab.figures.against_training_k import CAPTION
from iwae_lab.history.sweep import Point
from iwae_lab.take_home.chart import Frame, chart
from iwae_lab.words import sentences as words
from iwae_lab.words.templates import template


def sweep_report(points: Sequence[Point]) -> str:
    """The bounds of all models of a sweep against the k they were trained with."""
    return template("iwae_lab/take_home/sweep.html.jinja").render(
        title=words.SWEEP_TITLE,
        shown=chart(words.SWEEP_LABEL, CAPTION, [Frame(against_training_k(points), sweep_summary(points))]),
        plotly=Markup(plotly_js.source()),
    )
