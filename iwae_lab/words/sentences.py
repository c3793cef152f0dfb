"""What the laboratory says, in two dialects: its fixed texts, and the sentences that state what a reading shows.

Texts hold `{names}` of `iwae_lab.words.glossary.TERMS`, which `say` replaces by the words of one dialect.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from iwae_core.data import DATASETS
from iwae_core.estimators import ESTIMATORS, Target, UnsupportedError
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.evaluation.estimate import Estimate
from iwae_core.models import MODELS
from iwae_core.training.events import Closeup, Swapped
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, Swap
from iwae_core.training.starts import RANDOM, STARTS
from iwae_lab.history.history import History
from iwae_lab.history.reading import Reading
from iwae_lab.words.glossary import TERMS as TERMS
from iwae_lab.words.glossary import Dialect as Dialect
from iwae_lab.words.glossary import say as say
from iwae_lab.words.numbers import duration, minus, plus_minus
from iwae_lab.words.opening import TITLE as TITLE

QUESTION = (
    "Take k {draws} of the {h} of an image from the {q} and weigh each, "
    r"$w_i = p_\theta(x, h_i) / q_\phi(h_i \mid x)$. With the same {draws}, at the same cost, two formulas look alike: "
    "average the logs, or take the log of the average. Train a variational autoencoder on each and watch what differs."
)
EQUATIONS = (
    r"\underbrace{\tfrac1k\textstyle\sum_i \log w_i}_{\text{minibatch ELBO (dashed)}}"
    r"\;\le\;\underbrace{\log \tfrac1k\textstyle\sum_i w_i}_{\text{estimates } L_k \text{ (solid)}}"
)
SETTINGS_BUTTON = "Settings"
STORY = "Why? In five sentences"
EXAMPLES = "Examples"
SETTINGS_HIDDEN = "This link hides the settings, so nothing new is trained from it."
SETTINGS = "Settings of your own experiment"
TRAINED_BY = "trained by"
MODEL = "model"
START = "start from"
TRAINING_K_HELP = "Samples per image in training. Different from view k, which only moves the marker on the plot."
BACKWARD_HELP = (
    "The weights leave few of k samples alive. Going back through those that count alone gives the same gradient on "
    "average, with less than a thousandth more variance, in about half the time at k = 50. The training curves show "
    "how many rows are kept; the lesson on the price of a bound shows why."
)
SWAP_HELP = "Changes the objective of one run while it trains; its weights and the optimiser's moments continue."
RESET_HELP = "Ends this run and goes back to the recorded experiment. Your settings stay."
GO_ON_HELP = "Trains on from the last saved state."
VIEW_K = "view k"
VIEW_K_HELP = "Reads both bounds at another k from the same samples. It starts no work and changes no training."
PANEL_HEADING = "What the models learned"
WHOSE_WORDS = "whose words"
WHOSE_WORDS_HELP = "The same things have other names in statistics and in deep learning."
SWEEP_TITLE = "How many samples should training use?"
SWEEP_IDEA = (
    "Each k below trains models of its own. All are judged by the same yardstick, $L_k$ at one large k on the same "
    "{held_out}, as in the paper's Table 1: there the VAE gains 0.4 nats from k = 1 to 50, the IWAE 2.0."
)
SWEEP_KS = "training k"
SWEEP_SEEDS = "seeds for each k"
SWEEP_TOO_LARGE = (
    "That would be a sweep of {count} experiments, and you may have {allowed} unfinished ones here: choose fewer, or "
    "ask whoever runs this server to raise IWAE_PER_VISITOR."
)
SWEEP_LABEL = "Bounds against training k"
SWEEP_RECORDED = (
    "**Recorded**: the models that come with the program, {steps} steps each. With k = 1 both objectives are the same. "
    "Your own sweep trains one experiment for each k, the smallest first, as many at a time as this machine has "
    "workers; points appear as they are evaluated."
)
PAPER_HEADING = "Beside the paper"
PAPER_NOTE = (
    "Each cell of the paper's tables on MNIST: open, what it reports; filled, ours, of the same networks on a part of "
    "its schedule (`iwae reproduce`). Shorter training costs all models some nats. Compare within a row: the IWAE is "
    "ahead of the VAE, and by more the larger k is. The bars say how much images differ, and these are the same for "
    "all models; point at an IWAE to see its lead, which is far surer."
)
NO_STEP = "While a run goes on, Step makes one training step and Slow one every few seconds: each is shown here."
BESIDE = {"curves": "Training curves", "step": "One step"}
FLOW = {
    "image": "one image",
    "q": "q",
    "draws": "{draws} by log w; their pull",
    "averages": "averages, nats",
    "elbo": "of the logs",
    "bound": "log of average",
    "tip": "{label}, {draw} {number}: log w {before} → {after}; pull {pull}",
}
READ_ONLY = "You are watching this experiment; whoever started it controls it."
SETTINGS_HIDDEN = "This link hides the settings, so nothing new is trained from it."
SETTINGS_NOTE = (
    "All models start from the same weights and see the same images, binarisation and noise. "
    "Equal k is about equal cost: VAE averages k {draws}, IWAE weighs them."
)
PRECISION = (
    "± and the bands are two standard errors over {held_out}. The bands are wide because images differ, for all "
    "models alike; differences are paired (same images, same noise) and far more certain."
)
RECORDED = "Recorded experiment"
WORSE_ELBO = (
    "$L_k$ asks that some of the k {draws} explain the image, the ELBO that all of them do. So the {q} spreads out: "
    "alone it is a worse {posterior}, with its weights a better one. Its ELBO misjudges such a model."
)
INTERRUPTED = "Its worker process is gone. What it had reported is below; Go on resumes it from its last saved state."
UNWATCHED = "Paused because nobody was watching; it goes on now."
STOPPING = "Its last good state is being saved."
REVIVED = "Its worker process, or the machine that had it, is gone; it went on by itself from step {step:,}."
ELSEWHERE = "Another server on the same folder of runs takes care of this one; control it there."
LOADING_WORKER = "Starting"
IN_SLOW_MOTION = "in slow motion"
PROJECT = "Project"
LEAVE_PROJECTOR = "Leave the projector"
WATCH_LINK = "This, to watch in class: a page of its own, light enough for a hundred phones; polls appear there"
POLL_NEEDS_RUN = "Press Train, then Pause, and ask the class what will happen: a poll belongs to a run."
HERE_ALONE = "Only this computer reaches this address: open the page by the computer's name in the network."


def describe(spec: ExperimentSpec, swaps: Sequence[Swapped | Swap] | None = None) -> str:
    """What was trained, in one phrase, with the swaps that were made, or those planned if they are not told."""
    later: list[list[str]] = [[] for _ in spec.runs]
    for swap in spec.swaps if swaps is None else swaps:
        later[swap.run].append(f", from step {swap.step:,} {ESTIMATORS[swap.estimator].label} (k = {swap.k})")
    runs = " and ".join(
        f"{run.label} (k = {run.k}){''.join(swapped)}" for run, swapped in zip(spec.runs, later, strict=True)
    )
    size = f"{spec.steps:,} steps of {spec.batch_size} images"
    models = ", ".join(dict.fromkeys(MODELS[run.model].label for run in spec.runs))
    start = "" if spec.start == RANDOM else f" from the {STARTS[spec.start].label},"
    size += f" of {DATASETS[spec.dataset].label}" if spec.dataset != ExperimentSpec.dataset else ""
    size += f", {spec.binarisation} binarisation" if spec.binarisation != ExperimentSpec.binarisation else ""
    size += "".join(f", back through {BACKWARDS[rows].label}" for rows in {run.backward for run in spec.runs} - {"all"})
    return f"{runs}, {models},{start} {size}, learning rate {spec.learning_rate:g}, seed {spec.seed}"


def refusal(error: SpecError | UnsupportedError) -> str:
    """Why settings cannot be used, in the words of the page and not of the code."""
    cause = error if isinstance(error, UnsupportedError) else error.__cause__
    if not isinstance(cause, UnsupportedError):
        return str(error)
    label, instead = ESTIMATORS[cause.name].label, ESTIMATORS[cause.instead].label
    return f"{label} needs {cause.needs}; choose {instead} in its place"


def status(history: History, spec: ExperimentSpec, state: str, position: int | None = None, slow: bool = False) -> str:
    """What a run is doing and how far it is, in one line."""
    if position is not None:
        return f"Queued: number {position} in line. It begins as soon as a worker is free."
    text = f"{state.capitalize()}: step {history.step:,} of {spec.steps:,}"
    if state != "running":
        return text
    return f"{text} · {IN_SLOW_MOTION if slow else time_left(history)}"


def time_left(history: History) -> str:
    """Speed and remaining time, as far as they are known."""
    speed = history.steps_per_second()
    if history.spec is None or speed is None:
        return LOADING_WORKER
    seconds = (history.spec.steps - history.step) / speed
    return f"{speed:.3g} steps/s, {duration(seconds)} left"


def readout(reading: Reading) -> list[list[str]]:
    """The numbers at the marker as a table: its head in Markdown, its rows in plain text."""
    labels = reading.labels
    rows = [[f"at k = {reading.k:,}", "$L_k$", "ELBO", "$L_k$ − ELBO"]]
    for label, iwae, elbo, gain in zip(labels, reading.iwae, reading.elbo, reading.gain, strict=True):
        rows.append([label, plus_minus(iwae), plus_minus(elbo), plus_minus(gain, True)])
    for label, *leads in zip(labels[1:], reading.iwae_leads[1:], reading.elbo_leads[1:], strict=True):
        rows.append([f"{label} − {labels[0]}", *(plus_minus(lead, True) for lead in leads), ""])
    return rows


def findings(reading: Reading, dialect: Dialect = Dialect.STATISTICS) -> list[str]:
    """What the numbers at the marker mean, one sentence for each comparison; claims nothing they do not show."""
    return [say(text, dialect) for text in _findings(reading)]


def _findings(reading: Reading) -> list[str]:
    if reading.k == 1:
        formulas = "At k = 1 the two formulas are the same number. Move view k to the right to see them part."
    else:
        gains = " and ".join(
            f"{float(gain.mean):.1f} nats for the {label} model"
            for label, gain in zip(reading.labels, reading.gain, strict=True)
        )
        formulas = (
            f"**One model, two formulas** (dashed to solid of one colour): from the same {reading.k:,} {{draws}}, the "
            f"log of the average is higher by {gains}. More {{draws}} never move the dashed line: they make a less "
            "noisy estimate of the same number. They lift the solid line towards the {evidence}."
        )
    if len(reading.labels) < 2:
        return [formulas]
    first, *others = reading.labels
    models = "Two models" if len(others) == 1 else f"Models beside {first}"
    leads = [_lead(lead, first, label) for label, lead in zip(others, reading.iwae_leads[1:], strict=True)]
    fit = (
        f"**{models}, one yardstick** (solid to solid) at k = {reading.k:,}: {'; '.join(leads)}. "
        "Only a large k comes close to log p(x), so compare models at the right end."
    )
    return [formulas, fit, *_of_elbos(reading)]


def _of_elbos(reading: Reading) -> Iterator[str]:
    """What the ELBOs of the runs say of each other; why such a model is better than its ELBO, once."""
    first, told = reading.labels[0], False
    for label, run, lead in list(zip(reading.labels, reading.runs, reading.elbo_leads, strict=True))[1:]:
        text = f"**The ELBO of the {label} model** (dashed to dashed): {_lead(lead, first, label)}."
        misjudged = ESTIMATORS[run.estimator].theta is Target.L_K and _clear(lead) and bool(lead.mean < 0)
        yield f"{text} {WORSE_ELBO}" if misjudged and not told else text
        told |= misjudged


def _clear(lead: Estimate) -> bool:
    """Whether a difference exceeds three standard errors."""
    return bool(abs(lead.mean) > 3 * lead.stderr)


def _lead(lead: Estimate, first: str, last: str) -> str:
    if lead.mean == lead.stderr == 0:
        return f"{last} and {first} are the same model, to the last digit"
    if not _clear(lead):
        return f"{last} and {first} cannot be told apart ({plus_minus(lead, True)} nats)"
    side = "ahead" if lead.mean > 0 else "behind"
    return f"{last} is {side} by {plus_minus(Estimate(abs(lead.mean), lead.stderr))} nats"


def step_told(labels: Sequence[str], seen: Closeup) -> str:
    """One training step on one image: how many of its draws each run pulls on, and what becomes of both averages."""
    told = []
    for label, bounds, pull in zip(labels, seen.bounds, seen.pulls, strict=True):
        known = np.abs(pull[np.isfinite(pull)])
        spread = known.sum() ** 2 / np.square(known).sum() if known.any() else 0.0
        moves = [f"{minus(before, 1)} {minus(after - before, 2, '+')}" for before, after in bounds]
        told.append(
            f"{label} pulls as on {spread:.1f} of {len(known)} {{draws}}, at most by {known.max(initial=0):.2f}: "
            f"average of the logs {moves[0]}, log of the average {moves[1]}"
        )
    return f"Step {seen.step:,} for one image, in nats. {'; '.join(told)}."
