"""Where training may start: from random weights, or from those of a model that is trained already."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iwae_core.registry import Registry

if TYPE_CHECKING:  # or whoever names a start would wait for torch
    from torch import Tensor

RANDOM = "random"


@dataclass(frozen=True)
class Start:
    """A function that returns the weights from which every run of an experiment starts, as a model's `state_dict`.

    `model` is the network that they fit. `random` is the one start without weights of its own: it fits all networks,
    and the runs keep those that their seed gave them.
    """

    load: Callable[[], Mapping[str, "Tensor"]]
    label: str
    model: str | None = None


STARTS: Registry[Start] = Registry("start", Start)


@STARTS.register(RANDOM, label="random weights")
def random() -> Mapping[str, "Tensor"]:
    """No weights but those that the seed gives."""
    return {}
