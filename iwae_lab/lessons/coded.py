"""A model of the reader's own in Python: a function that is compiled, called within a time limit, and checked."""

import math
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from types import FrameType
from typing import Any

import torch
from torch import Tensor, distributions

NAME, FILE = "log_joint", "<your model>"
LONGEST, SECONDS = 4_000, 2.0  # characters; for one call
EXAMPLE = """def log_joint(x, h):
    prior = Normal(0.0, 1.0)
    noise = Normal(h**2, 0.5)
    return prior.log_prob(h) + noise.log_prob(x)
"""


class CodeError(ValueError):
    """Code that cannot be used; the message says in which line, and why."""


def run(code: str, x: Tensor, h: Tensor) -> Tensor:
    """log p(x, h) of some h by the function `log_joint` of the code.

    Raises:
        CodeError: it does not run, takes too long, or does not return one number for each h.
    """
    found = _limited(_compiled(code), x, h)
    if not isinstance(found, Tensor) or found.shape != h.shape:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise CodeError(f"{NAME} must return a tensor of the shape of h, {list(h.shape)}; got {shape}")
    if not bool((found < math.inf).all()):  # false for NaN, too
        raise CodeError(f"{NAME} must return log-probabilities; got NaN or infinity")
    return found.double()


@lru_cache(maxsize=16)
def _compiled(code: str) -> Callable[[Tensor, Tensor], Any]:
    if len(code) > LONGEST:
        raise CodeError(f"it may have {LONGEST:,} characters; got {len(code):,}")
    names: dict[str, Any] = {"torch": torch, "math": math}
    names |= {name: getattr(distributions, name) for name in distributions.__all__}
    _limited(lambda: exec(compile(code, FILE, "exec"), names))
    function: Callable[[Tensor, Tensor], Any] | None = names.get(NAME)
    if not callable(function):
        raise CodeError(f"it defines no function {NAME}(x, h)")
    return function


def _limited(function: Callable[..., Any], *given: Tensor) -> Any:
    """The value of a function whose lines in `FILE` may be run for so many seconds."""
    until, before = time.monotonic() + SECONDS, sys.gettrace()

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != FILE:
            return None
        if time.monotonic() > until:
            raise TimeoutError(f"it takes longer than {SECONDS:g} seconds")
        return watch

    sys.settrace(watch)
    try:
        return function(*given)
    except CodeError:
        raise
    except BaseException as error:  # whatever it is, it is the reader's
        raise CodeError(_told(error)) from error
    finally:
        sys.settrace(before)


def _told(error: BaseException) -> str:
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else _line(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
    return f"line {line}: {text}" if line else text


def _line(error: BaseException) -> int | None:
    """The last line of the code that was running."""
    at, found = error.__traceback__, None
    while at is not None:
        found = at.tb_lineno if at.tb_frame.f_code.co_filename == FILE else found
        at = at.tb_next
    return found
