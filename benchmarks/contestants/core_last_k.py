"""This project's evaluation at one k only, for what the other values of k cost."""

from collections.abc import Sequence

from benchmarks.contestants.core_evaluation import Evaluation


class LastK(Evaluation):
    """The largest k alone."""

    def sizes(self) -> Sequence[int]:
        """One value."""
        return (self.task.k,)


CONTESTANT = LastK
