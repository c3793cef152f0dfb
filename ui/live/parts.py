"""The live parts: figures, the status line, the numbers, digits, one step as it flows, a sweep, and a poll."""

from typing import Any

import numpy as np

from iwae_core.evaluation.estimate import estimate
from iwae_core.training.events import Failed
from iwae_lab.engines import State
from iwae_lab.figures import COLOURS, FIGURES, NO_EVALUATION, digit_sheet
from iwae_lab.history.history import History
from iwae_lab.history.reading import read_at
from iwae_lab.shipped.recording import FIRST
from iwae_lab.words import headline as headlines
from iwae_lab.words import markup
from iwae_lab.words import sentences as words
from iwae_lab.words.templates import data_url, macros
from ui.live import polls, sweeps
from ui.live.chart import figure_json
from ui.live.scene import PARTS, Look, Part, Scene, part, scene_of
from ui.session import engine, trouble
from ui.settings import PLOTS

HTML = macros("ui/live/parts.html.jinja")
NOTICES: dict[State | None, str] = {
    State.INTERRUPTED: words.INTERRUPTED,
    State.STOPPING: words.STOPPING,
    State.ELSEWHERE: words.ELSEWHERE,
}


def _figure(name: str) -> Part:
    def draw_figure(look: Look) -> dict[str, Any]:
        entry, scene = FIGURES[name], scene_of(look)
        return {
            "figure": figure_json(entry(scene.history, scene.view)),
            "description": entry.summary(scene.history, scene.view),
            "points": _points(name, scene),
        }

    return draw_figure


def _points(name: str, scene: Scene) -> dict[str, Any] | None:
    """What a position on the x axis stands for, so that pointing there moves the other parts of the page."""
    if name in PLOTS:
        return {"name": "k", "at": scene.spec.eval_ks, "values": scene.spec.eval_ks}
    if name == "curves":
        steps = [snapshot.step for snapshot in scene.history.snapshots]
        return {"name": "at", "at": steps, "values": [*range(len(steps) - 1), -1]}
    return None


PARTS |= {name: _figure(name) for name in FIGURES}


@part
def times(scene: Scene) -> dict[str, Any]:
    """The steps of all evaluations, for the time scrubber, and that of the next one if there is one to come."""
    steps = [snapshot.step for snapshot in scene.history.snapshots]
    over = scene.history.outcome or not (scene.state and scene.state.active)
    return {"steps": steps, "next": None if over or not steps else scene.spec.next_snapshot(steps[-1])}


@part
def reading(scene: Scene) -> dict[str, Any]:
    """The numbers at the marker and what they mean."""
    reading = read_at(scene.history, scene.view)
    if reading is None:
        return {"html": HTML.paragraph(NO_EVALUATION)}
    head, *body = words.readout(reading)
    precision, findings = words.say(words.PRECISION, scene.dialect), words.findings(reading, scene.dialect)
    spoken = FIGURES["bounds"].summary(scene.history, scene.view)
    return {"html": HTML.reading(head, body, precision, findings), "spoken": spoken}


@part
def headline(scene: Scene) -> dict[str, Any]:
    """The answer: how far each run is ahead of the first, whether that is certain, and at what price."""
    told = headlines.told(scene.history, scene.view.at)
    if not told:
        return {"html": HTML.paragraph(headlines.NOTHING_YET if scene.state is None else words.LOADING_WORKER)}
    rows = [(headlines.lead(verdict), verdict.since is not None, text) for verdict, text in told]
    question = headlines.QUESTION if scene.state is None and scene.look.recorded == FIRST else ""
    return {"html": HTML.headline(question, rows, headlines.CERTAIN), "spoken": " ".join(headlines.spoken(told))}


def lead_of(history: History) -> dict[str, Any]:
    """How far the last run is ahead of the first in L_k at the yardstick, evaluation by evaluation."""
    leads = [estimate(seen.iwae[-1, -1] - seen.iwae[0, -1]) for seen in history.snapshots]
    return {
        "steps": [seen.step for seen in history.snapshots],
        "lead": [round(float(lead.mean), 3) for lead in leads],
        "error": [round(2 * float(lead.stderr), 3) for lead in leads],
        "last": history.spec.steps if history.spec else 0,
    }


@part
def proof(scene: Scene) -> dict[str, Any]:
    """The lead so far, and what it means, for the last act of the story."""
    told = (f"{headlines.lead(verdict)}. {markup.spoken(said)}" for verdict, said in headlines.told(scene.history))
    texts = [_notice(scene) if scene.state else "", *told]
    return lead_of(scene.history) | {
        "text": " ".join(filter(None, texts)) or headlines.COMPARED_AFTER.format(step=scene.spec.next_snapshot(0)),
        "active": scene.state is not None and scene.state.active,
        "status": _status(scene) if scene.state else "",
    }


@part
def digit(scene: Scene) -> dict[str, Any]:
    """The held-out image in view, small."""
    originals = scene.history.originals
    if originals is None:
        return {"html": ""}
    shown = originals[min(scene.view.digit, len(originals) - 1)]
    return {"html": HTML.small(digit_sheet(shown[None]), words.say("{held_out}", scene.dialect))}


@part
def digits(scene: Scene) -> dict[str, Any]:
    """Held-out digits, each model's reconstructions of them, and digits drawn from each model's prior."""
    history = scene.history
    if history.originals is None or not history.snapshots:
        return {"html": HTML.paragraph(NO_EVALUATION)}
    snapshot, labels = history.snapshots[scene.view.at], history.labels
    reconstructed = words.say("{reconstruction}", scene.dialect)
    rows = [(words.say("{held_out}", scene.dialect), digit_sheet(history.originals), "currentColor")]
    for what, drawn in (reconstructed, snapshot.reconstructions), ("sampled from the prior", snapshot.samples):
        for label, pictures, colour in zip(labels, drawn, COLOURS, strict=False):
            rows.append((f"{label}: {what}", digit_sheet(pictures), colour))
    active = [f"{label} {n} of {of}" for label, n, of in zip(labels, snapshot.active, snapshot.units, strict=False)]
    return {"html": HTML.digits(rows, active)}


@part
def flow(scene: Scene) -> dict[str, Any]:
    """The newest single step: for each run its draws before and after, what pulled on them, and both averages."""
    seen, labels, dialect = scene.history.closeup, scene.history.labels, scene.dialect
    if seen is None:
        return {"missing": words.NO_STEP}
    runs = []
    for run, (label, colour, k) in enumerate(zip(labels, COLOURS, seen.ks, strict=False)):
        known = np.isfinite(seen.before[run])
        numbers = {name: getattr(seen, name)[run][known].tolist() for name in ("before", "after", "pulls")}
        pictures = [data_url(digit_sheet(picture[None])) for picture in seen.decoded[run][:k]]
        bounds = seen.bounds[run].tolist()
        runs.append({"label": label, "colour": colour, "k": k, "bounds": bounds, "pictures": pictures} | numbers)
    return {
        "step": seen.step,
        "image": data_url(digit_sheet(seen.image[None])),
        "runs": runs,
        "words": {name: words.say(text, dialect) for name, text in words.FLOW.items()},
        "text": words.say(words.step_told(labels, seen), dialect),
    }


@part
def status(scene: Scene) -> dict[str, Any]:
    """What the experiment is doing, how far it is, and what it trains."""
    history, spec, state = scene.history, scene.spec, scene.state
    described = words.describe(spec, history.swaps if scene.state else None)
    if state is None:
        return {"html": HTML.recorded(words.RECORDED, described, trouble()), "state": None}
    html = HTML.status(_status(scene), history.step, spec.steps, _notice(scene), described)
    return {"html": html, "state": state.value}


def _status(scene: Scene) -> str:
    experiment = scene.look.experiment
    place, slow = engine().position(experiment), engine().slow(experiment)
    return words.status(scene.history, scene.spec, str(scene.state), place, slow)


def _notice(scene: Scene) -> str:
    outcome, state = scene.history.outcome, scene.state
    if isinstance(outcome, Failed):
        return f"Training failed at step {outcome.step:,}: {outcome.message}."
    if state and state.active and (reason := trouble()):
        return reason
    if state is State.PAUSED and engine().unwatched(scene.look.experiment):
        return words.UNWATCHED
    if state in NOTICES:
        return NOTICES[state]
    revived_at = engine().revived_at(scene.look.experiment)
    ended = outcome.reason if outcome and outcome.step < scene.spec.steps else ""
    revived = "" if revived_at is None else words.REVIVED.format(step=revived_at)
    return f"{revived or ended} {engine().remark(scene.look.experiment)}".strip()


def _poll(look: Look) -> dict[str, Any]:
    """What the class is asked."""
    return {"poll": polls.told(look.experiment)}


PARTS |= sweeps.PARTS | {"poll": _poll}
