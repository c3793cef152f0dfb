"""How many pages are drawn at the same time: others wait for their turn, and the server answers meanwhile."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets so many in at a time, in the order in which they came."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place, and have it."""
        mine = threading.Lock()
        with self._lock:
            if self._free:
                self._free -= 1
            else:
                mine.acquire()  # whoever leaves releases it
                self._waiting.append(mine)
        mine.acquire()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._free += 1
