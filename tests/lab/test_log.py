"""The log: one writer, and readers that follow it even when a resumed run cuts it back."""

from pathlib import Path

import pytest

from iwae_core.training.events import Failed, Finished, Progress, Record
from iwae_lab.history.history import History
from iwae_lab.records.log import EventLog, LogError, LogReader


def write(path: Path, keep: int, upto: int, slower: float = 0.0) -> None:
    with EventLog(path, keep) as log:
        for number in range(keep, upto):
            log.append(Progress(number, (0.0,), (0.0,)), number + slower)


def test_a_reader_gets_each_record_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = LogReader(path)
    assert list(reader.new()) == []
    write(path, 0, 3)
    with path.open("a") as file:
        file.write('{"number": 3, ')
    assert [record.number for record in reader.new()] == [0, 1, 2]
    assert list(reader.new()) == []
    write(path, 3, 5)
    assert next(reader.new()).number == 3, "what has not been asked for"
    assert [record.number for record in reader.new()] == [4], "is still to come"


@pytest.mark.parametrize("keep", [0, 1, 7])
@pytest.mark.parametrize("upto", [8, 10, 12])
@pytest.mark.parametrize("slower", [0.0, 0.1234])
def test_a_reader_notices_that_the_log_was_cut(keep: int, upto: int, slower: float, tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, 0, 10)
    reader, history = LogReader(path), History()
    history.extend(reader.new())
    write(path, keep, upto, slower)
    history.extend(reader.new())
    assert history.length == upto
    assert history.seconds == upto - 1 + slower
    with EventLog(path, upto) as log:
        log.append(Finished(upto), 99.0)
    history.extend(reader.new())
    assert history.length == upto + 1
    assert history.outcome == Finished(upto)


def test_a_reader_notices_other_records_that_end_at_the_same_byte(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with EventLog(path) as log:
        for step in range(3):
            log.append(Failed(step, "x" * 100), 1.0)
    reader = LogReader(path)
    assert len(list(reader.new())) == 3
    size = path.stat().st_size
    with EventLog(path) as log:
        log.append(Failed(0, ""), 1.0)
        empty = path.stat().st_size
        log.append(Failed(1, "x" * (size - 2 * empty)), 1.0)
        assert path.stat().st_size == size
        log.append(Finished(2), 2.0)
    assert [record.event.__class__ for record in reader.new()] == [Failed, Failed, Finished]


def test_a_story_that_begins_anew_forgets_the_old_one() -> None:
    history = History([Record(0, 0.0, Progress(1, (0.0,), (0.0,))), Record(1, 1.0, Finished(1))])
    assert history.outcome
    history.extend([Record(0, 0.0, Progress(1, (0.0,), (0.0,)))])
    assert history.outcome is None
    assert history.length == 1


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    with EventLog(tmp_path / "log") as log:
        log.append(Finished(0), 0.0)
        with pytest.raises(LogError, match="is being trained by another process; stop that one first"):
            EventLog(tmp_path / "log")
    assert len(list(LogReader(tmp_path / "log").new())) == 1
    write(tmp_path / "log", 1, 3)


def test_a_log_that_lost_records_is_not_written_on(tmp_path: Path) -> None:
    write(tmp_path / "log", 0, 3)
    with pytest.raises(LogError, match="lost records: 3 are left of at least 4; train again"):
        EventLog(tmp_path / "log", 4)
    assert len(list(LogReader(tmp_path / "log").new())) == 3
    write(tmp_path / "log", 3, 4)
