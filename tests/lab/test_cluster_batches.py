"""What travels between a server and a worker of its cluster arrives once, whatever is lost or repeated on the way."""

import errno
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iwae_lab.engines.backend import Death
from iwae_lab.engines.cluster import guest, site
from iwae_lab.engines.cluster.identity import identity
from iwae_lab.engines.cluster.messages import Answer, Ask, Deposit, Drop, Report
from iwae_lab.engines.cluster.placement import Placement
from iwae_lab.engines.cluster.remote import Remote
from iwae_lab.engines.cluster.roster import OTHERS, Roster, Seat
from iwae_lab.engines.cluster.site import FULL, Site
from iwae_lab.engines.protocol import Order, Pause, Resume, Step, Stop, encode
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC
from iwae_lab.records.log import outcome
from tests.support.running import SHORT, events, trained

RUN = "0" * 32


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("made") / "run", SHORT)


def sent(folder: Path, processor: str = "a processor") -> Remote:
    folder.mkdir(exist_ok=True)
    (folder / SPEC).write_text(SHORT.to_json())
    return Remote.sent(RUN, folder, "tcp://there", processor, [])


def holding(made: Path) -> guest.Guest:
    """A guest that has come to its end."""
    return guest.Guest(made, [], 0, death=Death("its process gave it up"))


@pytest.mark.parametrize("lot", [1, 3000, 1_000_000])
def test_a_history_arrives_whole_whatever_is_lost_or_repeated(
    lot: int, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "LOT", lot)
    there, here, chance = holding(made), sent(tmp_path / "run"), random.Random(lot)
    kept: list[Report] = []
    while here.death is None:
        kept.append(there.report(here.ask()))
        for report in chance.choices(kept, k=3):  # any of them, perhaps again, perhaps not the newest
            if outcome(tmp_path / "run" / LOG) is None:
                here.hear(report)
            if outcome(tmp_path / "run" / LOG):
                assert (tmp_path / "run" / CHECKPOINT).exists(), "an end comes last"
                here.hear(there.report(here.ask()))
    assert (tmp_path / "run" / LOG).read_bytes() == (made / LOG).read_bytes()
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == (made / CHECKPOINT).read_bytes()
    assert Placement.read(tmp_path / "run").worker == "", "nobody looks for it there any more"


def test_a_twin_that_was_given_up_is_not_heard(made: Path, tmp_path: Path) -> None:
    first = sent(tmp_path / "run")
    told = holding(made).report(first.ask())
    first.close(Death("its machine did not answer"))
    second = sent(tmp_path / "run")
    first.hear(told)
    second.hear(told)
    assert second.key == (RUN, 2)
    assert (tmp_path / "run" / LOG).read_bytes() == b""
    second.close(Death("over"))


def test_a_batch_that_does_not_follow_ends_the_attempt(made: Path, tmp_path: Path) -> None:
    here = sent(tmp_path / "run")
    here.hear(holding(made).report(here.ask())._replace(lines=b'{"number": 1, }\n', death=None, checkpoint=b""))
    assert here.death == Death("record 0 did not arrive as it was made")
    assert (tmp_path / "run" / LOG).read_bytes() == b""


def test_a_run_goes_on_after_the_records_of_another_machine(made: Path, tmp_path: Path) -> None:
    sent(tmp_path / "run").close(Death("over"))
    state = checkpoint.load(made / CHECKPOINT)
    for name in LOG, CHECKPOINT:
        (tmp_path / "run" / name).write_bytes((made / name).read_bytes())
    again = sent(tmp_path / "run", "another processor")
    assert again.deposit
    assert again.deposit.records == state["events"]
    there = guest.Guest.arriving(again.deposit, tmp_path / "there")
    assert there.report(again.ask()).lines == b"", "empty lines stand for what is here already"
    assert again.placement.processors == ("a processor", "another processor")
    again.close(Death("over"))
    assert len(events(tmp_path / "run")) == state["events"]


def no_space(*_: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


class Processes:
    """Worker processes that only note what they are told."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.orders: list[Order] = []

    def start(self, name: str, folder: Path, orders: list[Order]) -> None:
        self.orders += orders

    def send(self, name: str, order: Order) -> None:
        self.orders.append(order)

    def tend(self) -> None:
        pass

    def ended(self, name: str, at_once: bool) -> Death | None:
        return Death("ended") if at_once or Stop() in self.orders else None


def test_an_order_is_obeyed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "WorkerProcesses", Processes)
    here = Site(1, tmp_path)
    deposit = Deposit(RUN, 1, {SPEC: b""}, 0, [encode(Pause())])
    for _ in range(2):
        assert here.answer([deposit], 10).guests == [(RUN, 1)]
    assert here.answer([deposit._replace(attempt=2)], 10).guests == [(RUN, 1)], "there is one thread"
    asks = [Ask(RUN, 1, 0, 0, 1, [encode(Step())]), Ask(RUN, 1, 0, 0, 1, [encode(Step()), encode(Resume())])]
    for ask in [*asks, asks[0], asks[1]]:
        (report,) = here.answer([ask], 10).reports
    assert report.orders == 3
    here.answer([Ask(RUN, 1, 0, 0, 3, [encode(Stop())])], 10)
    here.iterate((RUN, 1), lambda: False)
    here.iterate((RUN, 1), lambda: False)  # Dask repeats what it takes for lost
    assert here._processes.orders == [Pause(), Step(), Resume(), Stop()]  # type: ignore[attr-defined]
    assert here.answer([], 10).busy == 0
    assert here.answer([Drop(RUN, 1)], 10).guests == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_written_keeps_new_runs_away_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "WorkerProcesses", Processes)
    here, new = Site(2, tmp_path), [Deposit(RUN, 2, {SPEC: b""}, 0, []), Ask(RUN, 2, 0, 0)]
    assert here.answer([Deposit(RUN, 1, {SPEC: b""}, 0, [])], 10).suffers == ""
    for broken in (guest.Guest, "arriving", no_space), (shutil, "disk_usage", lambda _: SimpleNamespace(free=1)):
        here._again = 0.0
        with monkeypatch.context() as patch:
            patch.setattr(*broken)
            for _ in range(2):
                answer = here.answer([*new, Ask(RUN, 1, 0, 0)], 10)
                assert (answer.guests, answer.suffers) == ([(RUN, 1)], FULL)
                assert [report.attempt for report in answer.reports] == [1]
    assert len(list(tmp_path.iterdir())) == 1, "nothing is left of those that could not be kept"
    assert here.answer(new, 10).guests == [(RUN, 1), (RUN, 2)]


def test_what_a_worker_cannot_take_goes_elsewhere_and_has_not_begun_again(made: Path, tmp_path: Path) -> None:
    known = Roster()
    known.seats = {worker: Seat(answers=True) for worker in ("tcp://there", "tcp://elsewhere")}
    full, well = (Answer(identity(), 1, 0, [], [], suffers) for suffers in (FULL, ""))
    known.hear("tcp://elsewhere", well)
    for error in None, OSError("/a/path"):
        known.hear("tcp://there", well)
        run = known.remotes[RUN] = sent(tmp_path / "run")
        assert known.slots() == 2
        if error:
            run.deposit = None  # it has arrived
            known.fails("tcp://there", error)
        else:
            known.hear("tcp://there", full)
        assert run.death
        assert (run.death.innocent, run.death.begun) == (True, bool(error))
        assert (known.room()[0], known.slots()) == ("tcp://elsewhere", 1)
        known.only({"tcp://there"})
        assert known.trouble == OTHERS.format("an error there (OSError)" if error else FULL), "without its path"
        known.seats["tcp://elsewhere"] = Seat(threads=1, answers=True)


def test_what_a_lost_connection_may_have_kept_from_beginning_is_begun_again(tmp_path: Path) -> None:
    known = Roster()
    run = known.remotes[RUN] = sent(tmp_path / "run")
    arrived = Answer(identity(), 1, 1, [run.key], [])
    for _ in range(2):
        known.seats["tcp://there"] = Seat()
        assert known.hear("tcp://there", arrived) == [run]
        assert known.hear("tcp://there", arrived) == [], "it has begun"
        known.lost()
    run.leave()


def test_a_thread_is_free_once_its_worker_knows_it_and_no_sooner(tmp_path: Path) -> None:
    known = Roster()
    known.seats["tcp://there"] = Seat(answers=True)
    run = known.remotes[RUN] = sent(tmp_path / "run")
    run.deposit = None
    known.hear("tcp://there", Answer(identity(), 1, 0, [run.key], []))
    assert known.slots() == 1, "it has ended, which will be told next"
    known.refuse("tcp://there", FULL)
    assert known.slots() == 1, "it goes on there"
    known.refuse("tcp://there", "")
    run.close(Death("it was ended"))
    known.linger("tcp://there")
    assert known.slots() == 0


def test_a_run_that_no_server_asks_for_is_forgotten_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "WorkerProcesses", Processes)
    here = Site(1, tmp_path)
    here.answer([Deposit(RUN, 1, {SPEC: b""}, 0, [])], 10)
    here._guests[RUN, 1].heard -= 11
    here._guests[RUN, 1].begun = True
    assert here.answer([], 10).guests == [(RUN, 1)], "it is still iterated"
    here._look_after(here._guests[RUN, 1], closing=False)
    here._look_after(here._guests[RUN, 1], closing=False)
    assert [type(order).__name__ for order in here._processes.orders] == ["Leave"]  # type: ignore[attr-defined]
    here._guests[RUN, 1].death = Death("left")
    assert here.answer([], 10).guests == []
