"""The training of a group of cells: begun, gone on with, or taken from where it has been made already."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from iwae_core.training.events import Failed, Finished, Progress
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines.protocol import Leave
from iwae_lab.engines.runner import run
from iwae_lab.paper.groups import Group, home
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC, saved
from iwae_lab.records.log import outcome

NEVER = -1  # the step of the last evaluation of an experiment that begins with one


def is_trained(folder: Path) -> bool:
    """Whether all steps of a folder's experiment are made."""
    end = outcome(folder / LOG)
    return isinstance(end, Finished) and not end.stopped


def steps_made(folder: Path) -> int:
    """How many steps of a folder's experiment are saved."""
    state = saved(folder) if (folder / SPEC).is_file() else None
    return int(state["step"]) if state else 0


def is_begun(folder: Path, spec: ExperimentSpec) -> bool:
    """Whether a folder holds this experiment.

    Raises:
        SpecError: it holds another one.
    """
    if not (folder / SPEC).is_file():
        return False
    if ExperimentSpec.from_json((folder / SPEC).read_text()) != spec:
        raise SpecError(f"{folder} holds another experiment, such as one of another share or seed; give another folder")
    return True


def adopt(folder: Path, spec: ExperimentSpec, others: Sequence[Path]) -> bool:
    """Copy a finished training of the same specification, if one of the other folders holds it or is it.

    Raises:
        CheckpointError: it is damaged.
    """
    for other in others:
        for path in (other, *sorted(other.iterdir())):
            if _is_finished(path, spec):
                saved(path)
                shutil.rmtree(folder, ignore_errors=True)  # what an interruption left of a copy
                shutil.copytree(path, folder, ignore=shutil.ignore_patterns(SPEC))
                (folder / SPEC).write_text(spec.to_json())
                return True
    return False


def _is_finished(path: Path, spec: ExperimentSpec) -> bool:
    with suppress(SpecError):  # of another program, or of another version of this one
        file = path / SPEC
        return file.is_file() and ExperimentSpec.from_json(file.read_text()) == spec and is_trained(path)
    return False


def begin(root: Path, group: Group, spec: ExperimentSpec) -> None:
    """Make the folder of a group.

    One of Table 2 goes on from its first stages, if they are trained: the same, to the bit, as training them again.
    """
    folder = root / group.name
    folder.mkdir(parents=True, exist_ok=True)
    stages = [home(type(cell)(cell.dataset, cell.layers, *cell.before)) for cell in group.cells if cell.before]
    if stages and all(is_trained(root / before.name) for before, _ in stages):
        runs = [(saved(root / before.name) or {})["runs"][run] for before, run in stages]
        state = {"spec": spec.to_json(), "step": spec.swaps[0].step, "evaluated": NEVER, "swaps": [], "runs": runs}
        checkpoint.save(folder / CHECKPOINT, state | {"events": 0, "seconds": 0.0})
    (folder / SPEC).write_text(spec.to_json())


def train(folder: Path, until: float, report: Callable[[int], None]) -> Failed | None:
    """Make the steps that are left, as many as can be made before `until` of the monotonic clock, and save.

    `report` hears how many are made. Returns how it failed, if it did.

    Raises:
        CheckpointError, LogError, OSError: as `run`.
    """
    failed = None
    for record in run(folder, lambda wait: Leave() if time.monotonic() >= until else None):
        if record and isinstance(record.event, Progress):
            report(record.event.step)
        failed = record.event if record and isinstance(record.event, Failed) else failed
    return failed
