"""The R-learner on sets: what each message of a set causes, fatigue, and the penalty for one topic twice.

With the propensities of the log and ``m(x) = E[Y | x]`` under its policy [1]_ [2]_ ::

    Y - m(x) = sum_c (1{c in S} - p_c) tau_c(x) - (C - E[C]) phi(x) - (P - E[P]) rho + noise

for ``C = |S| (|S| - 1) / 2`` and P the pairs of one topic. It is linear in the coefficients, so their posterior
is Gaussian and its sums stream. Whatever m is, the right-hand side's responses have mean zero given x: a wrong
m costs precision and never biases.

The coefficients of candidate c are ``w_c = w_type + deviation_c``. A new message has its type's posterior and
a deviation of its own, so it starts from its type and is as much wider as messages of one type differ. The
scales of slopes, of deviations and of the baseline are learnt (:mod:`decider.learning.evidence`).

References
----------
.. [1] Robinson, "Root-n-consistent semiparametric regression", Econometrica 56, 1988.
.. [2] Nie, Wager, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika 108, 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.learning.evidence import Scales, learn_scales
from decider.learning.set_prior import Layout, lay_out
from decider.learning.set_sums import SetSums
from decider.learning.threads import one_thread
from decider.models import FeatureMap, UpliftModel
from decider.models.uplift import TYPE_PREFIX

MINIMUM_ROWS: Final = 4
"""The least number of rows for each coefficient of one candidate."""


N_POINTS: Final = 32
"""Values of the scales and the noise that the posterior is averaged over."""
SMALL: Final = 512
"""Below so many coefficients one BLAS thread is faster than several."""


class SetPosterior(NamedTuple):
    """What the log says of messages and sets; D = d + p coefficients ``[w, a]`` of ``[z, u]`` each.

    Parameters
    ----------
    candidates, types
        Names: K and T.
    mean, covariance
        Of the candidates' coefficients, float64 of shape [K, D] and [K, D, D].
    type_mean, type_covariance
        Of a new message of each type, float64 of shape [T, D] and [T, D, D].
    fatigue_mean, fatigue_covariance
        Of v, float64 of shape [d] and [d, d].
    same_topic
        Mean and standard deviation of rho.
    average, average_sd
        Mean effect of each candidate over the rows learnt from, pair features at zero, and its standard
        deviation; float64 of shape [K].
    scales
        What was learnt of the groups of :data:`decider.learning.set_prior.GROUPS` that are in use.
    facts
        As JSON values.
    """

    candidates: tuple[str, ...]
    types: tuple[str, ...]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    type_mean: NDArray[np.float64]
    type_covariance: NDArray[np.float64]
    fatigue_mean: NDArray[np.float64]
    fatigue_covariance: NDArray[np.float64]
    same_topic: tuple[float, float]
    average: NDArray[np.float64]
    average_sd: NDArray[np.float64]
    scales: Scales
    facts: dict[str, Any]


def r_learner(sums: SetSums, types: Mapping[str, str] | None = None) -> SetPosterior:
    """Return the posterior that sums over logged sets stand for.

    Parameters
    ----------
    sums
        Of all rows so far.
    types
        Message type by candidate; candidates without one share a parent that has no name.

    Raises
    ------
    InvalidInput
        If there are fewer than 4 rows for each coefficient of a candidate, or the reward does not vary.

    Notes
    -----
    A function of the sums alone: fitted in parts, as a stream or at once, the result is the same but for
    rounding. Where the noise is uneven, as with rewards of zero and one, the noise variance is its average.
    A few steps with matrices of ``((K + T + 2) d)^2`` entries.
    """
    wanted = MINIMUM_ROWS * (sums.d + sums.n_pair_features)
    if sums.weight < wanted:
        raise InvalidInput.of("rows", f"must be at least {wanted} for {sums.d} features", sums.weight)
    variance = sums.reward_variance
    if variance <= 1e-12 * sums.squares / sums.weight:
        raise InvalidInput.of("reward", "must vary", float(sums.information[0, 0] / sums.weight))
    kind_of = [(types or {}).get(name, "") for name in sums.candidates]
    kinds = sorted(set(kind_of))
    layout = lay_out(sums, [kinds.index(kind) for kind in kind_of], len(kinds))
    gram, information = layout.turned(*sums.whole())
    with one_thread(len(information) < SMALL):
        scales = learn_scales(
            gram, information, sums.squares, sums.weight, layout.group, variance, n_points=N_POINTS
        )
    return _read(sums, layout, scales, kinds, kind_of)


def set_model(
    posterior: SetPosterior,
    feature_map: FeatureMap,
    *,
    name: str,
    reward: str,
    pair_features: tuple[str, ...] = (),
    widen: float = 1.0,
    trained: Mapping[str, Any] | None = None,
) -> UpliftModel:
    """Make a posterior into a model that can be published.

    Parameters
    ----------
    posterior
        Of :func:`r_learner`.
    feature_map
        The map that gave z.
    name, reward, pair_features
        As of :class:`UpliftModel`.
    widen
        Factor >= 1 on the covariance of a new message; that of :func:`r_learner` is wide enough already.
    trained
        Further facts.

    Notes
    -----
    A model's penalty for one topic twice is not negative: where the log says that it is, the model has zero,
    and its facts tell what was learnt.
    """
    named = [t for t, kind in enumerate(posterior.types) if kind]
    return UpliftModel(
        name=name,
        feature_map=feature_map,
        posterior_names=posterior.candidates + tuple(TYPE_PREFIX + posterior.types[t] for t in named),
        mean=np.concatenate([posterior.mean, posterior.type_mean[named]]),
        covariance=np.concatenate([posterior.covariance, posterior.type_covariance[named]]),
        reward=reward,
        fatigue=posterior.fatigue_mean,
        same_topic_penalty=max(0.0, posterior.same_topic[0]),
        pair_features=pair_features,
        widen=widen,
        trained={**(trained or {}), "learner": "r_learner", **posterior.facts},
    )


def _read(
    sums: SetSums, layout: Layout, scales: Scales, kinds: list[str], kind_of: list[str]
) -> SetPosterior:
    d, p = sums.d, sums.n_pair_features
    spread = dict(zip(layout.used, scales.expected_variance.tolist(), strict=True))
    own_variance = np.r_[
        spread["message averages"],
        np.full(d - 1, spread.get("message slopes", 0.0)),
        np.full(p, spread.get("message pair effects", 0.0)),
    ]
    blocks = layout.blocks

    def places(name: str, each: int, n: int) -> NDArray[np.int64]:
        start = blocks[name].start + each * n
        return np.arange(start, start + n)

    def read(*parts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and covariance of the sum of parts of the coefficients."""
        mean = np.sum([scales.mean[part] for part in parts], axis=0)
        covariance = np.sum([scales.covariance[np.ix_(a, b)] for a in parts for b in parts], axis=0)
        return mean, (covariance + covariance.T) / 2

    def of_kind(t: int) -> NDArray[np.int64]:
        return np.concatenate([places("types", t, d), places("type pairs", t, p)])

    def of_candidate(c: int) -> NDArray[np.int64]:
        return np.concatenate([places("messages", c, d), places("pairs", c, p)])

    candidates = [read(of_kind(kinds.index(kind)), of_candidate(c)) for c, kind in enumerate(kind_of)]
    parents = [read(of_kind(t)) for t in range(len(kinds))]
    fatigue_mean, fatigue_covariance = read(places("fatigue", 0, d))
    last = blocks["same topic"].start
    same_topic = (float(scales.mean[last]), float(np.sqrt(scales.covariance[last, last])))
    mean = np.stack([each[0] for each in candidates])
    covariance = np.stack([each[1] for each in candidates])
    centre = np.concatenate([sums.mean_z, np.zeros(p)])
    average = mean @ centre
    average_sd = np.sqrt(np.einsum("i,kij,j->k", centre, covariance, centre))
    facts = {
        "n_rows": sums.weight,
        "noise_variance": scales.noise_variance,
        "same_topic": {"mean": same_topic[0], "sd": same_topic[1]},
        "scales": spread,
        "effective_coefficients": dict(zip(layout.used, scales.effective.tolist(), strict=True)),
        "candidates": {
            name: {
                "n_sent": float(sums.n_sent[c]),
                "average": float(average[c]),
                "average_sd": float(average_sd[c]),
            }
            for c, name in enumerate(sums.candidates)
        },
        "types": {name: kind for name, kind in zip(sums.candidates, kind_of, strict=True) if kind},
    }
    return SetPosterior(
        candidates=sums.candidates,
        types=tuple(kinds),
        mean=mean,
        covariance=covariance,
        type_mean=np.stack([each[0] for each in parents]),
        type_covariance=np.stack([each[1] + np.diag(own_variance) for each in parents]),
        fatigue_mean=fatigue_mean,
        fatigue_covariance=fatigue_covariance,
        same_topic=same_topic,
        average=average,
        average_sd=average_sd,
        scales=scales,
        facts=facts,
    )
