"""All randomness: one stream per purpose, each a pure function of the seed.

Streams are addressed, not advanced: `generator(seed, "noise", 7)` is the noise of step 7 whatever was drawn before.
So the runs of an experiment share minibatches and noise without sharing state, evaluation never disturbs training, and
a resumed run needs no saved generator.
"""

import hashlib
from typing import Literal, TypeAlias

import torch

# Every purpose there is: a new name is a new stream, so a mistyped one must not pass.
Purpose: TypeAlias = Literal[
    "init",
    "order",
    "binarisation",
    "static binarisation",
    "test binarisation",
    "noise",
    "path",
    "backward",
    "evaluation",
    "active units",
    "samples",
    "reconstructions",
    "annealing",
    "simulated data",
    "moments",
    "moments, baseline",
    "moments, path",
    "shipped digits",
    "drawing",
    "lesson q",
    "lesson network",
    "lesson rows",
    "lesson coins",
    "benchmark",
]


def generator(seed: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """A fresh CPU generator for one purpose and index (step, image)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
