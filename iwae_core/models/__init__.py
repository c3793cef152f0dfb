"""Latent-variable models by name."""

from iwae_core.models import gaussian_mlp  # noqa: F401  (registers itself)
from iwae_core.models.model import MODELS, Model, Noise

__all__ = ["MODELS", "Model", "Noise"]
