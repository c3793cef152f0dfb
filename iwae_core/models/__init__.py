"""Latent-variable models by name."""

from iwae_core.models import burda, linear, sigmoid_belief  # noqa: F401  (they register themselves)
from iwae_core.models.model import MODELS, Encoded, Generative, Model, Noise, Recognition

__all__ = ["MODELS", "Encoded", "Generative", "Model", "Noise", "Recognition"]
