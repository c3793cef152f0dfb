"""Engines by name."""

from iwae_core.engines import inline, local  # noqa: F401  (register themselves)
from iwae_core.engines.engine import ENGINES, Engine, EngineFullError, State, UnknownRunError

__all__ = ["ENGINES", "Engine", "EngineFullError", "State", "UnknownRunError"]
