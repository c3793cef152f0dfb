"""Every plot: a history and a view go in, a Plotly figure comes out. No torch, no streamlit, no theme colours."""

# In the order in which they are shown.
# isort: off
from iwae_core.figures.figure import COLOURS, FIGURES, View
from iwae_core.figures.against_k import bounds_against_k, difference, gap, spread
from iwae_core.figures.training import training_curves
from iwae_core.figures.shares import weights
from iwae_core.figures.latent import plane
from iwae_core.figures.step import closeup
from iwae_core.figures.sweep import against_training_k, sweep_summary
from iwae_core.figures.digits import digit_sheet
from iwae_core.figures.reading import Reading, read_at
# isort: on

__all__ = [
    "COLOURS",
    "FIGURES",
    "Reading",
    "View",
    "against_training_k",
    "bounds_against_k",
    "closeup",
    "difference",
    "digit_sheet",
    "gap",
    "plane",
    "read_at",
    "spread",
    "sweep_summary",
    "training_curves",
    "weights",
]
