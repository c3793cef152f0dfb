"""The glossary: each thing once, with what statisticians and deep learners call it, and where the code has it.

Texts for people hold `{names}` of `TERMS`, which `say` replaces by the words of one dialect.
"""

from enum import StrEnum
from typing import NamedTuple


class Dialect(StrEnum):
    """Whose words: the same things have two names each."""

    STATISTICS = "statistics"
    DEEP_LEARNING = "deep learning"


class Term(NamedTuple):
    """One thing: its symbol, its two names, what it is in a sentence, and where `iwae_core` has it."""

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
    "x": Term("x", "observation", "input", "What was seen: here a digit, 784 binary pixels.", "models.toys.Toy.x"),
    "h": Term("h", "latent variables", "latent code", "What was not seen and explains x.", "draws.Draws.h"),
    "prior": Term("p(h)", "prior", "prior", "The law of h before x is seen.", "models.factors.StandardNormal"),
    "p": Term("p(x | h)", "likelihood", "decoder", "The law of x given h, computed by a network.", "models.Generative"),
    "joint": Term(
        "p(x, h)",
        "complete-data likelihood",
        "joint probability",
        "Prior times likelihood; all that black-box inference needs to know.",
        "models.Generative.forward",
    ),
    "posterior": Term(
        "p(h | x)",
        "posterior",
        "true posterior",
        "The law of h once x is seen; rarely known.",
        "lessons.own_model.Answers.posterior",
    ),
    "evidence": Term(
        "log p(x)",
        "log marginal likelihood",
        "log-likelihood",
        "How probable the model finds x, whatever h is behind it.",
        "exact.log_evidence",
    ),
    "theta": Term(
        "θ", "parameters of the model", "decoder weights", "What maximum likelihood would choose.", "models.Model.theta"
    ),
    "dimension": Term(
        "dim h",
        "number of factors",
        "latent dimension",
        "How many latent variables an image has.",
        "models.factors.Conditional.units",
    ),
    "link": Term(
        "σ",
        "inverse link function",
        "output activation",
        "Turns any number into the mean of x, as in a GLM.",
        "models.factors.Bernoulli.mean",
    ),
    "network": Term(
        "",
        "nonlinear regression",
        "multilayer perceptron",
        "A composition of linear maps and tanh.",
        "models.networks",
    ),
    "linear_gaussian": Term(
        "x = Wh + b + ε",
        "probabilistic PCA",
        "linear VAE",
        "The model in which everything has a closed form.",
        "models.toys.linear_gaussian",
    ),
    "belief_network": Term(
        "",
        "chain of logistic regressions",
        "sigmoid belief network",
        "A model with binary latent variables.",
        "models.sigmoid_belief.sigmoid_belief",
    ),
    # Inference.
    "q": Term(
        "q(h | x)",
        "approximate posterior",
        "encoder",
        "A law of h that can be sampled, in place of the posterior.",
        "models.Recognition",
    ),
    "phi": Term("φ", "parameters of q", "encoder weights", "What moves q towards the posterior.", "models.Model.phi"),
    "amortisation": Term(
        "x ↦ q",
        "regression of the posterior on x",
        "amortised inference",
        "One network gives q for every x, instead of a fit for each.",
        "models.Recognition.sample",
    ),
    "draws": Term("h_1, ..., h_k", "draws", "samples", "k independent values of h from q.", "draws.Draws.h"),
    "draw": Term("h_i", "draw", "sample", "One of them.", "draws.Draws.h"),
    "weights": Term(
        "w",
        "importance weights",
        "importance weights",
        "p(x, h) / q(h | x): how much more the model likes h than q does.",
        "draws.Draws.log_weights",
    ),
    "shares": Term(
        "w̃",
        "self-normalised weights",
        "softmax of the log-weights",
        "The weights divided by their sum.",
        "bounds.weights.normalized_weights",
    ),
    "ess": Term(
        "ESS",
        "effective sample size",
        "effective number of particles",
        "How many equally weighted draws the k are worth; 1 if one carries all.",
        "diagnostics.effective_sample_size",
    ),
    "k_hat": Term(
        "k̂",
        "tail index of the weights",
        "Pareto k-hat",
        "Above 1/2 the weights have no variance.",
        "diagnostics.pareto_k_hat",
    ),
    "chi_squared": Term(
        "χ²",
        "chi-squared divergence",
        "relative variance of the weights",
        "Half of it, over k, is the gap of L_k.",
        "exact.chi_squared",
    ),
    "resampling": Term(
        "q_EW",
        "sampling importance resampling",
        "picking a particle",
        "Draw k, keep one by its weight.",
        "exact.resampled_log_prob",
    ),
    "annealing": Term(
        "AIS",
        "annealed importance sampling",
        "annealed importance sampling",
        "From q to the posterior in many small steps, to estimate log p(x).",
        "evaluation.annealing.bidirectional",
    ),
    # Bounds.
    "elbo": Term(
        "L_1", "variational lower bound", "ELBO (minus the VAE loss)", "The mean of log w.", "bounds.lower.elbo"
    ),
    "l_k": Term(
        "L_k",
        "importance sampling lower bound",
        "IWAE bound",
        "The mean of the log of the average of k weights.",
        "bounds.lower.iwae_bound",
    ),
    "gap": Term(
        "log p − L",
        "bias of the log estimate",
        "inference gap",
        "How far a bound is below log p(x); for the ELBO, KL(q ‖ p(h | x)).",
        "diagnostics.plug_in_bias",
    ),
    "kl": Term(
        "KL(q ‖ p(h))",
        "divergence from the prior",
        "regulariser (KL term)",
        "What the ELBO charges for leaving the prior.",
        "models.Model.kl",
    ),
    "power_mean": Term(
        "L_α",
        "power mean of the weights",
        "Rényi bound",
        "Between the ELBO and the largest weight alone.",
        "bounds.lower.renyi_bound",
    ),
    "jackknife": Term(
        "JVI",
        "jackknife bias correction",
        "jackknife variational inference",
        "Removes the leading bias of log averages.",
        "bounds.corrected.jackknife_bound",
    ),
    "u_statistic": Term(
        "U_m",
        "complete U-statistic",
        "average over all subsets",
        "Estimates L_m for every m from one set of weights.",
        "bounds.curves.bound_curve",
    ),
    # Fitting.
    "estimator": Term(
        "∇", "gradient estimator", "training objective", "What each step climbs, up to noise.", "estimators.ESTIMATORS"
    ),
    "fitted": Term("", "fitted", "trained", "Parameters moved to raise a bound.", "train.Experiment"),
    "sgd": Term(
        "",
        "stochastic approximation",
        "stochastic gradient descent (Adam)",
        "Many small steps along noisy gradients.",
        "train.train",
    ),
    "minibatch": Term("", "random subsample", "minibatch", "The data of one step.", "datasets.Dataset.minibatch"),
    "learning_rate": Term(
        "η", "step size", "learning rate", "How far a step goes; falls in stages.", "schedules.SCHEDULES"
    ),
    "pathwise": Term(
        "∇h",
        "pathwise derivative",
        "reparameterisation trick",
        "h = μ + σ ε, so a derivative can pass through h.",
        "models.factors.Gaussian.sample",
    ),
    "score": Term(
        "∇ log q",
        "score (likelihood ratio) method",
        "REINFORCE",
        "Moves q towards draws that did well; works for discrete h.",
        "estimators.score_function.reinforce",
    ),
    "baseline": Term(
        "b",
        "control variate",
        "baseline",
        "Subtracted to lower the variance; leaves the mean alone.",
        "draws.Draws.baseline",
    ),
    "wake": Term(
        "",
        "importance-weighted maximum likelihood for q",
        "wake-phase update",
        "Fits q to its own weighted draws.",
        "estimators.wake_sleep.rws",
    ),
    "sleep": Term(
        "(x', h')",
        "fit to simulated data",
        "sleep phase",
        "Fits q to pairs that the model made up.",
        "models.Model.dream",
    ),
    "signal": Term(
        "SNR",
        "inverse coefficient of variation",
        "signal-to-noise ratio",
        "Mean of a gradient over its standard deviation.",
        "gradients.Moments.signal_to_noise",
    ),
    "common_numbers": Term(
        "ε", "common random numbers", "fixed seed", "The same noise for all that is compared.", "randomness.generator"
    ),
    # Judging.
    "held_out": Term(
        "x", "held-out digits", "test digits", "Data that no parameter has seen.", "datasets.Dataset.held_out"
    ),
    "nll": Term(
        "−L_5000",
        "negative log predictive density",
        "test NLL",
        "Minus the bound at a large k on held-out data, in nats.",
        "evaluate.bound_curves",
    ),
    "paired": Term(
        "",
        "paired difference",
        "per-example difference",
        "The same digits and noise for both models.",
        "figures.Reading.iwae_lead",
    ),
    "reconstruction": Term(
        "E[x | h]",
        "fitted means",
        "reconstructions",
        "The mean of x given one h drawn for it.",
        "models.Model.reconstruct",
    ),
    "active": Term(
        "A_u",
        "informative factors",
        "active units",
        "Latent variables whose posterior mean depends on x.",
        "evaluate.active_units",
    ),
    "collapse": Term(
        "q = p(h)",
        "factors left at the prior",
        "posterior collapse",
        "The other ones: they say nothing about x.",
        "evaluate.ACTIVE",
    ),
    "grey": Term(
        "",
        "Bernoulli draws of the grey values",
        "dynamic binarisation",
        "Each pixel is drawn anew whenever it is shown.",
        "datasets.dataset.binarise",
    ),
}


def say(text: str, dialect: str) -> str:
    """The text with every `{term}` in the words of a dialect; `{Term}` begins a sentence."""
    for name, term in TERMS.items():
        word = term.statistics if dialect == Dialect.STATISTICS else term.deep_learning
        text = text.replace(f"{{{name}}}", word).replace(f"{{{name.capitalize()}}}", word[:1].upper() + word[1:])
    return text
