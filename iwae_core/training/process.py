"""Every visit to a page runs in a thread of its own, and each must be told anew to leave the other cores alone."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

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


def prepare_process() -> None:
    """Settings for any process or thread that trains; both are the thread's own.

    Normalised weights make denormal gradients, which are several times slower unless flushed to zero. And an operation
    split over two threads waits for the slower one: on a busy machine one thread for each run is faster.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
