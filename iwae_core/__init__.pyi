from iwae_core.black_box import draw
from iwae_core.bounds import BOUNDS
from iwae_core.bounds.curves import bound_curve
from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import normalized_weights
from iwae_core.data import DATASETS
from iwae_core.draws import Draws
from iwae_core.estimators import ESTIMATORS, accumulate_gradient
from iwae_core.evaluation.estimate import estimate
from iwae_core.evaluation.held_out import bound_curves, log_weights
from iwae_core.models import MODELS, Model
from iwae_core.training.events import Progress, Snapshot
from iwae_core.training.loop import Experiment, train
from iwae_core.training.process import prepare_process
from iwae_core.training.schedules import SCHEDULES
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_core.training.starts import STARTS

__all__ = [
    "BOUNDS",
    "DATASETS",
    "ESTIMATORS",
    "MODELS",
    "SCHEDULES",
    "STARTS",
    "Draws",
    "Experiment",
    "ExperimentSpec",
    "Model",
    "Progress",
    "RunSpec",
    "Snapshot",
    "Swap",
    "accumulate_gradient",
    "bound_curve",
    "bound_curves",
    "draw",
    "effective_sample_size",
    "elbo",
    "estimate",
    "iwae_bound",
    "log_weights",
    "normalized_weights",
    "prepare_process",
    "train",
]
