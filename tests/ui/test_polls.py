"""A poll of predictions: everybody counts once, nobody is told the counts before its end, and no name is kept."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.live import address as address
from ui import visitor
from ui.live import polls
from ui.live.hub import unpacked
from ui.visitor import COOKIE, new_cookie

VOTERS = 100
ANSWERS = "It rises", "It stays", "It falls"
LOOK = json.dumps({"part": "poll"})  # that of the recording, so that no run is needed


@pytest.fixture(autouse=True)
def _a_secret_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("IWAE_RUNS_DIR", str(tmp_path / "runs"))
    visitor._secret.cache_clear()
    yield
    visitor._secret.cache_clear()
    polls._polls.clear()


async def seen(socket: ClientConnection) -> dict[str, Any]:
    """The poll as it is sent next."""
    async with asyncio.timeout(60):
        frame = await socket.recv()
    assert isinstance(frame, bytes)
    poll: dict[str, Any] = unpacked(frame)[1]["poll"]
    return poll


async def attend(address: str, answer: int, voted: asyncio.Barrier, closed: asyncio.Event) -> dict[str, Any]:
    """Answer twice, wait for the class, answer once more on another socket, and wait for the counts."""
    cookie = {"additional_headers": {"Cookie": f"{COOKIE}={new_cookie()}"}}
    async with connect(address, **cookie) as socket, connect(address, **cookie) as second:
        await socket.send(json.dumps([LOOK]))
        poll = await seen(socket)
        assert (poll["answers"], poll["counts"]) == (list(ANSWERS), None)
        for choice in answer, 0:
            await socket.send(json.dumps({"poll": poll["name"], "answer": choice}))
        while poll["votes"] < VOTERS:
            poll = await seen(socket)
            assert poll["counts"] is None
        await second.send(json.dumps({"poll": poll["name"], "answer": 1}))
        await second.send(json.dumps([LOOK]))
        assert (await seen(second))["votes"] == VOTERS
        await voted.wait()
        await closed.wait()
        while poll["counts"] is None:
            poll = await seen(socket)
        return poll


async def lesson(address: str, answers: list[int]) -> list[dict[str, Any]]:
    """A class that answers all at once, and what each of it is told in the end."""
    voted, closed = asyncio.Barrier(VOTERS + 1), asyncio.Event()
    async with asyncio.TaskGroup() as group:  # one that fails ends all
        watchers = [group.create_task(attend(address, answer, voted, closed)) for answer in answers]
        await voted.wait()
        polls.close("")
        closed.set()
    return [watcher.result() for watcher in watchers]


def test_a_hundred_vote_at_once_and_each_counts_once(address: str) -> None:
    polls.ask("", "What does the dashed line do?", ANSWERS)
    answers = [random.Random(number).randrange(3) for number in range(VOTERS)]
    with ThreadPoolExecutor() as thread:  # the browser of other tests has an event loop in this one
        told = thread.submit(asyncio.run, lesson(address, answers)).result()
    assert [poll["counts"] for poll in told] == [[Counter(answers)[answer] for answer in range(3)]] * VOTERS


def test_the_first_answer_counts() -> None:
    polls.ask("run", "?", ANSWERS)
    name = polls.told("run")["name"]  # type: ignore[index]
    for who, answer in ("a", 2), ("a", 0), ("b", 2), ("a", 2), ("c", 1):
        polls.vote(json.dumps({"poll": name, "answer": answer}), who)
    polls.close("run")
    polls.vote(json.dumps({"poll": name, "answer": 0}), "late")
    assert polls.told("run")["counts"] == [0, 1, 2]  # type: ignore[index]


@pytest.mark.parametrize(
    "answer", ["", "{", "{}", "null", "5", '{"poll":[]}', "{" * 20_000, '{"poll":NAME,"answer":ANSWER}']
)
def test_what_is_no_answer_counts_for_nothing(answer: str) -> None:
    polls.ask("run", "?", ANSWERS)
    name = json.dumps(polls.told("run")["name"])  # type: ignore[index]
    for wrong in ("3", "-1", "true", "null", "0.0", '"0"', "[0]", "1e999"):
        polls.vote(answer.replace("NAME", name).replace("ANSWER", wrong), "somebody")
    assert polls.told("run")["votes"] == 0  # type: ignore[index]


def test_a_closed_poll_has_forgotten_who_answered_and_a_new_one_begins_at_zero() -> None:
    polls.ask("run", "?", ANSWERS)
    before = polls.told("run")
    polls.vote(json.dumps({"poll": before["name"], "answer": 0}), "somebody")  # type: ignore[index]
    kept = polls._polls["run"]
    polls.close("run")
    assert (kept._voters, kept._key, kept.counts) == (set(), None, [1, 0, 0])
    polls.ask("run", "?", ANSWERS)
    assert polls.told("run")["name"] != before["name"]  # type: ignore[index]
    assert polls.told("run")["votes"] == 0  # type: ignore[index]
