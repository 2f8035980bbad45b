"""One house for all tests that only read; a copy of it for each test that writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.small_house import make_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a house that nobody changes."""
    folder = tmp_path_factory.mktemp("house")
    make_house(folder)
    return folder


@pytest.fixture
def own_house(house: Path, tmp_path: Path) -> Path:
    """The folder of a house of one's own."""
    folder = tmp_path / "house"
    shutil.copytree(house, folder)
    return folder
