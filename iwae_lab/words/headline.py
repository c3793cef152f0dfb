"""The answer in one number and one sentence, in plain text or with its bounds as formulas."""

from collections.abc import Iterator, Sequence

from iwae_core.estimators import ESTIMATORS, Target
from iwae_core.evaluation.sequential import LEAST, LEVEL
from iwae_core.training.starts import RANDOM
from iwae_lab.history.history import History
from iwae_lab.history.labels import chains
from iwae_lab.history.verdict import Verdict, verdicts
from iwae_lab.words.numbers import duration, minus, plus_minus

CERTAIN = (
    f"Certain: more than {LEAST:g} nats, which other noise alone does not make, with an error of at most "
    f"{100 * LEVEL:.0f} in 100 over all evaluations of an experiment together. ± is two standard errors, paired."
)
QUESTION = (
    "**Better for training, too?** One trained VAE goes on twice, once with each formula: recorded. Train repeats it."
)
COMPARED_AFTER = "They are compared after step {step:,}."
NOTHING_YET = "The models are the same so far."
YOUTH = 300_000  # images: five passes over the training set of MNIST, and the overtaking is over
YOUNG = "That is expected of a young model: it gains most while every one of the k draws has to explain the image."


def lead(verdict: Verdict) -> str:
    """The number: how far the run is ahead of the first, in nats."""
    return plus_minus(verdict.lead, sign=True) + " nats"


def told(history: History, at: int = -1, formulas: bool = True) -> list[tuple[Verdict, str]]:
    """Each run against the first, and what the number means."""
    return [(verdict, _sentence(history, verdict, formulas)) for verdict in verdicts(history, at)]


def spoken(told: Sequence[tuple[Verdict, str]]) -> Iterator[str]:
    """For those who hear the page: only what is certain, which changes seldom."""
    for verdict, _ in told:
        sure = f"certainly {_side(verdict)}" if verdict.since else "not certainly ahead of or behind"
        yield f"{verdict.last} is {sure} {verdict.first}."


def _sentence(history: History, verdict: Verdict, formulas: bool) -> str:
    first, last = verdict.first, verdict.last
    if verdict.lead.mean == verdict.lead.stderr == 0:
        return f"{last} and {first} are the same model, to the last digit.{_next(history)}"
    where = f"in {f'$L_{{{verdict.k}}}$' if formulas else f'L_{verdict.k}'} on {verdict.images:,} held-out images"
    if verdict.since is None:
        return f"{last} minus {first}, {where}: not certain yet."
    since = f"certain since step {verdict.since.step:,}, {duration(verdict.since.seconds, 1)}"
    text = f"{last} is {_side(verdict)} {first}, {where}: {since}."
    if verdict.lead.mean > 0 and verdict.elbo.mean + 2 * verdict.elbo.stderr < 0:
        text += f" It gave up {minus(-float(verdict.elbo.mean), 1)} nats of ELBO for that."
    return text + (f" {YOUNG}" if verdict.lead.mean < 0 and _young(history, verdict) else "")


def _next(history: History) -> str:
    """When runs that start with the same weights are compared first."""
    if history.spec is None or len(history.snapshots) > 1 or history.outcome:
        return ""
    return f" {COMPARED_AFTER.format(step=history.spec.next_snapshot(0))}"


def _side(verdict: Verdict) -> str:
    return "ahead of" if verdict.lead.mean > 0 else "behind"


def _young(history: History, verdict: Verdict) -> bool:
    """Whether a model that is trained on L_k from random weights has had no time yet."""
    if history.spec is None or history.spec.start != RANDOM:
        return False
    run = chains(history.spec, history.swaps)[history.labels.index(verdict.last)][-1]
    return ESTIMATORS[run.estimator].theta is Target.L_K and history.step * history.spec.batch_size < YOUTH
