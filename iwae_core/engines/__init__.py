"""Engines by name."""

from iwae_core.engines import inline, local  # noqa: F401  (register themselves)
from iwae_core.engines.engine import ENGINES, Engine
from iwae_core.engines.folders import NotOwnerError, UnknownRunError
from iwae_core.engines.jobs import EngineFullError, State
from iwae_core.engines.limits import EngineLimits, from_environment

__all__ = [
    "ENGINES",
    "Engine",
    "EngineFullError",
    "EngineLimits",
    "NotOwnerError",
    "State",
    "UnknownRunError",
    "from_environment",
]
