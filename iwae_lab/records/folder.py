"""What lies in the folder of an experiment, and how it is rewound to its last checkpoint."""

from pathlib import Path
from typing import Any

from iwae_core.training.events import Finished
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.records import checkpoint
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.log import EventLog, outcome

LOG, SPEC, CHECKPOINT = "events.jsonl", "spec.json", "checkpoint.pt"


def saved(folder: Path) -> dict[str, Any] | None:
    """The last state of a folder's experiment; None if none was saved yet, and it begins at the beginning.

    Raises:
        CheckpointError: it is damaged, of another version or another experiment, or missing although it has ended.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        end = outcome(folder / LOG)
        if isinstance(end, Finished) and end.step > 0:
            raise CheckpointError(
                f"{folder} has ended, but its {CHECKPOINT} is missing; there is nothing to go on from"
            )
        return None
    state = checkpoint.load(path)
    if ExperimentSpec.from_json(state["spec"]) != ExperimentSpec.from_json((folder / SPEC).read_text()):
        raise CheckpointError(f"{path} is of another experiment than the {SPEC} beside it; put the right one back")
    return state


def rewind(folder: Path) -> None:
    """Cut the log back to the last saved state, from where `run` will go on.

    Raises:
        CheckpointError: as `saved`.
        LogError: as `EventLog`.
    """
    state = saved(folder)
    EventLog(folder / LOG, state["events"] if state else 0).close()
