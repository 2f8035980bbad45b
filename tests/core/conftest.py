from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from decider_core.compile import INTERPRETED

HERE = Path(__file__).parent

# No deadline: the first example of a test may compile a kernel. Derandomised: a run can be made again.
settings.register_profile(
    "kernels", deadline=None, derandomize=True, database=None, max_examples=10 if INTERPRETED else 100
)
settings.load_profile("kernels")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.core)
