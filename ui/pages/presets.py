"""Presets: settings that show one thing, and what to notice."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import streamlit as st

from iwae_lab.words.glossary import say
from iwae_lab.words.sentences import EXAMPLES
from ui.controls import leave
from ui.session import shown_experiment
from ui.settings import EXPERIMENT, VIEW, choose, from_scratch

LARGEST = 10_000
MENU = "examples"  # where the session keeps whether their menu is open
REPEATS = " Recorded: Train repeats it live."


class Preset(NamedTuple):
    """Settings that show one thing, what to look at, and the recording of them with which it opens finished."""

    label: str
    notice: str
    recorded: str
    settings: Mapping[str, Any]
    scratch: bool = False  # from random weights, not from a trained VAE

    @property
    def values(self) -> dict[str, Any]:
        """Its settings, and for every setting that it does not name the default."""
        views = {name: VIEW[name].default for name in ("plot", "view_k", "x", "panel", "at")}
        defaults = {name: setting.default for name, setting in EXPERIMENT.items()}
        return {**defaults, **views, **(from_scratch() if self.scratch else {}), **self.settings}


PRESETS = (
    Preset(
        "The proof",
        "Two copies of one trained VAE, one trained on with each formula. Compare solid to solid at the right end; the "
        "IWAE's dashed line is the price.",
        "proof",
        {},
    ),
    Preset(
        "k = 1: the same",
        "With k = 1, one {draw} for each image, both formulas are the same number, so both models take the same steps. "
        "Their curves lie on top of each other, digit for digit.",
        "same",
        {"runs": "vae,iwae", "k": 1, "steps": 600, "view_k": 1},
    ),
    Preset(
        "From scratch",
        "Both from random weights, at the paper's falling rates, a thirtieth of its length: hours. The IWAE's dashed "
        "line falls behind at once, and for some ten thousand steps its solid line too: a young model gains most "
        "while every {draw} has to explain the image. Then it overtakes at the right end, and stays ahead; at the left "
        "end it never does. Replay it with the slider below the plot.",
        "long",
        {
            "runs": "vae,iwae",
            "k": 50,
            "batch_size": 20,
            "steps": 328_000,
            "schedule": "burda",
            "eval_images": 200,
            "eval_k": 5000,
            "view_k": LARGEST,
        },
        scratch=True,
    ),
    Preset(
        "Swap midway",
        "Two trained VAEs, identical until step 200: then the second goes on as an IWAE with the same weights. "
        "Watch its ELBO fall, and $L_k$ at large k rise past its twin.",
        "swap",
        {"runs": "vae,vae", "swaps": "1:200:iwae:50", "view_k": LARGEST},
    ),
    Preset(
        "One-sample backward",
        "Drawing one of the 50 samples by its weight and going backwards through that one alone gives the same mean "
        "gradient for less work, and a noisier one. Compare by steps, then by seconds.",
        "one_sample",
        {"runs": "iwae,iwae_one_sample", "k": 50, "x": "seconds", "view_k": LARGEST},
    ),
    Preset(
        "DReG",
        "The IWAE's gradient for the {q} drowns in its own noise as k grows. DReG and STL remove the part that is "
        "zero on average. So short a training gains hundredths of a nat by that in the solid lines; the dashed ones, "
        "which tell how well q fits, gain more.",
        "dreg",
        {"runs": "iwae,dreg,stl", "k": 50, "view_k": LARGEST},
    ),
    Preset(
        "Binary {h}: VIMCO",
        "Nothing to differentiate through: gradients come from scores, and baselines decide. VIMCO takes its baseline "
        "from the other k - 1 {draws}; Reweighted Wake-Sleep needs none.",
        "binary",
        {
            "runs": "vimco,rws,reinforce_loo",
            "model": "sbn_1",
            "k": 10,
            "batch_size": 50,
            "steps": 1500,
            "view_k": LARGEST,
        },
        scratch=True,
    ),
    Preset(
        "A latent plane",
        "Two latent units, so that everything can be seen: the {posterior}, q, and the weighted {draws}. "
        "The IWAE's q is wide; its heavy {draws} lie where the {posterior} is.",
        "plane",
        {
            "runs": "vae,iwae",
            "model": "one_layer_2d",
            "start": "vae_2d",
            "k": 50,
            "learning_rate": 5e-4,
            "view_k": LARGEST,
            "panel": "plane",
        },
    ),
    Preset(
        "log p(x) known",
        "A linear Gaussian model: log p(x) in closed form, so the gap is exact. It falls with every {draw}; like 1/k "
        "only once k is large against the variance of the weights, which 5,000 is not here. The ELBO's gap does not "
        "move at all.",
        "linear",
        {
            "runs": "vae,iwae",
            "model": "linear",
            "k": 20,
            "batch_size": 20,
            "steps": 6000,
            "eval_k": 5000,
            "view_k": LARGEST,
            "plot": "gap",
        },
        scratch=True,
    ),
)


def presets() -> None:
    """A menu with a button for each preset."""
    with st.popover(EXAMPLES, icon=":material/experiment:", key=MENU, on_change="rerun"):
        for index, preset in enumerate(PRESETS):
            label = say(preset.label, st.session_state["words"])
            st.button(label, type="tertiary", on_click=_start, args=(index,), key=f"preset_{index}")


def remark() -> None:
    """What to notice in the preset chosen, if there is one."""
    state = st.session_state
    if state["preset"] >= 0:
        preset = PRESETS[state["preset"]]
        again = "" if shown_experiment() else REPEATS
        st.info(f"**{say(preset.label, state['words'])}.** {say(preset.notice, state['words'])}{again}")


def _start(index: int) -> None:
    """Show what has been recorded with a preset's settings, set them, and close the menu."""
    choose(**PRESETS[index].values, preset=index, recorded=PRESETS[index].recorded, **{MENU: False})
    leave()
