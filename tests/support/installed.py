"""The program as somebody else has it: its wheel in an environment of its own, the clone out of sight."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OFFLINE = "--no-deps", "--no-index"


def build_wheel(folder: Path) -> Path:
    """The wheel of this clone; the backend is the one that the tests' environment has, so nothing is downloaded."""
    _pip("wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass
class Installed:
    """An environment that has the program from a wheel, and a folder to call it in."""

    environment: Path
    folder: Path

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """A command of this environment, under way; runs of the page are kept in the folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.Popen(
            [self.environment / "bin" / name, *arguments],
            cwd=self.folder,
            env=kept | {"IWAE_RUNS_DIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, name: str, *arguments: str) -> str:
        """What a command of this environment prints; it must succeed."""
        with self.start(name, *arguments) as process:
            output, _ = process.communicate()
        assert process.returncode == 0, output
        return output


def install(wheel: Path, environment: Path, folder: Path) -> Installed:
    """The program in a new environment that has what it requires, what that requires, and nothing else.

    Installing torch anew would take a minute and a gigabyte, so these are links to what the tests' environment has. A
    module of a package that is not required, such as pytest or mypy, cannot be imported.
    """
    venv.create(environment, symlinks=True)
    python = str(environment / "bin" / "python")
    _pip("--python", python, "install", *OFFLINE, str(wheel))
    (packages,) = environment.glob("lib/python*/site-packages")
    (program,) = distributions(path=[str(packages)])
    for required in _required(program):
        for top in {file.parts[0] for file in required.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(str(required.locate_file(top)))
    _pip("--python", python, "check")
    folder.mkdir()
    return Installed(environment, folder)


def _required(program: Distribution) -> Iterable[Distribution]:
    """What a package requires here, and so on."""
    found: dict[str, Distribution] = {}
    waiting = [program]
    while waiting:
        for requirement in map(Requirement, waiting.pop().requires or ()):
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and canonicalize_name(requirement.name) not in found:
                waiting.append(distribution(requirement.name))
                found[canonicalize_name(requirement.name)] = waiting[-1]
    return found.values()


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)
