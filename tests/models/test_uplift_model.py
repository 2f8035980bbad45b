import numpy as np
import pytest
from small_models import FEATURES, small_model

from decider.errors import InvalidInput
from decider_core.score import posterior_moments

CANDIDATES = (
    ("mens@email", "mens", "sale"),
    ("womens@push", "womens", "sale"),
    ("shoes@email", "shoes", "sale"),
    ("news@email", "news", "editorial"),
)


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_candidate_takes_its_own_posterior_then_its_messages_then_its_types_widened(diagonal):
    model = small_model(diagonal=diagonal, widen=3.0)
    bound = model.bind(CANDIDATES)
    assert bound.sources == ("mens@email", "womens", "type:sale", "")
    np.testing.assert_array_equal(bound.estimable, np.array([1, 1, 1, 0], np.uint8))
    x = np.array([[4.0, 2.0], [7.0, 0.0]], np.float32)
    z = model.feature_map.apply(x)
    mean, sd = posterior_moments(bound.packed, z)
    for k, (j, factor) in enumerate([(0, 1.0), (1, 1.0), (2, 3.0)]):
        covariance = np.diag(model.covariance[j]) if diagonal else model.covariance[j]
        for i in range(2):
            row = z[i].astype(float)
            assert mean[k, i] == pytest.approx(row @ model.mean[j], rel=1e-4, abs=1e-5)
            assert sd[k, i] == pytest.approx(np.sqrt(factor * row @ covariance @ row), rel=1e-4)
    assert (mean[3] == 0).all()
    assert (sd[3] == 0).all()


def test_the_own_posterior_wins_over_the_message_and_the_type():
    names = ("mens", "mens@email", "type:sale")
    assert small_model(posterior_names=names).bind(CANDIDATES).sources[0] == "mens@email"


def test_fatigue_is_zero_unless_given():
    assert (small_model().bind(CANDIDATES).fatigue == 0).all()
    v = np.array([0.1, 0.0, -0.2])
    bound = small_model(fatigue=v, same_topic_penalty=0.5).bind(CANDIDATES)
    np.testing.assert_array_equal(bound.fatigue, v.astype(np.float32))
    assert bound.same_topic_penalty == 0.5


def test_the_version_is_that_of_the_content():
    assert small_model().version == small_model().version
    versions = {
        small_model().version,
        small_model(seed=1).version,
        small_model(widen=2.5).version,
        small_model(name="other").version,
        small_model(trained={}).version,
    }
    assert len(versions) == 5
    assert all(len(version) == 23 and version.startswith("sha256:") for version in versions)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (("recency",), r"features must hold all of model 'uplift', missing \['visits'\]"),
        (("recency", "visits", "age"), r"must hold none unknown to model 'uplift', got \['age'\]"),
        (("visits", "recency"), r"in the order of model 'uplift', 'recency' at 0, got 'visits'"),
        (("recency", "age"), r"missing \['visits'\]; features must hold none unknown .* got \['age'\]"),
    ],
)
def test_other_features_than_the_models_are_named(found, text):
    with pytest.raises(InvalidInput, match=text):
        small_model().check_features(found)


def test_the_models_own_features_pass():
    small_model().check_features(list(FEATURES))


def broken_covariance(kind):
    covariance = np.stack([np.eye(3)] * 3)
    if kind == "not symmetric":
        covariance[1, 0, 1] = 0.3
    elif kind == "indefinite":
        covariance[2, 0, 1] = covariance[2, 1, 0] = 2.0
    elif kind == "nan":
        covariance[0, 2, 2] = np.nan
    return covariance


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"posterior_names": ("a", "a", "b")}, "posterior_names must be distinct and not empty"),
        ({"posterior_names": ("a", "b")}, r"mean must be float64 of shape \(2, 3\), got float64 of shape"),
        ({"outcome": "clicks"}, "outcome must be 'incrementality' or 'level', got 'clicks'"),
        ({"widen": 0.5}, "widen must be finite and >= 1, got 0.5"),
        ({"widen": float("nan")}, "widen must be finite and >= 1, got nan"),
        ({"same_topic_penalty": -1.0}, "same_topic_penalty must be finite and >= 0, got -1.0"),
        ({"fatigue": np.zeros(2)}, r"fatigue must be float64 of shape \(3,\), got float64 of shape \(2,\)"),
        ({"fatigue": np.array([0.0, np.inf, 0.0])}, r"fatigue must be finite, got inf at \(1,\)"),
        ({"mean": np.full((3, 3), np.nan)}, r"mean must be finite, got nan at \(0, 0\)"),
        ({"mean": np.zeros((3, 3), np.float32)}, "mean must be float64"),
        ({"pair_features": ("affinity",)}, r"mean must be float64 of shape \(3, 4\)"),
        (
            {"covariance": broken_covariance("not symmetric")},
            "must be symmetric, differs by 0.3 at posterior 1",
        ),
        (
            {"covariance": broken_covariance("indefinite")},
            "positive semidefinite, got eigenvalue -1 at posterior 2",
        ),
        ({"covariance": broken_covariance("nan")}, r"covariance must be finite, got nan at \(0, 2, 2\)"),
        ({"covariance": np.array([[1.0, -1.0, 1.0]] * 3)}, r"covariance must be >= 0, got -1.0 at \(0, 1\)"),
    ],
)
def test_a_model_that_breaks_a_rule_is_refused(changes, text):
    with pytest.raises(InvalidInput, match=text):
        small_model(**changes)


def test_pair_features_come_after_z():
    g = np.random.default_rng(3)
    covariance = np.stack([np.eye(4)] * 3)
    model = small_model(pair_features=("affinity",), mean=g.normal(size=(3, 4)), covariance=covariance)
    z = model.feature_map.apply(np.array([[4.0, 2.0]], np.float32))
    u = np.full((1, 4, 1), 0.5, np.float32)
    mean, _ = posterior_moments(model.bind(CANDIDATES).packed, z, u)
    assert mean[0, 0] == pytest.approx(z[0] @ model.mean[0, :3] + 0.5 * model.mean[0, 3], rel=1e-5)
