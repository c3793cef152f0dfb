"""The public face of the core: what it lists is there, and looking at it loads nothing."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

import iwae_core
from iwae_core.bounds import BOUNDS
from iwae_core.data.dataset import binarise
from iwae_core.estimators import require
from iwae_core.models import MODELS


def test_every_name_is_there() -> None:
    assert len(iwae_core.__all__) > 20
    for name in iwae_core.__all__:
        assert getattr(iwae_core, name) is not None
    assert dir(iwae_core) == sorted(iwae_core.__all__)
    with pytest.raises(AttributeError, match="module 'iwae_core' has no attribute 'elbow'"):
        iwae_core.elbow  # noqa: B018


def test_a_name_is_looked_up_when_it_is_used() -> None:
    code = "import sys, iwae_core; assert 'torch' not in sys.modules; iwae_core.elbo; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_core_needs_nothing_but_torch_numpy_and_jaxtyping() -> None:
    code = """
import sys
for name in ("streamlit", "plotly", "PIL", "pandas", "iwae_lab", "ui"):
    sys.modules[name] = None  # an import of it would fail
from iwae_core import *
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("bounds", lambda: BOUNDS["elbo"](torch.zeros(2, 1))),
        ("data", lambda: binarise(torch.zeros(1, 1), torch.Generator())),
        ("estimators", lambda: require("iwae", 2, ("reparameterized",))),
        ("models", lambda: MODELS["linear_2d"](torch.full((4,), 0.5), torch.Generator())),
    ],
)
def test_a_package_imports_all_its_modules_so_that_what_registers_itself_there_is_known(
    package: str, use: Callable[[], object]
) -> None:
    code = f"""
import pkgutil, sys
import iwae_core.{package} as package
names = [f"{{package.__name__}}.{{module.name}}" for module in pkgutil.iter_modules(package.__path__)]
assert len(names) > 3 and all(name in sys.modules for name in names)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert use() is not None
