"""Files that are damaged, foreign or made to do harm: refused by their own errors, told once, nobody else's loss."""

import copy
import hashlib
import io
import logging
import os
import pickle
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iwae_core.training.events import Failed, Finished, Progress, Record, encode
from iwae_core.training.fields import SpecError
from iwae_core.training.loop import Experiment
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines import Engine, State, UnknownExperimentError
from iwae_lab.engines.folders import Folders
from iwae_lab.engines.histories import Histories
from iwae_lab.engines.protocol import Checkpoint, Stop
from iwae_lab.engines.runner import run
from iwae_lab.records import checkpoint
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.folder import CHECKPOINT, LOG, PREVIOUS, SPEC, restore, saved
from iwae_lab.records.log import LogError, LogReader, outcome
from tests.support.resuming import SPEC_20, after, folder_for, kinds, same_run
from tests.support.running import LONG, SHORT, MakeEngine, finish, reach, trained, wait_until
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
fuzzed = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
fuzzed_less = settings(fuzzed, max_examples=EXAMPLES // 4)  # each example takes a new model


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose run was saved after 4 steps and stopped after 10."""
    folder = folder_for(tmp_path_factory.mktemp("half") / "run", SPEC_20)
    deque(run(folder, after(4, Checkpoint(), Stop())), maxlen=0)
    deque(run(folder, after(6, Stop())), maxlen=0)
    return folder


def copied(half: Path, tmp_path: Path) -> Path:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    for path in half.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def whole(content: Any) -> bytes:
    """A checkpoint with a hash that is right, whatever it holds."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


# Checkpoints.


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_the_state_before_is_used_when_the_last_is_damaged(damage: str, half: Path, tmp_path: Path) -> None:
    folder = copied(half, tmp_path)
    path, content = folder / CHECKPOINT, bytearray((folder / CHECKPOINT).read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flipped" else content[:-1])
    state = saved(folder)
    assert state
    assert state["step"] == 4
    deque(run(folder), maxlen=0)
    assert same_run(folder, trained_20(tmp_path)), "to the bit"


def trained_20(tmp_path: Path) -> Path:
    folder = folder_for(tmp_path / "whole", SPEC_20)
    deque(run(folder), maxlen=0)
    return folder


def test_every_flipped_bit_is_seen(half: Path, tmp_path: Path) -> None:
    folder, content, chance = copied(half, tmp_path), (half / CHECKPOINT).read_bytes(), random.Random(0)
    for _ in range(200):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (folder / CHECKPOINT).write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"^checkpoint\.pt is truncated or altered"):
            checkpoint.load(folder / CHECKPOINT)


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch exploded",)


def test_no_code_of_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for payload in pickle.dumps(Bomb(), 2), whole(Bomb())[32:], whole({"format": 2, "state": Bomb()})[32:]:
        path = tmp_path / CHECKPOINT
        path.write_bytes(hashlib.sha256(payload).digest() + payload)
        with pytest.raises(CheckpointError, match=r"^checkpoint\.pt is not a checkpoint of this program$"):
            checkpoint.load(path)
    assert not (tmp_path / "exploded").exists()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats(allow_subnormal=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is inside of nested lists and dictionaries."""
    found = [path] if path else []
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return found + [place for key, value in inner for place in places(value, (*path, key))]


@fuzzed_less
@given(data=st.data())
def test_a_checkpoint_of_foreign_content_is_refused_or_goes_on(data: st.DataObject, half: Path, tmp_path: Path) -> None:
    folder = copied(half, tmp_path)
    content = {"format": checkpoint.FORMAT, "state": checkpoint.load(half / CHECKPOINT)}
    *path, last = data.draw(st.sampled_from([(), *places(content)]), "place") or ("state",)
    parent: Any = content
    for key in path:
        parent = parent[key]
    parent[last] = data.draw(PLAIN | st.just(torch.zeros(3)), "content")
    (folder / CHECKPOINT).write_bytes(whole(content))
    (folder / PREVIOUS).unlink()
    try:
        state = saved(folder)
        assert state
        restore(Experiment(ExperimentSpec.from_json((folder / SPEC).read_text())), state)
    except CheckpointError as error:
        told = str(error)
        assert str(tmp_path) not in told


@fuzzed
@given(st.binary(max_size=200) | PLAIN.map(lambda content: whole(content)[32:]))
def test_a_checkpoint_of_anything_is_refused(tmp_path: Path, payload: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(hashlib.sha256(payload).digest() + payload)
    with pytest.raises(CheckpointError, match=r"^checkpoint\.pt"):
        checkpoint.load(tmp_path / CHECKPOINT)


def test_a_run_whose_checkpoint_is_foreign_fails_with_a_sentence(half: Path, tmp_path: Path) -> None:
    folder = copied(half, tmp_path)
    state = checkpoint.load(folder / CHECKPOINT)
    state["runs"][0]["model"] = state["runs"][1]["optimiser"]
    (folder / CHECKPOINT).write_bytes(whole({"format": checkpoint.FORMAT, "state": state}))
    deque(run(folder), maxlen=0)
    assert [event.message for event in kinds(folder, Failed)] == [
        "the checkpoint holds another state than this experiment's; train again"
    ]


# Specifications.


def test_one_unreadable_specification_is_one_run_less(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_engine()
    good, bad = (first.submit(SHORT, "me") for _ in range(2))
    finish(first, good, bad)
    first.close()
    for content in b"{", b"\xff", b"[]", b"[" * 100_000, SHORT.to_json().replace('"vae"', '"none"').encode():
        (first.folder / bad / SPEC).write_bytes(content)
        caplog.clear()
        engine = make_engine()
        for _ in range(3):
            assert engine.experiments("me") == [good]
            with pytest.raises(UnknownExperimentError, match=rf"^run {bad} cannot be read: its spec\.json is damaged$"):
                engine.spec(bad)
            assert engine.state(bad) is State.COMPLETED
        assert engine.owns(bad, "me")
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1, "told once"
        engine.close()


def test_an_unreadable_owner_is_nobody(make_engine: MakeEngine) -> None:
    engine = make_engine()
    experiment = engine.submit(SHORT, "me")
    finish(engine, experiment)
    for written in (b"\xff\xfe", b"", b"me", "\u00fc".encode()):
        (engine.folder / experiment / "owner").write_bytes(written)
        again = Folders(engine.folder)
        assert again.of("") == again.of("me") == []
        assert not again.owns(experiment, "")
        assert not again.owns(experiment, "me")


@fuzzed
@given(data=st.data())
def test_a_specification_of_anything_is_refused_or_read(data: st.DataObject) -> None:
    import json

    content = json.loads(SPEC_20.to_json())
    *path, last = data.draw(st.sampled_from(places(content)), "place")
    parent: Any = content
    for key in path:
        parent = parent[key]
    parent[last] = data.draw(PLAIN, "content")
    text = data.draw(st.sampled_from([json.dumps(content), json.dumps(content)[:-5], json.dumps([content])]))
    try:
        spec = ExperimentSpec.from_json(text)
    except SpecError:
        return
    assert ExperimentSpec.from_json(spec.to_json()) == spec


# Logs.


def lines(folder: Path) -> list[bytes]:
    return (folder / LOG).read_bytes().splitlines(keepends=True)


def test_a_damaged_log_is_shown_as_far_as_it_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = trained(tmp_path / "run", SHORT)
    told = lines(folder)
    (folder / LOG).write_bytes(b"".join([*told[:4], told[4][:20] + b"\n", *told[5:]]))
    histories = Histories()
    for _ in range(2):
        histories.read(folder / LOG)  # what follows may be there in a moment
    for _ in range(5):
        history = histories.read(folder / LOG)
        assert history.step == len([line for line in told[:4] if b"Progress" in line])
        assert history.outcome == Failed(history.step, f"{LOG} is damaged; what it told before that is shown")
    assert len(caplog.records) == 1, "told once"
    (folder / LOG).write_bytes(b"".join(told))
    histories.forget(folder / LOG)
    assert histories.read(folder / LOG).outcome == Finished(5, reason="all 5 steps are made")


def test_a_log_that_was_cut_and_then_damaged_is_read_twice_at_most(tmp_path: Path) -> None:
    path = tmp_path / LOG

    def record(number: int) -> str:
        return encode(Record(number, 0.0, Progress(number, (0.0,), (0.0,)))) + "\n"

    path.write_text(record(0) + record(1))
    reader = LogReader(path)
    assert len(list(reader.new())) == 2
    path.write_text(record(0) + record(1) + record(3))
    assert [found.number for found in reader.new()] == [0, 1], "it may have been cut, so once more from its beginning"
    for _ in range(3):
        with pytest.raises(LogError, match="its record 2 is missing"):
            list(reader.new())
    path.write_text(record(0) + record(1) + record(2) + record(3))
    assert [found.number for found in reader.new()] == [2, 3]


@fuzzed
@given(data=st.data())
def test_a_log_of_anything_is_a_history(data: st.DataObject, half: Path, tmp_path: Path) -> None:
    folder = copied(half, tmp_path)
    content = bytearray((folder / LOG).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 300))] = data.draw(st.binary(max_size=50))
    (folder / LOG).write_bytes(content)
    histories = Histories()
    for _ in range(2):
        assert histories.read(folder / LOG).step <= 20
        histories.outcome(folder / LOG)
    try:
        outcome(folder / LOG)
    except LogError as error:
        assert str(tmp_path) not in str(error)  # noqa: PT017


def test_a_run_whose_log_is_damaged_ends(local: Engine, caplog: pytest.LogCaptureFixture) -> None:
    experiment = local.submit(LONG)
    reach(local, experiment, 3)
    log = local.folder / experiment / LOG
    with log.open("r+b") as file:
        file.write(b"?" * 30)
    local._histories.forget(log)  # as if it had not been looked at for a minute
    wait_until(lambda: local.history(experiment).step == 0 and local.state(experiment) is State.FAILED)
    wait_until(lambda: local._jobs.get(experiment) is None)
    assert len(caplog.records) == 1
    copied = copy.copy(caplog.records)
    for _ in range(20):
        local._supervisor.tend()
    assert caplog.records == copied, "told once"


def test_a_folder_that_is_gone_is_told_once(local: Engine, caplog: pytest.LogCaptureFixture) -> None:
    import shutil

    first, _, queued = (local.submit(LONG) for _ in range(3))
    reach(local, first, 2)
    shutil.rmtree(local.folder / queued)
    with pytest.raises(UnknownExperimentError):
        local.state(queued)
    local.send(first, Stop())
    finish(local, first)
    wait_until(lambda: local._jobs.get(queued) is None)
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records), "each told once"


# What visitors are shown.


def test_no_path_of_the_server_is_shown(tmp_path: Path) -> None:
    log = tmp_path / LOG
    message = f"{tmp_path}/train.gz is truncated; put it into '{tmp_path}/data', k/batch and 3 / 4 stay (/srv/x)"
    log.write_text(encode(Record(0, 0.0, Failed(0, message))) + "\n")
    shown = "train.gz is truncated; put it into 'data', k/batch and 3 / 4 stay (x)"
    histories = Histories()
    assert histories.read(log).outcome == histories.outcome(log) == Failed(0, shown)
    assert outcome(log) == Failed(0, message), "who runs the server finds it in the log"
