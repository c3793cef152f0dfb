"""Engines by name."""

from iwae_lab.engines import inline, local  # noqa: F401  (register themselves)
from iwae_lab.engines.engine import ENGINES, Engine
from iwae_lab.engines.jobs import EngineFullError, State
from iwae_lab.engines.run_folders import NotOwnerError, UnknownRunError
from iwae_lab.engines.settings import EngineLimits, from_environment

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
