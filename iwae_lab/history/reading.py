"""The numbers behind the plots at one k of one evaluation."""

from dataclasses import dataclass

from iwae_core.evaluation.estimate import Estimate, estimate
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.history.history import History
from iwae_lab.history.view import View, chosen, point


@dataclass(frozen=True)
class Reading:
    """Both bounds of the runs at one k on held-out images, in nats, and their paired differences."""

    spec: ExperimentSpec
    labels: list[str]
    k: int
    iwae: list[Estimate]
    elbo: list[Estimate]
    gain: list[Estimate]  # L_k minus ELBO, each run
    iwae_lead: Estimate  # last run minus first run
    elbo_lead: Estimate


def read_at(history: History, view: View) -> Reading | None:
    """The numbers in view; None before the first evaluation."""
    snapshot, at = chosen(history, view), point(history, view)
    if history.spec is None or snapshot is None:
        return None
    iwae, elbo = snapshot.iwae[:, at], snapshot.elbo
    return Reading(
        spec=history.spec,
        labels=history.labels,
        k=history.spec.eval_ks[at],
        iwae=[estimate(values) for values in iwae],
        elbo=[estimate(values) for values in elbo],
        gain=[estimate(values) for values in iwae - elbo],
        iwae_lead=estimate(iwae[-1] - iwae[0]),
        elbo_lead=estimate(elbo[-1] - elbo[0]),
    )
