from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from decider.evaluation import Logged

HILLSTROM_ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")


@pytest.fixture(scope="session")
def hillstrom(data_dir):
    """Hillstrom's e-mail trial with one of its rewards."""
    frame = pl.read_csv(data_dir("hillstrom.csv.gz"), infer_schema_length=None)
    names = ("recency", "history", "mens", "womens", "newbie")
    x = np.ascontiguousarray(frame.select(pl.col(names).cast(pl.Float32)).to_numpy())
    codes = {arm: code for code, arm in enumerate(HILLSTROM_ARMS)}
    arm = frame["segment"].replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    n = frame.height

    def log(reward):
        rewards = frame[reward].cast(pl.Float64).to_numpy()
        chances = np.full((n, 3), 1 / 3)
        return Logged(
            HILLSTROM_ARMS, 0, reward, names, x, arm, rewards, chances, np.arange(n, dtype=np.uint64)
        )

    return log
