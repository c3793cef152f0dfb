"""Settings of a server from its environment."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from iwae_core.training.fields import SpecError, limits, variable
from iwae_lab.engines import (
    EngineLimits,
    chosen_backend,
    from_environment,
)
from tests.support.running import cluster as cluster
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers
from ui.server.settings import ServerSettings


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment({}) == EngineLimits()
    variables = {"IWAE_SLOTS": "3", "IWAE_QUEUE": "5", "IWAE_GRACE": "7.5", "IWAE_MEMORY_MB": "900", "IWAE_HANG": "1"}
    assert from_environment(variables) == EngineLimits(slots=3, queue=5, grace=7.5, memory_mb=900)
    for value in "x", "0", "-1", "1.5", "nan", "inf", "1001", "0x10":
        with pytest.raises(SpecError, match=r"(IWAE_SLOTS|slots) \(.*\) must be a whole number from 1 to 1,000; got"):
            from_environment({"IWAE_SLOTS": value})
    cluster = {"IWAE_SCHEDULER": "tls://scheduler:8786"}
    assert from_environment(cluster) == EngineLimits(slots=1000), "as many as its cluster has"
    assert from_environment(cluster | {"IWAE_SLOTS": "3"}) == EngineLimits(slots=3)
    assert [chosen_backend(found) for found in ({}, cluster)] == ["local", "cluster"]
    for address in "scheduler:8786", "tls://scheduler", "udp://scheduler:8786", "tls://a b:1", "tls://:8786":
        with pytest.raises(SpecError, match="IWAE_SCHEDULER must be an address such as tls://"):
            from_environment({"IWAE_SCHEDULER": address})
    monkeypatch.setattr("iwae_lab.engines.settings.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"IWAE_SCHEDULER needs Dask: pip install -r requirements-cluster.txt"):
        from_environment(cluster)
    runs = "slots", "queue", "unfinished", "per_visitor", "per_address"
    settings = (*runs, "grace", "abandon", "quota_mb", "memory_mb")
    assert tuple(limits(EngineLimits)) == settings


def test_every_variable_that_is_read_is_documented_with_its_default() -> None:
    root = Path(__file__).parents[2]
    files = [
        root / "app.py",
        *root.glob("iwae_core/**/*.py"),
        *root.glob("iwae_lab/engines/**/*.py"),
        *root.glob("ui/**/*.py"),
    ]
    source = "".join(path.read_text() for path in files)
    numbers = {
        variable(name): value for kind in (EngineLimits(), ServerSettings()) for name, value in asdict(kind).items()
    }
    read = {variable(name) for kind in (EngineLimits, ServerSettings) for name in limits(kind)}
    names = set(re.findall(r"IWAE_[A-Z_]+", source)) | read
    documented = dict(re.findall(r"^\| `(IWAE_[A-Z_]+)` \| (.*?) \|", (root / "README.md").read_text(), re.M))
    assert names == set(documented)
    for name in read - {"IWAE_SLOTS"}:  # the number of processors
        assert float(documented[name]) == numbers[name]
