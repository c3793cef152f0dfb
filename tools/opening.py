"""The data of the opening picture, from a shipped model: `python -m tools.opening`."""

import json
from base64 import b64encode

import numpy as np
import torch

from iwae_core.bounds.lower import iwae_bound
from iwae_core.evaluation.held_out import log_weights
from iwae_core.training.process import prepare_process
from iwae_lab.figures import digit_sheet
from iwae_lab.lessons.same import image, pool
from iwae_lab.shipped.models import digits, load
from iwae_lab.shipped.opening import FILE, Opening
from iwae_lab.words.templates import data_url

MODEL, DIGIT = "vae_k1", 4  # those that the lesson "Same samples" opens with; of middling weights
SHOWN = 5000
SETS = 200  # of SHOWN draws each, besides those shown
KS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 125, 200, 300, 500, 800, 1250, 2000, 3000, 5000)
SHARE = 0.8  # of the sets within a band


def measured() -> Opening:
    """Draws of the lesson, in their order; the bands and log p(x) of a million others."""
    first = pool(MODEL, DIGIT, 0)[:SHOWN, 0]
    many = log_weights(load(MODEL), digits()[DIGIT : DIGIT + 1], SETS * SHOWN, 1, first=DIGIT)[:, 0]
    top = many.max()
    scaled = (many - top).exp()
    of_logs = [_band(many, k) for k in KS]
    of_averages = [_band(scaled, k, top) for k in KS]
    bands = {"k": list(KS), "average_of_logs": _rows(of_logs), "log_of_average": _rows(of_averages)}
    error = float(scaled.std() / scaled.mean() / len(scaled) ** 0.5)
    codes = (100 * first).round().to(torch.int16).numpy().astype("<i2")
    return Opening(
        model=MODEL,
        digit_class=DIGIT,
        digit=data_url(digit_sheet(image(DIGIT))),
        log_weights=b64encode(codes.tobytes()).decode(),
        log_p=round(float(iwae_bound(many[:, None])), 3),
        log_p_stderr=round(error, 4),
        samples=len(many),
        bands=bands,
    )


def _band(values: torch.Tensor, k: int, top: torch.Tensor | None = None) -> tuple[float, float]:
    """Quantiles of the average over sets of k, or of its logarithm."""
    averages = values[: len(values) // k * k].view(-1, k).mean(1).numpy()
    low, high = np.quantile(averages, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    if top is None:
        return float(low), float(high)
    return float(np.log(low)) + float(top), float(np.log(high)) + float(top)


def _rows(bands: list[tuple[float, float]]) -> list[list[float]]:
    """All lower ends, then all upper ends."""
    return [[round(value, 2) for value in ends] for ends in zip(*bands, strict=True)]


if __name__ == "__main__":
    prepare_process()
    FILE.write_text(json.dumps(measured()._asdict(), indent=1) + "\n", encoding="utf-8")
