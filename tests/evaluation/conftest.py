from __future__ import annotations

import pytest

from decider.evaluation import read_logged
from decider.logbook.trial import TrialSpec, import_trial

SPEC = TrialSpec(
    arm="segment",
    control="No E-Mail",
    rewards=["visit", "conversion", "spend"],
    features=["recency", "history", "mens", "womens", "newbie"],
    shares="uniform",
)


@pytest.fixture(scope="session")
def hillstrom(data_dir, tmp_path_factory):
    """Hillstrom's e-mail trial, imported; call it with the name of a reward."""
    out = tmp_path_factory.mktemp("evaluation") / "hillstrom"
    feedback = import_trial(data_dir("hillstrom.csv.gz"), SPEC, out)
    return lambda reward: read_logged(feedback, reward)
