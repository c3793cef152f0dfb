"""What travels between a server and a worker of its cluster arrives once, whatever is lost or repeated on the way."""

import random
from pathlib import Path
from typing import Any

import pytest

from iwae_lab.engines.backend import Death
from iwae_lab.engines.cluster import guest, site
from iwae_lab.engines.cluster.messages import Ask, Deposit, Drop, Report
from iwae_lab.engines.cluster.placement import Placement
from iwae_lab.engines.cluster.remote import Remote
from iwae_lab.engines.cluster.site import Site
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
