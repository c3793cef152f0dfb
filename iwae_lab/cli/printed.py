"""What the command line prints: a dictionary for programs, a table for people."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from iwae_core.data import DATASETS
from iwae_core.evaluation.estimate import estimate
from iwae_core.evaluation.held_out import Curves
from iwae_core.training.events import Swapped
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.history.history import History
from iwae_lab.history.verdict import Verdict, verdicts
from iwae_lab.paper.cells import PAPER
from iwae_lab.paper.results import Result
from iwae_lab.sweeping.members import Row
from iwae_lab.words import headline

EVIDENCE_K = 5000
CLEAR = "\r\033[K"  # of the bar that stands in this line


def training_summary(history: History, spec: ExperimentSpec) -> dict[str, Any]:
    """Steps, seconds and the last evaluation of each run, with its lead over the first."""
    last, leads = history.snapshots[-1], [{}, *map(_lead, verdicts(history))]
    return {
        "steps": history.step,
        "seconds": history.seconds,
        "runs": [
            describe(run_spec, [swap for swap in history.swaps if swap.run == index])
            | {
                "elbo": float(estimate(last.elbo[index]).mean),
                f"L_{spec.eval_k}": float(estimate(last.iwae[index, -1]).mean),
            }
            | lead
            for index, (run_spec, lead) in enumerate(zip(spec.runs, leads, strict=True))
        ],
    }


def _lead(verdict: Verdict) -> dict[str, Any]:
    since = verdict.since and verdict.since._asdict()
    return {"lead": float(verdict.lead.mean), "lead_stderr": float(verdict.lead.stderr), "certain_since": since}


def describe(run_spec: RunSpec, swaps: Sequence[Swap | Swapped]) -> dict[str, Any]:
    """How a run began and what it was swapped to."""
    later = [{"step": swap.step, "estimator": swap.estimator, "k": swap.k} for swap in swaps]
    began = {"estimator": run_spec.estimator, "k": run_spec.k, "model": run_spec.model}
    return began | run_spec.settings | {"swaps": later}


def about_data(spec: ExperimentSpec) -> dict[str, str]:
    """Which images a model was trained on, and how they were binarised."""
    return {"dataset": spec.dataset, "binarisation": spec.binarisation}


def curve_summary(ks: Sequence[int], curves: Curves) -> dict[str, Any]:
    """Test NLL and both bounds at every k, means over images with one standard error each, in nats."""
    iwae, elbo = estimate(curves.iwae.numpy()), estimate(curves.elbo.numpy())
    return {
        "nll": -float(iwae.mean[-1]),
        "nll_stderr": float(iwae.stderr[-1]),
        "elbo": float(elbo.mean),
        "curve": {
            "k": list(ks),
            "iwae": iwae.mean.tolist(),
            "iwae_stderr": iwae.stderr.tolist(),
            "elbo": [float(elbo.mean)] * len(ks),
            "elbo_stderr": [float(elbo.stderr)] * len(ks),
        },
    }


def evaluation_table(result: dict[str, Any]) -> Iterator[str]:
    """The result of `evaluate` in lines; its errors doubled, as everywhere where people read them."""
    size = f"{result['images']} test images, {result['samples']} samples each"
    yield f"{DATASETS[result['dataset']].label}, {result['binarisation']} binarisation"
    yield f"{size}, after {result['step']:,} training steps; nats per image, +- two standard errors"
    yield f"{'estimator':>16} {'k':>7} {'test NLL':>18} {'ELBO':>9} {'active units':>13} {'lead over the first':>20}"
    for row in result["runs"]:
        nll = f"{row['nll']:.2f} +- {2 * row['nll_stderr']:.2f}"
        active = "+".join(map(str, row["active_units"]))
        lead = "" if row is result["runs"][0] else f"{row['lead']:+.2f} +- {2 * row['lead_stderr']:.2f}"
        yield f"{_stages(row)} {nll:>18} {row['elbo']:>9.2f} {active:>13} {lead:>20}"


def evidence_table(result: dict[str, Any]) -> Iterator[str]:
    """The result of `evidence` in lines."""
    yield f"{result['images']} images simulated from each model, nats per image"
    yield f"{'estimator':>16} {'k':>7} {'log p(x) between':>22} {f'L_{EVIDENCE_K}':>9}"
    for row in result["runs"]:
        between = f"{row['lower']:.2f} and {row['upper']:.2f}"
        yield f"{_stages(row)} {between:>22} {row[f'L_{EVIDENCE_K}']:>9.2f}"


def signal_table(result: dict[str, Any]) -> Iterator[str]:
    """The result of `signal` in lines."""
    yield f"signal-to-noise ratio of the gradient, median over its parameters, from {result['repeats']} repetitions"
    yield f"about {0.67 / result['repeats'] ** 0.5:.2g} is what noise alone shows"
    yield f"{'trained by':>16} {'k':>7} {'estimator':>20} {'k':>5} {'decoder':>9} {'encoder':>9}"
    for row in result["runs"]:
        for signal in row["signal"]:
            ratios = f"{signal['theta']:>9.3f} {signal['phi']:>9.3f}"
            yield f"{_stages(row)} {signal['estimator']:>20} {signal['k']:>5} {ratios}"


def reproduced_table(results: Iterable[Result]) -> Iterator[str]:
    """Results beside the paper's, in lines."""
    yield "+- is two standard errors over test images"
    yield f"{'':>32} {'test NLL':>16} {'paper':>7} {'active':>7} {'paper':>7} {'ELBO':>8} {'lead':>16}"
    place = ""
    for found in results:
        if place != (place := found.cell.place):
            yield place
        paper, nll = PAPER[found.cell], f"{found.nll:.2f} +- {2 * found.nll_stderr:.2f}"
        active, reported = ("+".join(map(str, units)) for units in (found.active_units, paper.active_units))
        lead = f"{found.lead:+.2f} +- {2 * found.lead_stderr:.2f}" if found.lead and found.lead_stderr else ""
        counts = f"{nll:>16} {paper.nll:>7.2f} {active:>7} {reported:>7} {found.elbo:>8.2f} {lead:>16}"
        yield f"{found.cell.label.replace('→', '>'):>32} {counts}"


def sweep_table(rows: Iterable[Row]) -> Iterator[str]:
    """The members of a sweep in lines."""
    yield "L_k at the largest k that was evaluated and the ELBO, nats per held-out image, +- two standard errors"
    yield f"{'estimator':>16} {'k':>6} {'seed':>5} {'model':>14} {'state':>12} {'step':>10} {'L_k':>18} {'ELBO':>18}"
    for row in rows:
        found = [(row.l_k, row.l_k_stderr), (row.elbo, row.elbo_stderr)]
        values = ("" if stderr is None else f"{mean:.2f} +- {2 * stderr:.2f}" for mean, stderr in found)
        began = f"{row.estimator:>16} {row.k:>6} {row.seed:>5} {row.model:>14} {row.state:>12} {row.step:>10,}"
        yield " ".join([began, *(f"{value:>18}" for value in values)])


def _stages(row: dict[str, Any]) -> str:
    estimators, ks = (">".join(str(stage[name]) for stage in (row, *row["swaps"])) for name in ("estimator", "k"))
    return f"{estimators:>16} {ks:>7}"


def show_headline(history: History) -> None:
    """After an evaluation: how far each run is ahead of the first, and whether that is certain."""
    for verdict, text in headline.told(history, formulas=False):
        print(
            f"{CLEAR if sys.stderr.isatty() else ''}step {history.step:,}: {headline.lead(verdict)}. {text}", flush=True
        )


def show_progress(unit: str, done: int, total: int, quiet: bool, more: str = "") -> None:
    """A bar on a terminal; nothing elsewhere."""
    if not quiet and sys.stderr.isatty():
        filled = 30 * done // total
        bar = f"\r[{'#' * filled}{'.' * (30 - filled)}] {unit} {done}/{total}{more}"
        print(bar, end="", file=sys.stderr, flush=True)
