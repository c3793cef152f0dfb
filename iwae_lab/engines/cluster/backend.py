"""The backend of a cluster: experiments on workers of Dask, named by the address of their scheduler."""

from collections.abc import Sequence
from pathlib import Path

from iwae_lab.engines.backend import BACKENDS, Backend, Death
from iwae_lab.engines.cluster.link import Link
from iwae_lab.engines.cluster.placement import Placement
from iwae_lab.engines.cluster.remote import Remote
from iwae_lab.engines.cluster.roster import Roster
from iwae_lab.engines.protocol import Order, decode
from iwae_lab.engines.settings import EngineLimits, scheduler
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.log import LogError


@BACKENDS.register("cluster", label="workers of a cluster")
class Cluster(Backend):
    """Each experiment is an attempt on one worker; what it makes is brought here, where its folder is.

    Nothing here waits for the cluster: `Link` speaks with it in a thread of its own.
    """

    outlives, delay = True, 2.0

    def __init__(self, limits: EngineLimits) -> None:
        self._roster = Roster()
        self._lock, self._remotes = self._roster.lock, self._roster.remotes
        self._unfit: dict[str, Death] = {}  # those that could not even be sent
        self._link = Link(scheduler(), limits, self._roster)

    def start(self, experiment_id: str, folder: Path, orders: Sequence[Order]) -> None:
        """Choose the worker with most room; what there is to send goes with the next visit. Damaged, it has ended."""
        with self._lock:
            worker, processor = self._roster.room()
            try:
                remote = Remote.sent(experiment_id, folder, worker, processor, orders)
            except (CheckpointError, LogError):  # which is no reason for others to wait
                self._unfit[experiment_id] = Death("it could not be sent to a worker")
                return
            self._remotes[experiment_id] = remote
            self._link.call(worker)

    def send(self, experiment_id: str, order: Order) -> None:
        """Have an order brought at once."""
        with self._lock:
            if (remote := self._remotes.get(experiment_id)) and remote.death is None:
                remote.send(order)
                self._link.call(remote.worker)

    def ended(self, experiment_id: str, at_once: bool = False) -> Death | None:
        """None while a worker holds it, or may hold it as far as is known here."""
        with self._lock:
            remote = self._remotes.get(experiment_id)
            if remote is None:
                return self._unfit.pop(experiment_id, Death("no worker holds it", innocent=True))
            if at_once and remote.death is None:
                remote.close(Death("it was ended"))
                self._roster.linger(remote.worker)
            if remote.death:
                del self._remotes[experiment_id]
                self._roster.over[remote.key] = remote.worker
                self._link.call(remote.worker)
            return remote.death

    def adopt(self, experiment_id: str, folder: Path) -> Order | None:
        """Take over an attempt of a server before this one; whether a worker holds it still is seen later."""
        try:
            remote = Remote.found(experiment_id, folder)
        except (LogError, OSError):
            return None
        if remote is None:
            return None
        with self._lock:
            self._remotes[experiment_id] = remote
        return decode(remote.placement.pace)  # type: ignore[return-value]

    def slots(self) -> float:
        """As many as there is room for, those included that are here."""
        return self._roster.slots()

    def trouble(self) -> str:
        """Why no worker can be had."""
        return self._roster.trouble

    def remark(self, folder: Path) -> str:
        """That it was trained on several kinds of processors, if so."""
        kinds = Placement.read(folder).processors
        if len(kinds) < 2:
            return ""
        return (
            f"It went on from one kind of processor to another ({', then '.join(kinds)}), so its numbers may differ "
            "in their last digits from those of a run that did not."
        )

    def close(self) -> None:
        """Leave all experiments to the next server."""
        self._link.close()
        with self._lock:
            for remote in self._remotes.values():
                remote.leave()
            self._remotes.clear()
