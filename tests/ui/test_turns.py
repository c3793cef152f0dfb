"""Whose drawing comes next, and whose page."""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Semaphore, Thread
from typing import cast

import pytest

from ui.live import turns
from ui.live.hub import Reader
from ui.live.scene import Look
from ui.live.turns import Turns
from ui.pages.gate import Gate


@dataclass(eq=False)
class Page:
    """What `Turns` sees of a reader."""

    who: str
    looks: dict[str, Look] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    def has(self, key: str, version: object) -> bool:
        return key not in self.looks or self.sent.get(key) == version

    def sent_at(self, key: str) -> float:
        return float(self.sent.get(key, 0))


def page(who: str, *ks: int) -> Page:
    return Page(who, {f"{k}": Look("bounds", k=k) for k in ks})


def drawn(pages: list[Page], drawings: int) -> Counter[str]:
    """How many drawings each visitor sees if every look is always due and each takes as long."""
    order, seen = Turns(), Counter[str]()
    for version in range(1, drawings + 1):
        readers = cast(list[Reader], pages)
        order.begin(readers)
        order.note(readers, {look: (look, version) for each in pages for look in each.looks.values()})
        _, _, places = order.next()
        for reader, key in places:
            reader.sent[key] = version  # type: ignore[assignment]
        seen.update({reader.who for reader, _ in places})
        order.charge(places, 0.01)
    return seen


def test_who_asks_for_sixteen_gets_no_more_than_who_asks_for_one() -> None:
    assert drawn([page("a", *range(16)), page("b", 100)], 100) == {"a": 50, "b": 50}


def test_many_sockets_of_one_visitor_have_one_turn() -> None:
    crowd = [page("a", *range(16 * n, 16 * n + 16)) for n in range(20)]
    seen = drawn([*crowd, page("b", 1000), page("c", 2000)], 300)
    assert all(seen[who] == pytest.approx(100, abs=25) for who in "abc")


def test_those_who_see_the_same_share_its_price() -> None:
    seen = drawn([page("a", 1), page("b", 1), page("c", 1), page("d", 2)], 80)
    assert seen["a"] == seen["b"] == seen["c"] == pytest.approx(60, abs=2)
    assert seen["d"] == pytest.approx(20, abs=2)


def test_one_page_sees_each_of_its_parts_as_often() -> None:
    one = page("a", *range(5))
    drawn([one], 52)
    assert set(one.sent.values()) == {48, 49, 50, 51, 52}


def test_who_comes_later_has_saved_up_nothing() -> None:
    order, early, late = Turns(), page("a", 1), page("b", 2)
    for version, pages in enumerate([[early]] * 50 + [[early, late]] * 20, 1):
        readers = cast(list[Reader], pages)
        order.begin(readers)
        order.note(readers, {look: (look, version) for each in pages for look in each.looks.values()})
        _, _, places = order.next()
        for reader, key in places:
            reader.sent[key] = version  # type: ignore[assignment]
        order.charge(places, 0.01)
    assert next(iter(early.sent.values())) >= 69, "they take turns from then on"


def test_drawing_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(turns.time, "monotonic", lambda: now)
    order, one = Turns(), page("a", 1)
    order.begin(cast(list[Reader], [one]))
    order.note(cast(list[Reader], [one]), {Look("bounds", k=1): (Look("bounds", k=1), 1)})
    _, _, places = order.next()
    order.charge(places, turns.BURST)
    assert order.rest() <= 0, "after a rest a page's first drawings come at once"
    order.charge(places, 0.1)
    assert order.rest() == pytest.approx(0.1 / turns.SHARE)
    now += 0.1 / turns.SHARE
    assert order.rest() <= 0


def test_pages_are_drawn_a_few_at_a_time_in_the_order_in_which_they_came() -> None:
    gate, inside, came = Gate(2), Semaphore(0), list[int]()

    def draw(number: int, hold: Event) -> None:
        with suppress(RuntimeError), gate.turn():
            came.append(number)
            inside.release()
            hold.wait()
            raise RuntimeError  # as Streamlit ends a script

    holds = [Event() for _ in range(5)]
    drawers = [Thread(target=draw, args=(number, hold)) for number, hold in enumerate(holds)]
    for number, drawer in enumerate(drawers):
        drawer.start()
        if number < 2:
            inside.acquire()
        while len(gate._waiting) < number - 1:
            time.sleep(0.001)
    assert came == [0, 1]
    for number in 1, 0, 2, 3, 4:
        holds[number].set()
        drawers[number].join()
        if number < 3:
            inside.acquire()
    assert came == [0, 1, 2, 3, 4]
    with gate.turn(), gate.turn():
        pass
