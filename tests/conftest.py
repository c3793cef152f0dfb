"""Fixtures for every test."""

from collections.abc import Iterator

import pytest
from browser import open_browser
from hypothesis import settings
from playwright.sync_api import Browser

from iwae_core.train import prepare_process

# The same examples every time, and no time limit for each: the machine may be busy.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def _settings_of_a_training_process() -> None:
    """Several threads on a busy two-core machine are many times slower than one."""
    prepare_process()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for the whole session; open a context or page of it per test."""
    with open_browser() as browser:
        yield browser
