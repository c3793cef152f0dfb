"""This project with the paper's cheaper estimator: k forward passes and one backward pass."""

from benchmarks.contestants.core import Core


class OneSample(Core):
    """The same bound, a noisier gradient."""

    estimator = "iwae_one_sample"


CONTESTANT = OneSample
