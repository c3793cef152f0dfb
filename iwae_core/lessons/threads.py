"""Every visit to a page runs in a thread of its own, and each must be told anew to leave the other cores alone."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from iwae_core.train import prepare_process

P = ParamSpec("P")
T = TypeVar("T")


def one_thread(compute: Callable[P, T]) -> Callable[P, T]:
    """The function, its tensors worked on by the calling thread alone.

    On a busy two-core machine, operations split over two threads made a lesson's first picture take up to 25 times
    longer: each waits for the slower half.
    """

    @wraps(compute)
    def prepared(*args: P.args, **kwargs: P.kwargs) -> T:
        prepare_process()
        return compute(*args, **kwargs)

    return prepared
