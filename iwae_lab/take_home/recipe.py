"""Python that repeats an experiment."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from iwae_core.training.spec import SETTINGS, ExperimentSpec, RunSpec, Swap, changed
from iwae_core.training.starts import RANDOM
from iwae_lab.history.history import History


def performed(history: History) -> ExperimentSpec:
    """The specification with every swap that was made, also those nobody had planned: what repeats this experiment.

    Raises:
        ValueError: nothing has begun.
        SpecError: the log names an estimator that there is not.
    """
    if history.spec is None:
        raise ValueError("got a history without its beginning, which says what is trained; wait for the first event")
    made = [Swap(run=swap.run, step=swap.step, estimator=swap.estimator, k=swap.k) for swap in history.swaps]
    return replace(history.spec, swaps=(*made, *(swap for swap in history.spec.swaps if swap not in made)))


def snippet(spec: ExperimentSpec) -> str:
    """Python that repeats the experiment and prints its final bounds, with the settings that are not defaults."""
    swap = ["Swap"] if spec.swaps else []
    names = ["ExperimentSpec", "RunSpec", "Snapshot", *swap, "estimate", "prepare_process", "train"]
    shipped = STARTS_IMPORT if spec.start != RANDOM else ""
    return SNIPPET.format(shipped=shipped, names=", ".join(names), arguments="".join(_arguments(spec)))


STARTS_IMPORT = "import iwae_lab  # it brings the trained models along, to start from\n"
SNIPPET = """\
{shipped}from iwae_core import {names}

spec = ExperimentSpec(
{arguments})
prepare_process()
for event in train(spec):
    if isinstance(event, Snapshot):
        last = event
for run, iwae, elbo in zip(spec.runs, last.iwae, last.elbo):
    bound, stderr = estimate(iwae[-1])
    print(f"{{run.label}}: L_{{spec.eval_k}} {{bound:.2f}} ± {{2 * stderr:.2f}}, ELBO {{estimate(elbo).mean:.2f}} nats")
"""


def _arguments(spec: ExperimentSpec) -> Iterator[str]:
    yield from _tuple("runs", [_run(run) for run in spec.runs])
    for name, value in changed(spec, [f.name for f in fields(spec) if f.name not in ("runs", "swaps")]).items():
        yield f"    {name}={_literal(value)},\n"
    if spec.swaps:
        swaps = [{f.name: getattr(swap, f.name) for f in fields(swap)} for swap in spec.swaps]
        yield from _tuple("swaps", [f"Swap({_keywords(swap)})" for swap in swaps])


def _tuple(name: str, items: list[str]) -> Iterator[str]:
    yield f"    {name}=(\n"
    yield from (f"        {item},\n" for item in items)
    yield "    ),\n"


def _run(run: RunSpec) -> str:
    others = _keywords(changed(run, ["model", *SETTINGS, "backward"]))
    return f"RunSpec({_literal(run.estimator)}, {run.k}{', ' if others else ''}{others})"


def _keywords(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in values.items())


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
