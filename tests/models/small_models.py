"""Models small enough to check by hand."""

import numpy as np

from decider.models import RawMap, UpliftModel

FEATURES = ("recency", "visits")


def small_map():
    return RawMap(FEATURES, np.array([5.0, 1.0]), np.array([2.0, 0.5]))


def small_model(seed=0, diagonal=False, **changes):
    """Three posteriors over an intercept and two features."""
    g = np.random.default_rng(seed)
    root = g.normal(size=(3, 3, 3))
    covariance = root @ root.transpose(0, 2, 1)
    covariance = (covariance + covariance.transpose(0, 2, 1)) / 2
    parts = {
        "name": "uplift",
        "feature_map": small_map(),
        "posterior_names": ("mens@email", "womens", "type:sale"),
        "mean": g.normal(size=(3, 3)),
        "covariance": np.abs(g.normal(size=(3, 3))) if diagonal else covariance,
        "reward": "visit",
        "trained": {"n_rows": 1000, "share": 0.1, "why": "größer"},
    }
    return UpliftModel(**parts | changes)
