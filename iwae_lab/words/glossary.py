"""The glossary: each thing once, with what statisticians and deep learners call it, and where the code has it.

Texts for people hold `{names}` of `TERMS`, which `say` replaces by the words of one dialect.
"""

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple


class Dialect(StrEnum):
    """Whose words: the same things have two names each."""

    STATISTICS = "statistics"
    DEEP_LEARNING = "deep learning"


class Term(NamedTuple):
    """One thing: its symbol, its two names, what it is in a sentence, and where the code has it."""

    symbol: str
    statistics: str
    deep_learning: str
    meaning: str
    where: str

    @property
    def two_names(self) -> bool:
        """Whether the two fields call it differently."""
        return self.statistics != self.deep_learning


TERMS = {
    # The model.
    "x": Term(
        "x", "observation", "input", "What was seen: here a digit, 784 binary pixels.", "iwae_core.models.toys.Toy.x"
    ),
    "h": Term("h", "latent variables", "latent code", "What was not seen and explains x.", "iwae_core.draws.Draws.h"),
    "prior": Term(
        "p(h)", "prior", "prior", "The law of h before x is seen.", "iwae_core.models.factors.StandardNormal"
    ),
    "p": Term(
        "p(x | h)",
        "likelihood",
        "decoder",
        "The law of x given h, computed by a network.",
        "iwae_core.models.Generative",
    ),
    "joint": Term(
        "p(x, h)",
        "complete-data likelihood",
        "joint probability",
        "Prior times likelihood; all that black-box inference needs to know.",
        "iwae_core.models.Generative.forward",
    ),
    "posterior": Term(
        "p(h | x)",
        "posterior",
        "true posterior",
        "The law of h once x is seen; rarely known.",
        "iwae_lab.lessons.own_model.Answers.posterior",
    ),
    "evidence": Term(
        "log p(x)",
        "log marginal likelihood",
        "log-likelihood",
        "How probable the model finds x, whatever h is behind it.",
        "iwae_core.exact.law.log_evidence",
    ),
    "theta": Term(
        "θ",
        "parameters of the model",
        "decoder weights",
        "What maximum likelihood would choose.",
        "iwae_core.models.Model.theta",
    ),
    "dimension": Term(
        "dim h",
        "number of factors",
        "latent dimension",
        "How many latent variables an image has.",
        "iwae_core.models.factors.Conditional.units",
    ),
    "link": Term(
        "σ",
        "inverse link function",
        "output activation",
        "Turns any number into the mean of x, as in a GLM.",
        "iwae_core.models.factors.Bernoulli.mean",
    ),
    "network": Term(
        "",
        "nonlinear regression",
        "multilayer perceptron",
        "A composition of linear maps and tanh.",
        "iwae_core.models.networks",
    ),
    "linear_gaussian": Term(
        "x = Wh + b + ε",
        "probabilistic PCA",
        "linear VAE",
        "The model in which everything has a closed form.",
        "iwae_core.models.toys.linear_gaussian",
    ),
    "belief_network": Term(
        "",
        "chain of logistic regressions",
        "sigmoid belief network",
        "A model with binary latent variables.",
        "iwae_core.models.sigmoid_belief.sigmoid_belief",
    ),
    # Inference.
    "q": Term(
        "q(h | x)",
        "approximate posterior",
        "encoder",
        "A law of h that can be sampled, in place of the posterior.",
        "iwae_core.models.Recognition",
    ),
    "phi": Term(
        "φ", "parameters of q", "encoder weights", "What moves q towards the posterior.", "iwae_core.models.Model.phi"
    ),
    "amortisation": Term(
        "x ↦ q",
        "regression of the posterior on x",
        "amortised inference",
        "One network gives q for every x, instead of a fit for each.",
        "iwae_core.models.Recognition.sample",
    ),
    "draws": Term("h_1, ..., h_k", "draws", "samples", "k independent values of h from q.", "iwae_core.draws.Draws.h"),
    "draw": Term("h_i", "draw", "sample", "One of them.", "iwae_core.draws.Draws.h"),
    "weights": Term(
        "w",
        "importance weights",
        "importance weights",
        "p(x, h) / q(h | x): how much more the model likes h than q does.",
        "iwae_core.draws.Draws.log_weights",
    ),
    "shares": Term(
        "w̃",
        "self-normalised weights",
        "softmax of the log-weights",
        "The weights divided by their sum.",
        "iwae_core.bounds.weights.normalized_weights",
    ),
    "ess": Term(
        "ESS",
        "effective sample size",
        "effective number of particles",
        "How many equally weighted draws the k are worth; 1 if one carries all.",
        "iwae_core.bounds.diagnostics.effective_sample_size",
    ),
    "k_hat": Term(
        "k̂",
        "tail index of the weights",
        "Pareto k-hat",
        "Above 1/2 the weights have no variance.",
        "iwae_core.bounds.diagnostics.pareto_k_hat",
    ),
    "chi_squared": Term(
        "χ²",
        "chi-squared divergence",
        "relative variance of the weights",
        "Half of it, over k, is the gap of L_k.",
        "iwae_core.exact.law.chi_squared",
    ),
    "resampling": Term(
        "q_EW",
        "sampling importance resampling",
        "picking a particle",
        "Draw k, keep one by its weight.",
        "iwae_core.exact.law.resampled_log_prob",
    ),
    "annealing": Term(
        "AIS",
        "annealed importance sampling",
        "annealed importance sampling",
        "From q to the posterior in many small steps, to estimate log p(x).",
        "iwae_core.evaluation.annealing.bidirectional",
    ),
    # Bounds.
    "elbo": Term(
        "L_1",
        "variational lower bound",
        "ELBO (minus the VAE loss)",
        "The mean of log w.",
        "iwae_core.bounds.lower.elbo",
    ),
    "l_k": Term(
        "L_k",
        "importance sampling lower bound",
        "IWAE bound",
        "The mean of the log of the average of k weights.",
        "iwae_core.bounds.lower.iwae_bound",
    ),
    "gap": Term(
        "log p − L",
        "bias of the log estimate",
        "inference gap",
        "How far a bound is below log p(x); for the ELBO, KL(q ‖ p(h | x)).",
        "iwae_core.bounds.diagnostics.plug_in_bias",
    ),
    "kl": Term(
        "KL(q ‖ p(h))",
        "divergence from the prior",
        "regulariser (KL term)",
        "What the ELBO charges for leaving the prior.",
        "iwae_core.models.Model.kl",
    ),
    "power_mean": Term(
        "L_α",
        "power mean of the weights",
        "Rényi bound",
        "Between the ELBO and the largest weight alone.",
        "iwae_core.bounds.lower.renyi_bound",
    ),
    "jackknife": Term(
        "JVI",
        "jackknife bias correction",
        "jackknife variational inference",
        "Removes the leading bias of log averages.",
        "iwae_core.bounds.corrected.jackknife_bound",
    ),
    "u_statistic": Term(
        "U_m",
        "complete U-statistic",
        "average over all subsets",
        "Estimates L_m for every m from one set of weights.",
        "iwae_core.bounds.curves.bound_curve",
    ),
    # Fitting.
    "estimator": Term(
        "∇",
        "gradient estimator",
        "training objective",
        "What each step climbs, up to noise.",
        "iwae_core.estimators.ESTIMATORS",
    ),
    "fitted": Term("", "fitted", "trained", "Parameters moved to raise a bound.", "iwae_core.training.loop.Experiment"),
    "sgd": Term(
        "",
        "stochastic approximation",
        "stochastic gradient descent (Adam)",
        "Many small steps along noisy gradients.",
        "iwae_core.training.loop.train",
    ),
    "minibatch": Term("", "random subsample", "minibatch", "The data of one step.", "iwae_core.data.Dataset.minibatch"),
    "learning_rate": Term(
        "η",
        "step size",
        "learning rate",
        "How far a step goes; falls in stages.",
        "iwae_core.training.schedules.SCHEDULES",
    ),
    "pathwise": Term(
        "∇h",
        "pathwise derivative",
        "reparameterisation trick",
        "h = μ + σ ε, so a derivative can pass through h.",
        "iwae_core.models.factors.Gaussian.sample",
    ),
    "score": Term(
        "∇ log q",
        "score (likelihood ratio) method",
        "REINFORCE",
        "Moves q towards draws that did well; works for discrete h.",
        "iwae_core.estimators.score_function.reinforce",
    ),
    "baseline": Term(
        "b",
        "control variate",
        "baseline",
        "Subtracted to lower the variance; leaves the mean alone.",
        "iwae_core.draws.Draws.baseline",
    ),
    "wake": Term(
        "",
        "importance-weighted maximum likelihood for q",
        "wake-phase update",
        "Fits q to its own weighted draws.",
        "iwae_core.estimators.wake_sleep.rws",
    ),
    "sleep": Term(
        "(x', h')",
        "fit to simulated data",
        "sleep phase",
        "Fits q to pairs that the model made up.",
        "iwae_core.models.Model.dream",
    ),
    "signal": Term(
        "SNR",
        "inverse coefficient of variation",
        "signal-to-noise ratio",
        "Mean of a gradient over its standard deviation.",
        "iwae_core.evaluation.signal.Moments.signal_to_noise",
    ),
    "common_numbers": Term(
        "ε",
        "common random numbers",
        "fixed seed",
        "The same noise for all that is compared.",
        "iwae_core.randomness.generator",
    ),
    # Judging.
    "held_out": Term(
        "x", "held-out images", "test images", "Data that no parameter has seen.", "iwae_core.data.Dataset.held_out"
    ),
    "nll": Term(
        "−L_5000",
        "negative log predictive density",
        "test NLL",
        "Minus the bound at a large k on held-out data, in nats.",
        "iwae_core.evaluation.held_out.bound_curves",
    ),
    "paired": Term(
        "",
        "paired difference",
        "per-example difference",
        "The same images and noise for both models.",
        "iwae_lab.history.reading.Reading.iwae_lead",
    ),
    "reconstruction": Term(
        "E[x | h]",
        "fitted means",
        "reconstructions",
        "The mean of x given one h drawn for it.",
        "iwae_core.models.Model.reconstruct",
    ),
    "active": Term(
        "A_u",
        "informative factors",
        "active units",
        "Latent variables whose posterior mean depends on x.",
        "iwae_core.evaluation.activity.active_units",
    ),
    "collapse": Term(
        "q = p(h)",
        "factors left at the prior",
        "posterior collapse",
        "The other ones: they say nothing about x.",
        "iwae_core.evaluation.activity.ACTIVE",
    ),
    "grey": Term(
        "",
        "Bernoulli draws of the grey values",
        "dynamic binarisation",
        "Each pixel is drawn anew whenever it is shown.",
        "iwae_core.data.dataset.binarise",
    ),
}


@lru_cache(maxsize=512)
def say(text: str, dialect: str) -> str:
    """The text with every `{term}` in the words of a dialect; `{Term}` begins a sentence."""
    for name, term in TERMS.items():
        word = term.statistics if dialect == Dialect.STATISTICS else term.deep_learning
        text = text.replace(f"{{{name}}}", word).replace(f"{{{name.capitalize()}}}", word[:1].upper() + word[1:])
    return text
