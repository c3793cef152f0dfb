"""The commands and their options."""

import argparse
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from iwae_core.estimators import ESTIMATORS
from iwae_core.models import MODELS
from iwae_core.training.fields import Limits, limits
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab import __version__
from iwae_lab.arguments import PROGRAM, Parser, experiment_options, number_options, train_options
from iwae_lab.paper.groups import GROUPS
from iwae_lab.shipped.manifest import SHIPPED


def parser() -> Parser:
    """The commands and their options, with defaults and limits from the specification."""
    root = Parser(prog=PROGRAM, description="Train and compare multi-sample variational bounds.")
    root.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    named = "demo | train | evaluate | evidence | signal | report | ship | reproduce | sweep | bench"
    commands = root.add_subparsers(required=True, dest="command", metavar=named)
    train_options(commands.add_parser("train", help="train one or more estimators in lockstep"))

    evaluate = commands.add_parser("evaluate", help="bounds of a trained experiment on test images")
    number_options(evaluate, {"k": (limits(ExperimentSpec)["eval_k"], 5000)})
    number_options(evaluate, {"limit": (limits(ExperimentSpec)["eval_images"], 10_000)})

    evidence = commands.add_parser("evidence", help="log p(x) of simulated images between two bounds")
    number_options(evidence, EVIDENCE)

    signal = commands.add_parser("signal", help="signal-to-noise ratio of gradient estimators against k")
    signal.add_argument("--estimator", default="iwae,dreg", help=f"comma list of {', '.join(ESTIMATORS)}")
    signal.add_argument("--k", default="1,8,64", help="comma list of numbers of samples (default 1,8,64)")
    number_options(signal, SIGNAL)

    ship = commands.add_parser("ship", help="store trained models with the program, small")
    ship.add_argument("--name", required=True, help="comma list of names, one for each run of the folder")
    ship.add_argument("--to", type=Path, default=SHIPPED, help="folder of the manifest (default: the program's own)")
    number_options(ship, {"k": (limits(ExperimentSpec)["eval_k"], 5000)})
    number_options(ship, {"limit": (limits(ExperimentSpec)["eval_images"], 1000)})

    reproduce_options(commands.add_parser("reproduce", help="train and evaluate the cells of the paper's tables"))

    sweep_options(commands.add_parser("sweep", help="train every combination of estimators, k, seeds and models"))

    bench = commands.add_parser("bench", help="speed, side by side with other libraries (in a clone of the repository)")
    bench.add_argument("--quick", action="store_true", help="one small size and few rounds: to see that it works")
    bench.add_argument(
        "--peers", default=sys.executable, metavar="PYTHON", help="a Python that has the other libraries"
    )
    bench.add_argument("--cells", nargs="+", type=_cell, metavar="BATCH,K", help="training steps of these sizes only")
    bench.add_argument("--cores", nargs="+", type=_count, metavar="N", help="on so many cores (default: 1, then all)")
    bench.add_argument(
        "--write", action="store_true", help="put what a quiet machine gives into benchmarks/ and the table into README"
    )

    for command in (evaluate, evidence, signal, ship):
        command.add_argument("directory", type=Path, metavar="DIR", help="a folder written by train")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print one JSON object and no progress bar")

    report = commands.add_parser("report", help="an experiment as one HTML file, and its numbers as a table")
    report.add_argument("directory", type=Path, metavar="DIR", help="a folder written by train")
    report.add_argument("--out", type=Path, required=True, metavar="FILE", help="HTML file to write")
    report.add_argument("--csv", type=Path, metavar="FILE", help="CSV file to write as well")
    commands.add_parser("demo", help="serve the page on this machine; its options are those of streamlit run")
    return root


def reproduce_options(reproduce: argparse.ArgumentParser) -> None:
    """Which cells, how much of the paper's training, for how long, and where."""
    reproduce.add_argument("--cells", default="mnist", help=f"comma list of mnist, omniglot, {', '.join(GROUPS)}")
    reproduce.add_argument("--share", type=_share, default=SHARE, help=f"of the paper's training (default {SHARE})")
    here = Path("runs/reproduced")
    reproduce.add_argument(
        "--out", type=Path, default=here, metavar="DIR", help=f"folder of the cells (default {here})"
    )
    adopted = "copies finished trainings of the same experiments from there; may be given several times"
    reproduce.add_argument("--adopt", type=Path, action="append", default=[], metavar="DIR", help=adopted)
    number_options(reproduce, {"hours": (Limits(0.0, 10_000.0, "time for this sitting"), None)})
    number_options(reproduce, {"seed": (limits(ExperimentSpec)["seed"], 0)})
    number_options(reproduce, {"k": (limits(ExperimentSpec)["eval_k"], 5000)})
    number_options(reproduce, {"limit": (limits(ExperimentSpec)["eval_images"], 10_000)})


def _cell(text: str) -> tuple[int, int]:
    batch, k = limits(ExperimentSpec)["batch_size"], limits(RunSpec)["k"]
    with suppress(ValueError):
        images, samples = map(int, text.split(","))
        if batch.allow(images) and k.allow(samples):
            return images, samples
    raise argparse.ArgumentTypeError(f"must be a batch size up to {batch.maximum} and a k, as in 20,50; got {text!r}")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and (count := int(text)) > 0:
        return count
    raise argparse.ArgumentTypeError(f"must be a number of cores, at least 1; got {text!r}")


def sweep_options(sweep: argparse.ArgumentParser) -> None:
    """What is combined, what all members share, and where they are kept."""
    sweep.add_argument("--estimator", default="vae,iwae", help=f"comma list of {', '.join(ESTIMATORS)}")
    sweep.add_argument("--k", default="1,5,50", help="comma list of training k (default 1,5,50)")
    sweep.add_argument("--seed", default="0", help="comma list of seeds (default 0)")
    sweep.add_argument("--model", default="one_layer", help=f"comma list of {', '.join(MODELS)}")
    experiment_options(sweep, without=["seed"])
    sweep.add_argument("--plan", type=Path, metavar="FILE", help="a JSON object of these options, lists for several")
    here = Path("runs/sweep")
    text = f"folder of the sweep; one that holds a part of it goes on (default {here})"
    sweep.add_argument("--out", type=Path, default=here, metavar="DIR", help=text)


def _share(text: str) -> Fraction:
    with suppress(ValueError, ZeroDivisionError):
        if 0 < (share := Fraction(text)) <= 1:
            return share
    raise argparse.ArgumentTypeError(f"must be a share of the paper's training such as 1/30, at most 1; got {text!r}")


SHARE = Fraction(1, 30)
SIGNAL = {
    "images": (Limits(2, 1000, "test images of one minibatch"), 20),
    "repeats": (Limits(2, 100_000, "repetitions of each gradient"), 100),
}
EVIDENCE = {
    "images": (Limits(1, 1000, "simulated images"), 10),
    "chains": (Limits(1, 1000, "annealed chains for each image, in each direction"), 8),
    "temperatures": (Limits(1, 100_000, "steps from q(h | x) to the posterior"), 300),
}
