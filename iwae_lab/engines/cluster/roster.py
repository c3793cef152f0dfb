"""What a server knows of the workers of its cluster, and of its own attempts there. Nothing here waits for anything."""

import logging
import threading
from dataclasses import dataclass

from iwae_lab.engines.backend import Death
from iwae_lab.engines.cluster.identity import identity
from iwae_lab.engines.cluster.messages import Answer, Drop, Key, Request
from iwae_lab.engines.cluster.remote import Remote

LOGGER = logging.getLogger(__name__)
SILENT = "The cluster that trains does not answer. Runs wait here, or go on there, until it does."
EMPTY = "The cluster that trains has no workers at the moment. Runs wait until it has."
OTHERS = "The workers of the cluster cannot train for this page: they have {}. Runs wait until that is mended."


@dataclass
class Seat:
    """A worker of the cluster as this server sees it."""

    threads: int = 0
    busy: int = 0  # of them, with attempts of others
    processor: str = ""
    refused: str = ""  # what keeps it from training for this server
    answers: bool = False

    @property
    def useful(self) -> bool:
        """Whether it can be given something."""
        return self.answers and not self.refused

    @property
    def threads_left(self) -> int:
        """Those that others leave to this server."""
        return max(0, self.threads - self.busy) if self.useful else 0


class Roster:
    """Workers by address, and attempts by experiment. Who reads or changes them holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.remotes: dict[str, Remote] = {}
        self.seats: dict[str, Seat] = {}
        self.over: dict[Key, str] = {}  # attempts that are to be forgotten, and by which worker
        self.trouble = SILENT
        self._told: set[str] = set()

    def room(self) -> tuple[str, str]:
        """The worker with most room, and its kind of processor.

        Raises:
            OSError: there is none.
        """
        taken = [remote.worker for remote in self.remotes.values()]
        free = {worker: seat.threads_left - taken.count(worker) for worker, seat in self.seats.items()}
        worker = max(free, key=lambda worker: free[worker], default="")
        if not worker or free[worker] <= 0:
            raise OSError("no worker of the cluster is free")
        return worker, self.seats[worker].processor

    def slots(self) -> int:
        """How many attempts of this server there is room for, those included that are here."""
        with self.lock:
            found = self.seats.items()
            return sum(seat.threads_left if seat.useful else len(self.at(worker)) for worker, seat in found)

    def at(self, worker: str) -> list[Remote]:
        """The attempts that go on at a worker."""
        return [remote for remote in self.remotes.values() if remote.worker == worker and remote.death is None]

    def requests(self, worker: str) -> list[Request]:
        """What is wanted of a worker."""
        requests: list[Request] = [Drop(*key) for key, where in self.over.items() if where == worker]
        for remote in self.at(worker):
            requests += [remote.deposit] if remote.deposit else []
            requests.append(remote.ask())
        return requests

    def hear(self, worker: str, answer: Answer) -> list[Remote]:
        """Take in what a worker has answered; returns those attempts that have arrived there, and are to be begun."""
        seat, guests, own = self.seats[worker], set(answer.guests), self.at(worker)
        seat.answers, seat.threads, seat.processor = True, answer.threads, answer.identity.processor
        seat.busy = max(0, answer.busy - sum(remote.key in guests for remote in own))  # an own one may have ended
        self.refuse(worker, ", ".join(filter(None, [*identity().differences(answer.identity), answer.suffers])))
        for remote in own:
            if remote.key not in guests:
                remote.close(Death("its worker does not hold it", innocent=True, begun=not remote.deposit))
        for report in answer.reports:
            if (told := self.remotes.get(report.experiment_id)) and told.worker == worker:
                told.hear(report)
        self.over = {key: where for key, where in self.over.items() if where != worker or key in guests}
        for experiment_id, attempt in guests:  # a twin that was given up, perhaps by a server before this one
            current = self.remotes.get(experiment_id)
            if current and attempt < current.key[1]:
                self.over[experiment_id, attempt] = worker
        arrived = [remote for remote in own if remote.key in guests and not remote.begun]
        for remote in arrived:
            remote.begun, remote.deposit = True, None
        return arrived

    def silent(self, worker: str, seconds: float) -> None:
        """A worker does not answer: what was there is begun elsewhere."""
        self.seats[worker].answers = False
        for remote in self.at(worker):
            remote.close(Death(f"its machine did not answer for {seconds:g} seconds", innocent=True))

    def linger(self, worker: str) -> None:
        """What has just been given up keeps its thread until that worker has been told."""
        if seat := self.seats.get(worker):
            seat.busy += 1

    def fails(self, worker: str, error: object) -> None:
        """A worker answers with an error: what was there is begun elsewhere."""
        self.tell("worker %s of the cluster fails: %r", worker, error)
        self.refuse(worker, f"an error there ({type(error).__name__})")
        for remote in self.at(worker):
            remote.close(Death("its machine failed", innocent=True, begun=not remote.deposit))

    def only(self, present: set[str]) -> None:
        """Forget those workers that are not in the cluster any more."""
        self.seats = {worker: seat for worker, seat in self.seats.items() if worker in present}
        for remote in self.remotes.values():
            if remote.worker not in present:
                remote.close(Death("its worker left the cluster", innocent=True))
        self.over = {key: worker for key, worker in self.over.items() if worker in present}
        refused = {seat.refused for seat in self.seats.values()}
        self.trouble = EMPTY if not refused else "" if "" in refused else OTHERS.format("; ".join(sorted(refused)))
        if not refused:
            self.tell("the cluster has no workers at the moment")

    def lost(self) -> None:
        """The scheduler does not answer: nothing is known of any worker, and what goes on there may go on.

        What was to begin may have been lost on the way, so it is begun again; what has begun does not mind.
        """
        self.seats.clear()
        for remote in self.remotes.values():
            remote.begun = False
        self.trouble = SILENT

    def refuse(self, worker: str, reason: str) -> None:
        """Note what keeps a worker from training for this server, if anything does."""
        self.seats[worker].refused = reason
        if reason:
            self.tell("worker %s of the cluster cannot train for this server: it has %s", worker, reason)

    def tell(self, text: str, *values: object) -> None:
        """Tell whoever runs the server, once: what is tried again and again fails again and again."""
        if (told := text % values) not in self._told:
            self._told.add(told)
            LOGGER.warning(told)
