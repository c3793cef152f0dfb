"""What `docs/extending.md` shows works: each thing is one new file, tried in a copy of the program."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
COPIED = ("iwae_core", "iwae_lab", "ui", "tests", "tools")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the program; what is large in it, and never changed, is borrowed."""
    for package in COPIED:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "assets"))
        if (ROOT / package / "assets").exists():
            (tmp_path / package / "assets").symlink_to(ROOT / package / "assets")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def follow(heading: str, house: Path) -> str:
    """Write the one file of a section and do what the section says; returns what that prints."""
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    ((name, code),) = re.findall(r'^```python title="(.*?)"\n(.*?)^```', section, re.M | re.S)
    assert not (house / name).exists()
    (house / name).write_text(code)
    for command in ("check", "format --check"):
        run(f"python -m ruff {command} {name}", house)
    tried = re.findall(r"^```(python|sh)\n(.*?)^```", section, re.M | re.S)
    assert tried
    return "".join(run(block, house) if kind == "sh" else python(block, house) for kind, block in tried)


def run(commands: str, house: Path) -> str:
    """What commands print, by the Python that runs this, from the copy."""
    commands = re.sub(r"^iwae ", "python -m iwae_lab ", commands, flags=re.M)
    return output(["sh", "-euc", re.sub(r"^python ", f"{sys.executable} ", commands, flags=re.M)], house)


def python(code: str, house: Path) -> str:
    return output([sys.executable, "-c", code], house)


def output(command: list[str], house: Path) -> str:
    done = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trained(folder: Path) -> Any:
    """The specification of a run that has made all its steps. Its names are known in the copy only."""
    last = json.loads((folder / "events.jsonl").read_text().splitlines()[-1])
    assert last["Finished"] == {"step": 20, "stopped": False, "reason": "all 20 steps are made"}
    return json.loads((folder / "spec.json").read_text())


def passed(printed: str) -> int:
    return int(re.findall(r"(\d+) passed", printed)[-1])


def test_a_bound(house: Path) -> None:
    printed = follow("A bound", house)
    truncated, iwae = map(float, re.findall(r"tensor\(\[([\d.]+)\]\)", printed))
    # Three weights of 1 and one of e^8, which may count for no more than twice the average.
    average = (3 + math.exp(8)) / 4
    assert iwae == pytest.approx(math.log(average), abs=1e-3)
    assert truncated == pytest.approx(math.log((3 + 2 * average) / 4), abs=1e-3)
    assert passed(printed) >= 6


def test_an_estimator(house: Path) -> None:
    assert passed(follow("An estimator", house)) >= 5
    assert [run["estimator"] for run in trained(house / "runs" / "tight")["runs"]] == ["iwae", "tight_theta"]


def test_a_model(house: Path) -> None:
    follow("A model", house)
    assert {run["model"] for run in trained(house / "runs" / "logistic")["runs"]} == {"logistic_pca"}


def test_a_data_set(house: Path) -> None:
    follow("A data set", house)
    assert trained(house / "runs" / "bars")["dataset"] == "bars"


# The button, and the figure of the recorded experiment as the page asks for it.
OFFERED = """
from ui.live import parts
from ui.live.scene import Look, draw
from ui.pages.laboratory import PLOTS

print(PLOTS["wins"])
print(draw(Look("wins")))
"""


def test_a_figure(house: Path) -> None:
    assert passed(follow("A figure", house)) >= 4
    assert "On how many images a model is ahead" in (house / "wins.html").read_text()
    label, drawing = python(OFFERED, house).splitlines()
    assert label == "Wins"
    assert json.loads(drawing)["points"]["name"] == "k"
    assert json.loads(drawing)["description"].startswith("Share of held-out images")
