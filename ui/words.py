"""All prose of the page, and the sentences that state what a reading shows."""

from iwae_core.estimators import ESTIMATORS
from iwae_core.figures import Reading
from iwae_core.history import Estimate, History
from iwae_core.models import MODELS
from iwae_core.spec import ExperimentSpec

TITLE = "Why is the importance weighted bound better?"
QUESTION = (
    "Draw k samples of the latent variables of an image from q and weigh each, "
    r"$w_i = p_\theta(x, h_i) / q_\phi(h_i \mid x)$. With the same samples, at the same cost, two formulas look alike: "
    "average the logs, or take the log of the average. Train a variational autoencoder on each and watch what differs."
)
EQUATIONS = (
    r"\underbrace{\tfrac1k\textstyle\sum_i \log w_i}_{\text{minibatch ELBO (dashed)}}"
    r"\;\le\;\underbrace{\log \tfrac1k\textstyle\sum_i w_i}_{\text{estimates } L_k \text{ (solid)}}"
)
SETTINGS = "Settings of your own experiment"
SETTINGS_NOTE = (
    "All models start from the same weights and see the same images, binarisation and noise. "
    "Equal k is about equal cost: VAE averages k samples, IWAE weighs them."
)
TRAINED_BY = "trained by"
TRAINED_BY_HELP = "Up to four gradient estimators, each training a model of its own. README tells what each climbs."
MODEL = "model"
TRAINING_K_HELP = "Samples per image in training. Different from view k, which only moves the marker on the plot."
PLOT_HEADING = "Both bounds of each model on held-out digits, as k varies"
CURVES_HEADING = "Training curves"
CURVES_NOTE = "Each minibatch's own k samples, averaged over short windows."
DIGITS_HEADING = "What the models learned"
VIEW_K = "view k"
VIEW_K_HELP = "Reads both bounds at another k from the same samples. It starts no work and changes no training."
PRECISION = (
    "± and the bands are two standard errors over held-out digits. The bands are wide because digits differ, for all "
    "models alike; differences are paired (same digits, same noise) and far more certain."
)
RECORDED = "Recorded experiment"
NO_EVALUATION = "The first evaluation is on its way."
WORSE_ELBO = (
    "$L_k$ asks that some of the k samples explain the digit, the ELBO that all of them do. So q spreads out: "
    "alone it is a worse posterior, with its weights a better one. Its ELBO misjudges such a model."
)
INTERRUPTED = "This experiment ended unexpectedly: its worker process is gone. What it had reported is below."
LOADING_WORKER = "Starting"


def describe(spec: ExperimentSpec) -> str:
    """What was trained, in one phrase."""
    runs = " and ".join(f"{run.label} (k = {run.k})" for run in spec.runs)
    size = f"{spec.steps:,} steps of {spec.batch_size} images"
    models = ", ".join(dict.fromkeys(MODELS[run.model].label for run in spec.runs))
    return f"{runs}, {models}, {size}, learning rate {spec.learning_rate:g}, seed {spec.seed}"


def time_left(history: History) -> str:
    """Speed and remaining time, as far as they are known."""
    speed = history.steps_per_second()
    if history.spec is None or speed is None:
        return LOADING_WORKER
    seconds = (history.spec.steps - history.step) / speed
    left = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return f"{speed:.3g} steps/s, {left} left"


def plus_minus(value: Estimate, sign: bool = False) -> str:
    """Mean and two standard errors, with a true minus sign."""
    text = f"{float(value.mean):{'+' if sign else ''}.2f}".replace("-", "\u2212")
    return f"{text} ± {2 * float(value.stderr):.2f}"


def readout(reading: Reading) -> str:
    """The numbers at the marker, as a Markdown table."""
    runs = reading.spec.runs
    first, last = runs[0].label, runs[-1].label
    rows = [f"| at k = {reading.k:,} | $L_k$ | ELBO | $L_k$ − ELBO |", "|:--|--:|--:|--:|"]
    for run, iwae, elbo, gain in zip(runs, reading.iwae, reading.elbo, reading.gain, strict=True):
        rows.append(f"| {run.label} | {plus_minus(iwae)} | {plus_minus(elbo)} | {plus_minus(gain, True)} |")
    if len(runs) > 1:
        leads = f"{plus_minus(reading.iwae_lead, True)} | {plus_minus(reading.elbo_lead, True)}"
        rows.append(f"| {last} − {first} | {leads} | |")
    return "\n".join(rows)


def findings(reading: Reading) -> list[str]:
    """What the numbers at the marker mean, one sentence for each comparison; claims nothing they do not show."""
    if reading.k == 1:
        formulas = "At k = 1 the two formulas are the same number. Move view k to the right to see them part."
    else:
        gains = " and ".join(
            f"{float(gain.mean):.1f} nats for the {run.label} model"
            for run, gain in zip(reading.spec.runs, reading.gain, strict=True)
        )
        formulas = (
            f"**One model, two formulas** (dashed to solid of one colour): from the same {reading.k:,} samples, the "
            f"log of the average is higher by {gains}. More samples never move the dashed line: they make a less noisy "
            "estimate of the same number. They lift the solid line towards log p(x)."
        )
    if len(reading.spec.runs) < 2:
        return [formulas]
    first, last = reading.spec.runs[0].label, reading.spec.runs[-1].label
    fit = (
        f"**Two models, one yardstick** (solid to solid): {_lead(reading.iwae_lead, first, last)} at "
        f"k = {reading.k:,}. Only a large k comes close to log p(x), so compare models at the right end."
    )
    own = f"**The ELBO of the {last} model** (dashed to dashed): {_lead(reading.elbo_lead, first, last)}."
    climbs_l_k = ESTIMATORS[reading.spec.runs[-1].estimator].item.theta == "L_k"
    if climbs_l_k and _clear(reading.elbo_lead) and reading.elbo_lead.mean < 0:
        own += " " + WORSE_ELBO
    return [formulas, fit, own]


def _clear(lead: Estimate) -> bool:
    """Whether a difference exceeds three standard errors."""
    return bool(abs(lead.mean) > 3 * lead.stderr)


def _lead(lead: Estimate, first: str, last: str) -> str:
    if not _clear(lead):
        return f"{last} and {first} cannot be told apart ({plus_minus(lead, True)} nats)"
    side = "ahead" if lead.mean > 0 else "behind"
    return f"{last} is {side} by {plus_minus(Estimate(abs(lead.mean), lead.stderr))} nats"


def chart_summary(reading: Reading | None) -> str:
    """The bound plot in one sentence, for readers who do not see it."""
    if reading is None:
        return NO_EVALUATION
    parts = [
        f"{run.label} model: L_k {float(iwae.mean):.1f}, ELBO {float(elbo.mean):.1f}"
        for run, iwae, elbo in zip(reading.spec.runs, reading.iwae, reading.elbo, strict=True)
    ]
    return f"Bounds on held-out digits against k. At k = {reading.k}: {'; '.join(parts)} nats per image."


def curves_summary(history: History) -> str:
    """The training curves in one sentence, for readers who do not see them."""
    if history.spec is None or not history.step:
        return "Training curves: no step has been made yet."
    runs, last = len(history.spec.runs), history.progress[-1]
    parts = [
        f"{run.label}: L_k {last[2 + runs + i]:.1f}, ELBO {last[2 + i]:.1f}" for i, run in enumerate(history.spec.runs)
    ]
    return f"Training curves to step {history.step}. Last minibatch, {'; '.join(parts)} nats per image."
