"""Every plot: a history and a view go in, a Plotly figure comes out. No file imports torch, none knows a theme."""

# In the order in which they are shown.
# isort: off
from iwae_lab.figures.figure import COLOURS, FIGURES, Place, offered
from iwae_lab.history.view import View
from iwae_lab.figures.against_k import bounds_against_k, difference, gap, spread
from iwae_lab.figures.curves import training_curves
from iwae_lab.figures.weights import weights
from iwae_lab.figures.plane import plane
from iwae_lab.figures.closeup import closeup
from iwae_lab.figures.sweep import against_training_k, sweep_summary
from iwae_lab.figures.digits import digit_sheet
from iwae_lab.history.reading import Reading, read_at

# isort: on
from iwae_core.registry import discover

discover(__name__, __path__)

__all__ = [
    "COLOURS",
    "FIGURES",
    "Place",
    "Reading",
    "View",
    "against_training_k",
    "bounds_against_k",
    "closeup",
    "difference",
    "digit_sheet",
    "gap",
    "offered",
    "plane",
    "read_at",
    "spread",
    "sweep_summary",
    "training_curves",
    "weights",
]
