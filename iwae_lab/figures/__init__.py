"""Every plot: a history and a view go in, a Plotly figure comes out. No file imports torch, none knows a theme."""

# In the order in which they are shown.
# isort: off
from iwae_lab.figures.figure import FIGURES, NO_EVALUATION, Place, offered
from iwae_lab.figures import against_k  # noqa: F401
from iwae_lab.figures import curves  # noqa: F401
from iwae_lab.figures import weights  # noqa: F401
from iwae_lab.figures import plane  # noqa: F401

# isort: on
from iwae_core.registry import discover
from iwae_lab.figures.against_training_k import against_training_k, sweep_summary
from iwae_lab.figures.digits import digit_sheet
from iwae_lab.figures.marks import COLOURS
from iwae_lab.figures.reproduced import reproduced, reproduced_summary

discover(__name__, __path__)

__all__ = [
    "COLOURS",
    "FIGURES",
    "NO_EVALUATION",
    "Place",
    "against_training_k",
    "digit_sheet",
    "offered",
    "reproduced",
    "reproduced_summary",
    "sweep_summary",
]
