"""Gradient estimators by name: each maps one set of draws to what is to be maximised, for theta and for phi."""

# In the order in which they are shown.
# isort: off
from iwae_core.estimators.estimator import (
    ESTIMATORS,
    Estimator,
    Surrogate,
    Target,
    UnsupportedError,
    accumulate_gradient,
    require,
)
from iwae_core.estimators import reparameterized  # noqa: F401
from iwae_core.estimators import path_derivative  # noqa: F401
from iwae_core.estimators import wake_sleep  # noqa: F401
from iwae_core.estimators import score_function  # noqa: F401

# isort: on
from iwae_core.registry import discover

discover(__name__, __path__)

__all__ = ["ESTIMATORS", "Estimator", "Surrogate", "Target", "UnsupportedError", "accumulate_gradient", "require"]
