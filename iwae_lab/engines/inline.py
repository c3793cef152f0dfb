"""The backend of tests and notebooks: every look at the engine makes each experiment's next event, in the caller's own
process.
"""

from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path

from iwae_core.training.events import Failed, Finished, Record
from iwae_lab.engines.backend import BACKENDS, Backend, Death
from iwae_lab.engines.protocol import Leave, Order, Stop
from iwae_lab.engines.runner import run
from iwae_lab.engines.settings import EngineLimits


@BACKENDS.register("inline", label="in this process")
class Inline(Backend):
    """Deterministic: nothing happens between two looks. A stop is obeyed at once, other orders at the next look."""

    by_itself = False

    def __init__(self, limits: EngineLimits) -> None:
        self._started: dict[str, tuple[Generator[Record | None, None, None], deque[Order]]] = {}

    def start(self, experiment_id: str, folder: Path, orders: Sequence[Order]) -> None:
        """Begin; nothing is computed yet."""
        waiting = deque(orders)
        self._started[experiment_id] = run(folder, lambda wait: waiting.popleft() if waiting else None), waiting

    def send(self, experiment_id: str, order: Order) -> None:
        """Hand on an order; one that ends the experiment is obeyed at once."""
        if experiment_id in self._started:
            events, waiting = self._started[experiment_id]
            waiting.append(order)
            if isinstance(order, Leave | Stop):
                deque(events, maxlen=0)
                self._let_go(experiment_id)

    def ended(self, experiment_id: str, at_once: bool = False) -> Death | None:
        """None while there is more to come."""
        if experiment_id in self._started and not at_once:
            return None
        self._let_go(experiment_id)
        return Death("it ended without a word")

    def tend(self) -> None:
        """Make one event of each experiment."""
        for experiment_id, (events, _) in list(self._started.items()):
            record = next(events, None)
            if record and isinstance(record.event, Finished | Failed):
                self._let_go(experiment_id)

    def close(self) -> None:
        """Let go of everything."""
        for experiment_id in list(self._started):
            self._let_go(experiment_id)

    def _let_go(self, experiment_id: str) -> None:
        if experiment_id in self._started:
            self._started.pop(experiment_id)[0].close()
