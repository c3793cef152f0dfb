"""Whose drawing comes next: everybody's in turn, so that who asks for more than others waits longer."""

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ui.live.hub import Reader
    from ui.live.scene import Look

Places = dict[tuple["Reader", str], None]  # in order: who shows a look, and under which key
SHARE = 0.5  # of one processor that drawing takes at most, so that pages are answered meanwhile
BURST = 1.0  # processor seconds that may be drawn at once after a rest


class Wanted(NamedTuple):
    """A drawing that is due: its version, and those who have not seen it."""

    version: Hashable
    places: Places


class Turns:
    """Start-time fair queueing of drawings.

    A drawing's processor time is shared by all who see it. A visitor's sockets together have one turn, so a hundred of
    them get no more than one. Each reader's `turn` is the clock at which it is next; the clock is that of the drawing
    in hand, and nobody saves up turns while there is nothing new to see.
    """

    def __init__(self) -> None:
        self.wanted: dict[Look, Wanted] = {}
        self._turn: dict[Reader, float] = {}
        self._clock = 0.0
        self._sockets: Counter[str] = Counter()
        self._free_at = 0.0

    def begin(self, readers: Iterable["Reader"]) -> None:
        """Forget what is due, which is looked up anew, and those who have gone."""
        self.wanted.clear()
        self._turn = {reader: self._turn[reader] for reader in readers if reader in self._turn}
        self._sockets = Counter(reader.who for reader in readers)

    def note(self, readers: Iterable["Reader"], survey: Mapping["Look", tuple["Look", Hashable]]) -> None:
        """What these readers have not seen yet becomes due."""
        for reader in readers:
            self._turn[reader] = max(self._turn.get(reader, 0.0), self._clock)
            for key, look in reader.looks.items():
                if look in survey:
                    same, version = survey[look]
                    if not reader.has(key, version):
                        self.wanted.setdefault(same, Wanted(version, {})).places[reader, key] = None

    def next(self) -> tuple["Look", Hashable, Places]:
        """The drawing whose reader is next; of one reader's the one it has waited for longest."""
        look = min(self.wanted, key=self._order)
        self._clock = max(self._clock, self._order(look)[0])
        return look, *self.wanted.pop(look)

    def _order(self, look: "Look") -> tuple[float, float]:
        return min((self._turn[reader], reader.sent_at(key)) for reader, key in self.wanted[look].places)

    def charge(self, places: Places, seconds: float) -> None:
        """Those who were drawn for are next that much later."""
        for reader, _ in places:
            share = seconds / len(places) * max(self._sockets[reader.who], 1)
            self._turn[reader] = max(self._turn[reader], self._clock) + share
        self._free_at = max(self._free_at, time.monotonic() - BURST / SHARE) + seconds / SHARE

    def rest(self) -> float:
        """Seconds until something may be drawn again."""
        return self._free_at - time.monotonic()
