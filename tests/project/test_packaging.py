"""The program can be installed: its wheel has everything it needs, and works where there is no clone."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest

from iwae_lab import __version__
from iwae_lab.figures import plotly_js
from iwae_lab.shipped import models
from tests.support.installed import ROOT, Installed, build_wheel, install
from tests.support.pages import workers

PACKAGES = "iwae_core", "iwae_lab", "ui"
FRONT = "app.py", ".streamlit/config.toml"
COMMANDS = "evaluate run --k 10 --limit 3 --json", "report run --out report.html"
QUICK = ["--steps", "3", "--batch-size", "4", "--eval-images", "3", "--eval-k", "10"]
# One process for all that follows training: loading torch takes longer than all of it.
USE = """
import json, sys
from importlib.metadata import entry_points, requires, version
from importlib.util import find_spec

(script,) = entry_points(group="console_scripts", name="iwae")
iwae = script.load()
codes = [iwae(words.split()) for words in sys.argv[1:]]

import iwae_core, iwae_lab, ui
from iwae_core import Experiment, ExperimentSpec, elbo, train
from iwae_lab.shipped import models
from iwae_lab.shipped.recording import recording

modules = "iwae_core", elbo.__module__, train.__module__, "iwae_lab", "ui"
print(json.dumps({
    "codes": codes,
    "places": [sys.modules[name].__file__ for name in modules],
    "path": sys.path,
    "left out": [name for name in ("app", "benchmarks", "tests", "pytest", "beartype") if find_spec(name) is None],
    "version": version("iwae"),
    "requirements": requires("iwae"),
    "digits": len(Experiment(ExperimentSpec()).data.train),
    "models": [name for name in models.names() if models.load(name)],
    "finished": recording().step == recording().spec.steps,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    return install(wheel, folder / "environment", folder / "elsewhere")


@pytest.fixture(scope="module")
def trained(installed: Installed) -> str:
    return installed.call("iwae", "train", "--k", "2", "--out", "run", "--json", *QUICK)


@pytest.fixture(scope="module")
def used(installed: Installed, trained: str) -> list[str]:
    return installed.call("python", "-I", "-c", USE, *COMMANDS).splitlines()


@pytest.fixture(scope="module")
def found(used: list[str]) -> dict[str, Any]:
    return dict(json.loads(used[-1]))


def test_the_wheel_has_every_file_of_the_program_and_no_other(wheel: Path) -> None:
    tree = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    ours = {str(path.relative_to(ROOT)) for path in tree if path.parent.name != "__pycache__"}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == ours | {f"ui/front/{name}" for name in FRONT}
    assert len(names) == len(set(names))
    assert "iwae_core/py.typed" in ours


def test_the_version_has_one_source(wheel: Path, installed: Installed, found: dict[str, Any]) -> None:
    assert wheel.name == f"iwae-{__version__}-py3-none-any.whl"
    assert installed.call("iwae", "--version") == f"iwae {__version__}\n"
    assert found["version"] == __version__


def test_everything_comes_from_the_wheel(installed: Installed, found: dict[str, Any]) -> None:
    assert all(Path(place).is_relative_to(installed.environment) for place in found["places"])
    assert str(ROOT) not in found["path"]
    assert found["left out"] == ["app", "benchmarks", "tests", "pytest", "beartype"]


def test_requirements_are_those_of_the_file(found: dict[str, Any]) -> None:
    assert sorted(found["requirements"]) == sorted((ROOT / "requirements.txt").read_text().splitlines())


def test_the_commands(installed: Installed, trained: str, used: list[str], found: dict[str, Any]) -> None:
    assert json.loads(trained)["steps"] == 3
    assert found["codes"] == [0, 0]
    assert json.loads(used[0])["images"] == 3
    page = (installed.folder / "report.html").read_text(encoding="utf-8")
    assert plotly_js.source()[:1000] in page


def test_what_ships_with_it_can_be_loaded(found: dict[str, Any]) -> None:
    assert found["digits"] == 60_000
    assert found["models"] == list(models.names())
    assert found["finished"], "the experiment shown first"


def test_the_page(installed: Installed) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://localhost:{probe.getsockname()[1]}"
    options = "--server.port", url.rpartition(":")[2], "--server.scriptHealthCheckEnabled", "true"
    with installed.start("iwae", "demo", *options) as server:
        assert answer(f"{url}/_stcore/health", server) == "ok"
        assert answer(f"{url}/_stcore/script-health-check", server) == "ok", "the page can be drawn"
        assert workers(installed.folder), "and has a process to train in"
        server.send_signal(signal.SIGINT)
        output, _ = server.communicate(timeout=60)
    assert url in output
    assert "usage statistics" not in output, "Streamlit has not found the settings"
    assert not workers(installed.folder)


def answer(url: str, server: subprocess.Popen[str]) -> str:
    """What a server says that has just been started."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as said:
                return str(said.read().decode())
        except OSError:
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)


def test_in_the_image_the_commands_of_dask_find_the_program() -> None:
    image = (ROOT / "Dockerfile").read_text()
    (folder,) = re.findall(r"^WORKDIR (/app)\nCOPY \. \.$", image, re.M)
    assert f" PYTHONPATH={folder} " in image, "they look where they are installed, and not in the current folder"
