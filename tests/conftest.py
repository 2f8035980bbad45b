"""Fixtures that every test directory shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Callable[[str], Path]:
    """Find a real data file: skip when no folder is named, fail when one is and the file is missing."""
    folder = os.environ.get("DECIDER_DATA_DIR")
    if not folder:
        pytest.skip("DECIDER_DATA_DIR is not set: the tests on real data are left out")

    def find(name: str) -> Path:
        path = Path(folder) / name
        if not path.is_file():
            pytest.fail(f"DECIDER_DATA_DIR is set, but {path} is missing")
        return path

    return find
