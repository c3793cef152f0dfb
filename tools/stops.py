"""`make faults`, after the hostile clients: how soon Stop, deaths and signals are over, amid the heaviest work.

Each of `HEAVIEST` is started on an engine of worker processes and stopped while it computes; workers are killed and
frozen; then servers that train are told to end, and one is killed. Exit code 1 if a figure is missed.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.classroom import Session, laboratory
from iwae_core.training.events import Progress
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines import Engine, open_engine
from iwae_lab.engines.local import WorkerProcesses
from iwae_lab.engines.protocol import Stop
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG
from iwae_lab.records.log import LogReader
from tools.server import children, seconds_used, served

PORT = 8742
Told = tuple[str, float, float, str]  # what was done, seconds that took, seconds it may take, and what else is wrong


def _heavy(estimator: str, k: int, model: str, batch_size: int, evaluation: tuple[int, int] = (2, 1)) -> ExperimentSpec:
    runs = (RunSpec(estimator, k, model, backward="all"),) * 4
    return ExperimentSpec(runs=runs, batch_size=batch_size, eval_images=evaluation[0], eval_k=evaluation[1])


HEAVIEST = {
    "a step of four two-layer runs, k = 5,000, batch 100": _heavy("iwae", 5000, "two_layer", 100),
    "a step of four two-layer runs, k = 500, batch 1,000": _heavy("dreg", 500, "two_layer", 1000),
    "a step of four sigmoid belief networks, k = 5,000, batch 34": _heavy("vimco", 5000, "sbn_3", 34),
    "an evaluation of 10,000 images with k = 10,000": _heavy("iwae", 1, "two_layer", 1, (10_000, 10_000)),
}
LIGHT = ExperimentSpec(runs=(RunSpec("iwae", 1),), batch_size=1, steps=1_000_000, eval_images=2, eval_k=1)
SMALL = "runs=iwae&k=1&batch_size=1&steps=1000000&eval_images=2&eval_k=1"
ADDRESSES = {
    "a step of four two-layer runs, k = 5,000": "runs=iwae,iwae,iwae,iwae&k=5000&model=two_layer&eval_k=1",
    "an evaluation of 10,000 images with k = 10,000": "eval_images=10000&eval_k=10000",
    "small steps": SMALL,
}


def _until(condition: Callable[[], bool], look: Callable[[], None] = lambda: None) -> float:
    """Seconds until it holds."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + 300:
            raise TimeoutError("it does not come to that")
        look()
        time.sleep(0.01)
    return time.monotonic() - begun


def _started(engine: Engine, spec: ExperimentSpec) -> tuple[str, int, Callable[[], None]]:
    """A run, its worker, and how to watch it."""
    run, backend = engine.submit(spec), engine.backend
    assert isinstance(backend, WorkerProcesses)
    _until(lambda: run in backend._workers, lambda: engine.touch(run))
    return run, backend._workers[run].process.pid, lambda: engine.touch(run)


def stopped(engine: Engine, spec: ExperimentSpec) -> float:
    """Seconds from Stop until the processor is free and the run has ended, in the middle of its first heavy work."""
    run, worker, watch = _started(engine, spec)
    _until(lambda: engine.history(run).length >= (spec.eval_images == 2), watch)
    used = seconds_used(worker)
    _until(lambda: seconds_used(worker) > used + 2.0, watch)
    engine.send(run, Stop())
    return _until(lambda: not engine.state(run).active, watch)


def revived(engine: Engine, how: signal.Signals) -> float:
    """Seconds from a signal to a worker until its run goes on from its checkpoint."""
    run, worker, watch = _started(engine, LIGHT)
    _until((engine.folder / run / CHECKPOINT).exists, watch)
    os.kill(worker, how)
    seconds = _until(lambda: engine.restarts(run) == 1 and engine.history(run).step > engine.revived_at(run), watch)  # type: ignore[operator]
    engine.send(run, Stop())
    _until(lambda: not engine.state(run).active)
    return seconds


async def ended(query: str, how: signal.Signals) -> tuple[float, str]:
    """Seconds from a signal to a server that trains until neither it nor a worker is left, and what is wrong then."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), PORT) as server:
        async with laboratory(f"127.0.0.1:{PORT}", "") as socket:
            session = Session(socket)
            await session.draw(query)
            await session.draw(query, "Train")
            while not (logs := list(Path(folder).glob(f"*/{LOG}"))):
                await asyncio.sleep(0.1)
            await asyncio.sleep(8)  # in the middle of it; where steps are light, a first checkpoint is behind it
            workers, begun = children(server.pid), time.monotonic()
            server.send_signal(how)
            code = await asyncio.to_thread(server.wait, 60)
            seconds = time.monotonic() - begun + _until(lambda: not any(map(_lives, workers)))
        told = sum(isinstance(record.event, Progress) for record in LogReader(logs[0]).new())
        saved = logs[0].with_name(CHECKPOINT)
        at = checkpoint.load(saved)["step"] if saved.exists() else 0  # what has made no step begins at its beginning
        wrong = [f"exit code {code}"] if code != (0 if how is signal.SIGTERM else -how) else []
        return seconds, ", ".join([*wrong, f"{told} steps told, {at} saved"] if wrong or at != told else [])


def _lives(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def all_of_it() -> Iterator[Told]:
    """One after the other."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine("local", Path(folder))
        for name, spec in HEAVIEST.items():
            yield f"Stop in {name}", stopped(engine, spec), 2.0, ""
        yield "kill -9 of a worker: its run goes on", revived(engine, signal.SIGKILL), 5.0, ""
        yield "SIGSTOP of a worker: its run goes on", revived(engine, signal.SIGSTOP), 15.0, ""
        engine.close()
    for name, query in ADDRESSES.items():
        seconds, wrong = asyncio.run(ended(query, signal.SIGTERM))
        yield f"SIGTERM of a server in {name}", seconds, 10.0, wrong
    seconds, wrong = asyncio.run(ended(SMALL, signal.SIGKILL))
    yield "kill -9 of a server: no process is left", seconds, 1.0, wrong


def main() -> int:
    """Tell how it went."""
    bad = 0
    for name, seconds, most, wrong in all_of_it():
        bad += seconds > most or bool(wrong)
        print(f"{name}: {seconds:.2f} s of {most:.0f} s{', ' if wrong else ''}{wrong}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
