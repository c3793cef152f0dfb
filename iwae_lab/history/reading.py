"""The numbers behind the plots at one k of one evaluation."""

from dataclasses import dataclass

from iwae_core.evaluation.estimate import Estimate, estimate
from iwae_core.training.spec import RunSpec
from iwae_lab.history.history import History
from iwae_lab.history.labels import chains
from iwae_lab.history.view import View, chosen, point


@dataclass(frozen=True)
class Reading:
    """Both bounds of the runs at one k on held-out images, in nats, and their paired differences.

    `runs` are what trained each at that time, after any swap.
    """

    runs: list[RunSpec]
    labels: list[str]
    k: int
    iwae: list[Estimate]
    elbo: list[Estimate]
    gain: list[Estimate]  # L_k minus ELBO, each run
    iwae_leads: list[Estimate]  # each run minus the first, which is zero for that
    elbo_leads: list[Estimate]

    @property
    def iwae_lead(self) -> Estimate:
        """Last run minus first run."""
        return self.iwae_leads[-1]

    @property
    def elbo_lead(self) -> Estimate:
        """Last run minus first run."""
        return self.elbo_leads[-1]


def read_at(history: History, view: View) -> Reading | None:
    """The numbers in view; None before the first evaluation."""
    snapshot, at = chosen(history, view), point(history, view)
    if history.spec is None or snapshot is None:
        return None
    iwae, elbo = snapshot.iwae[:, at], snapshot.elbo
    done = [swap for swap in history.swaps if swap.step <= snapshot.step]
    return Reading(
        runs=[chain[-1] for chain in chains(history.spec, done)],
        labels=history.labels,
        k=history.spec.eval_ks[at],
        iwae=[estimate(values) for values in iwae],
        elbo=[estimate(values) for values in elbo],
        gain=[estimate(values) for values in iwae - elbo],
        iwae_leads=[estimate(values - iwae[0]) for values in iwae],
        elbo_leads=[estimate(values - elbo[0]) for values in elbo],
    )
