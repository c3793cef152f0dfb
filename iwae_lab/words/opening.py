"""What the first screen says before anything is loaded."""

from functools import cache
from typing import NamedTuple

from iwae_lab.words.glossary import say

TITLE = "Why is the importance weighted bound better?"
ANSWER = (
    "**Because it climbs with k.** More {draws} only steady the average of the logs; they lift the log of the average "
    "up to log p(x), which training should maximise."
)


class Words(NamedTuple):
    """The texts in the opening picture; each of `captions` holds from its k on."""

    play: str
    pause: str
    again: str
    balls: str
    balls_short: str
    trace: str
    truth: str
    elbo: str
    elbo_formula: str
    bound: str
    elbo_of: str
    bound_of: str
    bound_formula: str
    below: str
    there: str
    hidden: str
    captions: list[tuple[int, str]]


WORDS = Words(
    play="Play",
    pause="Pause",
    again="Redraw",
    balls="the k {draws}, each as large as its weight",
    balls_short="k {draws} by weight",
    trace="both formulas as k grows (drag)",
    truth="log p(x)",
    elbo="average of the logs",
    elbo_formula="(1/k) Σ log wᵢ",
    bound="log of the average",
    elbo_of=" (VAE)",
    bound_of=" (IWAE)",
    bound_formula="log (1/k) Σ wᵢ",
    below="{nats} nats below log p(x)",
    there="at log p(x)",
    hidden="{number} lie lower",
    captions=[
        (1, "One {draw}: both formulas give the same number."),
        (2, "The average of the logs counts bad {draws} like good ones. The log of the average lives by the best."),
        (30, "More {draws} make one average steadier, and no higher. They lift the other."),
        (1000, "The average of the logs has settled {nats} nats too low. The log of the average is nearly there."),
    ],
)


@cache
def opening_words(dialect: str) -> Words:
    """The texts in the words of a dialect."""
    said = {name: say(text, dialect) for name, text in WORDS._asdict().items() if isinstance(text, str)}
    return WORDS._replace(**said, captions=[(k, say(text, dialect)) for k, text in WORDS.captions])
