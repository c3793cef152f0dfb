"""What lies in the folder of an experiment, and how it is rewound to its last checkpoint."""

import math
from pathlib import Path
from typing import Any

from iwae_core.training.events import Finished
from iwae_core.training.fields import SpecError
from iwae_core.training.loop import Experiment
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.records import checkpoint
from iwae_lab.records.checkpoint import CheckpointError, DamagedError
from iwae_lab.records.files import FOREIGN
from iwae_lab.records.log import EventLog, outcome

LOG, SPEC, CHECKPOINT = "events.jsonl", "spec.json", "checkpoint.pt"
PREVIOUS = checkpoint.previous(Path(CHECKPOINT)).name
FIELDS = {"spec": str, "step": int, "evaluated": int, "events": int, "seconds": float, "swaps": list, "runs": list}


def saved(folder: Path) -> dict[str, Any] | None:
    """The last state of a folder's experiment; None if none was saved yet, and it begins at the beginning.

    If the last checkpoint is damaged, or has gone, the state of the one before.

    Raises:
        CheckpointError: it is damaged, of another version or another experiment, or missing although it has ended.
    """
    kept = [path for path in (folder / CHECKPOINT, folder / PREVIOUS) if path.exists()]
    for path in kept:
        try:
            return _state(path)
        except DamagedError:
            if path == kept[-1]:
                raise
    end = outcome(folder / LOG)
    if isinstance(end, Finished) and end.step > 0:
        raise CheckpointError(f"this run has ended, but its {CHECKPOINT} is missing; there is nothing to go on from")
    return None


def _state(path: Path) -> dict[str, Any]:
    state = checkpoint.load(path)
    if not all(type(state.get(name)) is kind for name, kind in FIELDS.items()) or not (
        min(state["step"], state["events"], state["seconds"]) >= 0 and math.isfinite(state["seconds"])
    ):
        raise CheckpointError(f"{path.name} holds another kind of state than this program's; train again")
    try:
        same = ExperimentSpec.from_json(state["spec"]) == ExperimentSpec.from_json(path.with_name(SPEC).read_text())
    except SpecError as error:
        raise CheckpointError(f"{path.name} holds settings that this version does not know: {error}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the {SPEC} beside {path.name} cannot be read") from error
    if not same:
        raise CheckpointError(f"{path.name} is of another experiment than the {SPEC} beside it; put the right one back")
    return state


def restore(experiment: Experiment, state: dict[str, Any]) -> None:
    """Put a new experiment into a state that `saved` has found.

    Raises:
        CheckpointError: its content is not that of such an experiment.
    """
    try:
        experiment.load_state_dict(state)
        fits = state["step"] <= experiment.spec.steps and all(map(_fits, experiment.runs))
    except FOREIGN as error:
        raise CheckpointError("the checkpoint holds another state than this experiment's; train again") from error
    if not fits:
        raise CheckpointError("the checkpoint holds another state than this experiment's; train again")


def _fits(run: Any) -> bool:
    """Whether the optimiser's moments are those of the parameters."""
    return math.isfinite(run.baseline) and all(
        moments[name].shape == parameter.shape
        for parameter, moments in run.optimiser.state.items()
        for name in ("exp_avg", "exp_avg_sq")
    )


def rewind(folder: Path) -> int:
    """Cut the log back to the last saved state, from where `run` will go on; returns its step.

    Raises:
        CheckpointError: as `saved`.
        LogError: as `EventLog`.
    """
    state = saved(folder)
    EventLog(folder / LOG, state["events"] if state else 0).close()
    return state["step"] if state else 0
