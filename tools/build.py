"""What the build of the package cannot know from pyproject.toml alone."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class Requirements(MetadataHookInterface):
    """What the program needs is said in requirements.txt only."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the requirements to what is told of the package."""
        metadata["dependencies"] = Path(self.root, "requirements.txt").read_text(encoding="utf-8").splitlines()


class Front(BuildHookInterface):
    """The page's script and its settings stay together in a wheel; `ui.demo` finds them there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add both files, but not to an editable installation, which uses those of the clone."""
        if version == "standard":
            for name in ("app.py", ".streamlit/config.toml"):
                build_data["force_include"][name] = f"ui/front/{name}"
