from __future__ import annotations

import pytest

from decider.reporting import Report
from tests.reporting.small_report import small_report


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return small_report(tmp_path_factory.mktemp("report"))
