"""Engines: where experiments run, and who may have one."""

from iwae_lab.engines import inline, local  # noqa: F401  (they register themselves)
from iwae_lab.engines.backend import BACKENDS, Backend, Death
from iwae_lab.engines.cluster import backend as cluster  # noqa: F401
from iwae_lab.engines.engine import Engine, open_engine
from iwae_lab.engines.folders import NotOwnerError, UnknownExperimentError
from iwae_lab.engines.jobs import EngineFullError, State
from iwae_lab.engines.settings import EngineLimits, chosen_backend, from_environment, scheduler, unattended

__all__ = [
    "BACKENDS",
    "Backend",
    "Death",
    "Engine",
    "EngineFullError",
    "EngineLimits",
    "NotOwnerError",
    "State",
    "UnknownExperimentError",
    "chosen_backend",
    "from_environment",
    "open_engine",
    "scheduler",
    "unattended",
]
