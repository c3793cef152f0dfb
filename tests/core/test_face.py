"""The public face of the core: what it lists is there, and looking at it loads nothing."""

import subprocess
import sys

import pytest

import iwae_core


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
