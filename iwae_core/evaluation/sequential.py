"""Whether a paired difference that is looked at again and again is real."""

from statistics import NormalDist

from iwae_core.evaluation.estimate import Estimate

LEVEL = 0.05  # of all looks together
# Two trainings by one estimator with other noise end in different models: theirs differ by less than this.
LEAST = 0.1  # nats
FEWEST = 50  # images, below which the mean of their differences is not nearly normal


def critical(look: int, comparisons: int = 1) -> float:
    """How many standard errors beyond `LEAST` a difference must be at a look, counted from 1, to be certain.

    Look j of c comparisons spends LEVEL / (c j (j + 1)), two-sided. Over all j that sums to LEVEL / c, so by the union
    bound, however the looks depend on each other, P(any look at any of them errs) <= LEVEL, for ever.
    """
    return -NormalDist().inv_cdf(LEVEL / (2 * comparisons * look * (look + 1)))


def certain(difference: Estimate, images: int, look: int, comparisons: int = 1) -> bool:
    """Whether the difference exceeds `LEAST` nats either way: the hypothesis that it does not is rejected.

    Of few images nothing is certain, and nothing before training (look 0).
    """
    if look < 1 or images < FEWEST:
        return False
    return bool(abs(difference.mean) - LEAST > critical(look, comparisons) * difference.stderr)
