"""All randomness: one stream per purpose, each a pure function of the seed.

Streams are addressed, not advanced: `generator(seed, "noise", 7)` is the noise of step 7 whatever was drawn before.
So the runs of an experiment share minibatches and noise without sharing state, evaluation never disturbs training, and
a resumed run needs no saved generator.
"""

import hashlib

import torch


def generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A fresh CPU generator for one purpose ("init", "order", "binarisation", "noise", ...) and index (step, image)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
