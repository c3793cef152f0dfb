"""A pytest plugin that collects the tests once and then, for each mutant, forks and runs those that it concerns.

In the child the mutated functions get their new code in place, so nothing is imported again. What a test keeps from the
import, and what is no function, needs the whole of it: see `afresh`.
"""

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, settings

from iwae_core.data import mnist
from iwae_core.training.process import prepare_process
from tools.mutation.mutants import Mutant

ROOT = Path(__file__).parents[2]
CORE = str(ROOT / "iwae_core")
PLENTY = 4 * 2**30  # bytes that a mutant may take beyond what is taken already
Touched = dict[
    str, Any
]  # by test: seconds of processor time, and [file, line] of every function of the core it entered


VERDICTS = ("survived", "killed", "afresh", "error in the tool")  # by the exit code of a child
SURVIVED, KILLED, AFRESH, FAULTY = range(4)


def settle() -> None:
    """What `tests/conftest.py` does for every test, without the browser that it imports."""
    settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("steady")
    prepare_process()


class Baseline:
    """Runs every test once, in a child, and notes which functions of the core each entered.

    Each by itself: what an earlier test has left in a cache or a fixture would hide what a later one is about.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of running the tests."""
        settle()
        found: Touched = json.loads(self.file.read_text()) if self.file.exists() else {}
        caches = list(_caches())
        for item in session.items:
            for cached in caches:
                cached.cache_clear()
            entered: set[tuple[str, int]] = set()
            with _noting(entered):
                began = time.process_time()
                passed = _passes(item, None)
                seconds = time.process_time() - began
            if passed:
                found[item.nodeid] = {"seconds": round(seconds, 4), "entered": sorted(entered)}
            else:
                print(f"left out, since it fails or skips by itself: {item.nodeid}", flush=True)
        self.file.write_text(json.dumps(found))
        return True


class Loop:
    """Runs the tests of each mutant in a child of its own."""

    def __init__(self, mutants: Iterable[Mutant], touched: Touched, seconds: float, told: Callable[..., None]) -> None:
        self.mutants, self.touched, self.seconds, self.told = mutants, touched, seconds, told

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of running the tests."""
        settle()
        mnist.mnist()  # children then have it already
        functions = [found for found in gc.get_objects() if type(found) is FunctionType and _of_core(found.__code__)]
        items = {item.nodeid: item for item in session.items}
        touched = {name: test for name, test in self.touched.items() if name in items}
        for mutant in self.mutants:
            chosen = concerned(mutant, touched, self.seconds)
            budget = sum(touched[name]["seconds"] for name in chosen)
            work = partial(_verdict, mutant, functions, [items[name] for name in chosen])
            self.told(mutant, in_child(work, budget) if chosen else "no test")
        return True


def concerned(mutant: Mutant, touched: Touched, seconds: float) -> list[str]:
    """The quickest tests that enter the mutated function, or its file if that is all that is known, for so long.

    Nothing is entered in a file that only imports: there all tests of its folder's files count.
    """
    file, found, total = str(ROOT / mutant.path).removesuffix("__init__.py"), [], 0.0
    for name, test in sorted(touched.items(), key=lambda pair: pair[1]["seconds"]):
        if total > seconds:
            break
        inside = mutant.lines if mutant.lines and not mutant.cached else range(10**6)
        if any(path.startswith(file) and line in inside for path, line in test["entered"]):
            found.append(name)
            total += test["seconds"]
    return found


def in_child(work: Callable[[], int], seconds: float) -> str:
    """What becomes of a mutant in a forked process that is given several times so many seconds."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        limit = int(5 + 2 * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + PLENTY, used + PLENTY))
        signal.alarm(20 * limit)
        told = os.fdopen(os.dup(2), "w")
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            code = work()
        except BaseException:
            traceback.print_exc(file=told)
            told.flush()
            code = FAULTY
        os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"  # it would never have ended
    return VERDICTS[os.WEXITSTATUS(status)]


def _verdict(mutant: Mutant, functions: list[FunctionType], items: list[pytest.Item]) -> int:
    if mutant.path.startswith("iwae_core/data/"):
        mnist._load.cache_clear()
    if not mutate(mutant, functions):
        return AFRESH
    return SURVIVED if all(_passes(*pair) for pair in _in_turn(items)) else KILLED


def mutate(mutant: Mutant, functions: list[FunctionType]) -> bool:
    """Give the functions of a file the code that they have in a mutated one; False if it cannot be done so."""
    file = str(ROOT / mutant.path)
    code = {(c.co_qualname, c.co_firstlineno): c for c in _codes(compile(mutant.source, file, "exec"))}
    changed = False
    for function in functions:
        old = function.__code__
        new = code.get((old.co_qualname, old.co_firstlineno)) if old.co_filename == file else None
        if new is None or _same(old, new):
            continue
        if new.co_freevars != old.co_freevars:
            return False
        function.__code__, changed = new, True
    return changed


def _caches() -> Iterator[Any]:
    """What remembers, of the core and of the tests; but for the digits, which take long to read."""
    kind = type(cache(lambda: None))
    for found in gc.get_objects():
        if type(found) is kind and found.__module__.startswith(("iwae_core", "iwae_lab", "tests", "test_")):
            yield from () if found.__module__ == mnist.__name__ else (found,)


def _of_core(code: CodeType) -> bool:
    return code.co_filename.startswith(CORE)


def _same(old: CodeType, new: CodeType) -> bool:
    return old.replace(co_linetable=b"") == new.replace(co_linetable=b"")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _in_turn(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip_longest(items, items[1:])


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    reports = runtestprotocol(item, log=False, nextitem=following)
    return all(report.passed for report in reports)


@contextmanager
def _noting(entered: set[tuple[str, int]]) -> Iterator[None]:
    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if _of_core(code):
            entered.add((code.co_filename, code.co_firstlineno))

    threading.settrace(note)
    sys.settrace(note)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
