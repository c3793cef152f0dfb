"""The answer as a story of five sentences. Each is told after the reader has said what to expect."""

from typing import NamedTuple

from iwae_core.evaluation.estimate import Estimate, Floats, estimate
from iwae_lab.history.history import History
from iwae_lab.history.view import eval_ks
from iwae_lab.words.glossary import say
from iwae_lab.words.numbers import minus, plus_minus

TITLE = "The answer in five sentences"
IDEA = "Say what you expect, and the chart shows what is the case: recorded numbers first, yours in the end."
SOME = 50  # the k at which the second sentence looks


class Act(NamedTuple):
    """What leads to a question, its answers, which one is right, and the sentence that the numbers say."""

    name: str
    before: str
    question: str
    answers: tuple[str, str, str]
    right: int
    sentence: str


ACTS = (
    Act(
        "The bound",
        "For every test image, take k {draws} of the {h} from the {q}, weigh them, and average the weights in two "
        "ways. The model is a trained VAE.",
        "From k = 1 to k = {last}, which average rises?",
        ("Both", "Only the log of the average", "Neither: both get steadier"),
        1,
        "More {draws} leave the average of the logs at {elbo} and lift the log of the average, from that same number, "
        "to {bound}.",
    ),
    Act(
        "The gap",
        "Both stay below log p(x), the {evidence}. What is missing is the gap; for the average of the logs it is "
        "KL(q ‖ {posterior}).",
        "With {some} {draws}, how much of its gap has the log of the average closed?",
        ("Hardly any", "Most of it", "All of it"),
        1,
        "The log of the average closes the gap, from {gap} nats at k = 1 to {gap_some} at k = {some}; the average of "
        "the logs never does.",
    ),
    Act(
        "The model",
        "The log of the average can be trained on, too: the IWAE is the same network, from the same start, trained on "
        "the log of the average of {trained}. Now look at the right end, closest to log p(x).",
        "Which of the two models explains new digits better?",
        ("The VAE", "The IWAE", "They are alike"),
        1,
        "Trained on what is closer to log p(x), a model reaches a higher log p(x): the IWAE leads by {lead} nats a "
        "digit.",
    ),
    Act(
        "The price",
        "Now judge the IWAE by the average of the logs instead, its own ELBO.",
        "Beside the VAE's, it is",
        ("higher as well", "the same", "much lower"),
        2,
        "It pays with q: the IWAE's ELBO is {price} nats below the VAE's, for of its {trained} {draws} only some have "
        "to be good.",
    ),
    Act(
        "The proof",
        "Take a trained VAE twice. One copy goes on with the average of the logs of 50 {draws}, one with the log of "
        "their average: same images, same noise, same cost.",
        "After some seconds on this machine, which copy is ahead?",
        ("The one with the average of logs", "The one with the log of the average", "Neither"),
        1,
        "",
    ),
)
LABELS = {
    "next": "Next",
    "train": "Train and see",
    "right": "Right.",
    "wrong": "Not so: “{answer}”.",
    "promise": "Press the button: the answer takes some seconds, and the chart follows.",
    "bounds": "Nats per test image, the mean of {images} images, against k (log scale). Recorded.",
    "proof": "Lead of the copy that takes the log of the average, in nats per test image, and two standard errors.",
    "elbo": "average of the logs",
    "bound": "log of the average",
    "truth": "log p(x), as close as k = {last} comes",
    "gap": "the gap",
    "nats": "nats",
    "ahead": "log of the average is ahead",
    "behind": "average of the logs is ahead",
    "recorded": "recorded",
    "yours": "yours; faint, the recorded one",
    "steps": "steps",
}


class Curves(NamedTuple):
    """What the chart shows: means over held-out images against k, in nats, of a VAE and an IWAE."""

    ks: list[int]
    vae: list[float]
    vae_elbo: float
    iwae: list[float]
    iwae_elbo: float


def curves(history: History) -> Curves:
    """The last evaluation of a recorded VAE and IWAE."""
    last = history.snapshots[-1]
    (vae, iwae), (vae_elbo, iwae_elbo) = last.iwae.mean(-1), last.elbo.mean(-1)
    ks = [int(k) for k in eval_ks(history)]
    return Curves(ks, _rounded(vae), float(vae_elbo), _rounded(iwae), float(iwae_elbo))


def told(history: History, dialect: str) -> list[Act]:
    """The story of a recorded experiment, in the words of a dialect."""
    shown, last = curves(history), history.snapshots[-1]
    truth, some = shown.vae[-1], shown.ks.index(SOME)
    price = estimate(last.elbo[0] - last.elbo[1])
    numbers = {
        "last": f"{shown.ks[-1]:,}",
        "some": f"{SOME}",
        "trained": f"{history.spec.runs[1].k if history.spec else 0}",
        "elbo": minus(shown.vae_elbo, 1),
        "bound": minus(truth, 1),
        "gap": minus(truth - shown.vae_elbo, 1),
        "gap_some": minus(truth - shown.vae[some], 1),
        "lead": plus_minus(_lead(last.iwae[:, -1])),
        "price": plus_minus(price),
    }
    return [_filled(act, numbers, dialect) for act in ACTS]


def labels(history: History) -> dict[str, str]:
    """The texts in the chart of a recorded experiment."""
    last = history.spec.eval_ks[-1] if history.spec else 0
    images = history.snapshots[-1].elbo.shape[-1]
    return {
        name: text.replace("{last}", f"{last:,}").replace("{images}", f"{images:,}") for name, text in LABELS.items()
    }


def _lead(l_k: Floats) -> Estimate:
    return estimate(l_k[1] - l_k[0])


def _filled(act: Act, numbers: dict[str, str], dialect: str) -> Act:
    def fill(text: str) -> str:
        for name, number in numbers.items():
            text = text.replace(f"{{{name}}}", number)
        return say(text, dialect)

    return Act(
        act.name,
        fill(act.before),
        fill(act.question),
        (fill(act.answers[0]), fill(act.answers[1]), fill(act.answers[2])),
        act.right,
        fill(act.sentence),
    )


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 3) for value in values]
