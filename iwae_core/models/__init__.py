"""Latent-variable models by name."""

# In the order in which they are shown.
# isort: off
from iwae_core.models.model import MODELS, Architecture, Encoded, Generative, Model, Noise, Recognition
from iwae_core.models import burda  # noqa: F401
from iwae_core.models import linear  # noqa: F401
from iwae_core.models import sigmoid_belief  # noqa: F401

# isort: on
from iwae_core.registry import discover

discover(__name__, __path__)
__all__ = ["MODELS", "Architecture", "Encoded", "Generative", "Model", "Noise", "Recognition"]
