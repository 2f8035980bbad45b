import itertools

import naive_estimators as naive
import numpy as np
import pytest

from decider.errors import InvalidInput
from decider.evaluation import LoggedSets, estimators
from decider.evaluation.rows import less
from decider.evaluation.sets import nothing_sent, pseudo_inverse, set_rows
from decider.evaluation.sums import estimates_of
from decider_core.assemble import Caps
from decider_core.explore import explore_propensity, explore_sets

N_CANDIDATES = 4
SHARES = np.array([0.3, 0.4, 0.3])
WEIGHT = np.array([1.0, 2.0, 1.0, 0.5])


def caps(n):
    """At most two messages a member, nothing else barred."""
    return Caps(
        np.zeros(N_CANDIDATES, np.int32), np.arange(N_CANDIDATES, dtype=np.int32), np.full(n, 2, np.int16),
        np.full((1, n), 9, np.int16), np.full((N_CANDIDATES, n), 9, np.int16), 2,
    )  # fmt: skip


ALL_SETS = [s for m in range(3) for s in itertools.combinations(range(N_CANDIDATES), m)]


def expected(members):
    """Expected reward of a set: a base, an effect of each message, and fatigue in the second."""
    return 1.0 + sum(0.3 * (c + 1) for c in members) - 0.4 * (len(members) == 2)


def explored(seed, n):
    """A log of explore sets, its logged sets, and a policy's chance of each: {1, 3} with 0.7, else nothing."""
    g = np.random.default_rng(seed)
    keys = g.integers(0, 2**63, n).astype(np.uint64)
    reason = np.zeros((N_CANDIDATES, n), np.uint8)
    names = np.arange(1, N_CANDIDATES + 1, dtype=np.uint64)
    sets, propensity = explore_sets(seed, 0, SHARES, WEIGHT, reason, caps(n), keys, names)
    logged = [tuple(sorted(int(c) for c in column if c >= 0)) for column in sets.T]
    reward = np.array([expected(s) for s in logged]) + g.normal(size=n)
    log = LoggedSets(reward, propensity, np.array([not s for s in logged]), keys)
    target = np.array([{(1, 3): 0.7, (): 0.3}.get(s, 0.0) for s in logged])
    return log, logged, target


def test_explored_propensities_are_of_whole_sets():
    columns = np.full((2, len(ALL_SETS)), -1, np.int16)
    for j, s in enumerate(ALL_SETS):
        columns[: len(s), j] = s
    reason = np.zeros((N_CANDIDATES, len(ALL_SETS)), np.uint8)
    assert explore_propensity(columns, SHARES, WEIGHT, reason, caps(len(ALL_SETS))).sum() == pytest.approx(
        1.0
    )


def test_values_of_sets_are_right_on_average():
    # 60 logs of 4,000 rows; bounds at 4.5 standard errors of their mean: a false alarm has probability 3e-5.
    truth = 0.7 * expected((1, 3)) + 0.3 * expected(())
    found = {"ips": [], "snips": [], "dr": [], "incremental": []}
    for seed in range(60):
        log, logged, target = explored(seed, 4000)
        # A reward model that knows neither fatigue nor the base.
        q = {s: 0.5 + sum(0.3 * (c + 1) for c in s) for s in ALL_SETS}
        q_logged = np.array([q[s] for s in logged])
        dm = np.full(4000, 0.7 * q[(1, 3)] + 0.3 * q[()])
        rows = set_rows(target, log, dm, q_logged)
        rests = nothing_sent(log, np.full(4000, q[()]), q_logged)
        for name in ("ips", "snips", "dr"):
            found[name].append(getattr(estimators, name)(rows).value - truth)
        increment = less(estimators.dr(rows), estimators.dr(rests)).value
        found["incremental"].append(increment - (truth - expected(())))
    for name, errors in found.items():
        assert abs(np.mean(errors)) < 4.5 * np.std(errors) / np.sqrt(60), name
    assert np.std(found["dr"]) < np.std(found["ips"])


def test_the_pseudo_inverse_equals_its_definition_and_is_right_where_slots_add_up():
    # Two slots (channels), each with three choices, drawn apart. 4.5 standard errors: 7e-6.
    g = np.random.default_rng(0)
    n = 30_000
    log_chances = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    policy_chances = np.array([[0.1, 0.1, 0.8], [0.7, 0.2, 0.1]])
    effects = np.array([[0.0, 1.0, 2.0], [0.0, -1.0, 0.5]])
    choice = np.stack([g.choice(3, n, p=chances) for chances in log_chances], axis=1)
    reward = effects[0][choice[:, 0]] + effects[1][choice[:, 1]] + g.normal(size=n)
    p = np.stack([log_chances[slot][choice[:, slot]] for slot in (0, 1)], axis=1)
    pi = np.stack([policy_chances[slot][choice[:, slot]] for slot in (0, 1)], axis=1)
    log = LoggedSets(reward, p.prod(axis=1), (choice == 0).all(axis=1), np.arange(n, dtype=np.uint64))
    terms = pseudo_inverse(pi, p, log)
    assert terms.value == pytest.approx(naive.pseudo_inverse(pi, p, reward), rel=1e-10)
    truth = float((policy_chances * effects).sum())
    whole = estimators.ips(set_rows(pi.prod(axis=1), log))
    found = estimates_of({"pi": terms, "ips": whole}, log.member_keys, 0, 0)
    assert abs(terms.value - truth) < 4.5 * found["pi"].standard_error
    assert found["pi"].standard_error < found["ips"].standard_error


def test_drawing_without_replacement_has_no_pseudo_inverse():
    log, logged, _ = explored(3, 500)
    # The slots as one would be tempted to give them: first and second pick, by their marginal chances.
    marginal = WEIGHT / WEIGHT.sum()
    slots = np.array([[marginal[s[0]] if s else 0.3, marginal[s[1]] if len(s) > 1 else 0.4] for s in logged])
    with pytest.raises(
        InvalidInput, match="drawn without replacement, have no pseudo-inverse in product form"
    ):
        pseudo_inverse(slots, slots, log)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"reward": np.array([1.0, np.nan])}, "reward must be finite, got nan at row 1"),
        ({"propensity": np.array([0.0, 0.5])}, r"propensity must be in \(0, 1\], got 0.0 at row 0"),
        ({"propensity": np.array([0.5, 1.5])}, r"propensity must be in \(0, 1\], got 1.5 at row 1"),
        ({"empty": np.zeros(2)}, "empty must be bool"),
        ({"member_keys": np.zeros(3, np.uint64)}, r"member_keys must be uint64 of shape \(2,\)"),
    ],
)
def test_logged_sets_that_break_a_rule_are_refused(changes, text):
    parts = {
        "reward": np.zeros(2),
        "propensity": np.ones(2),
        "empty": np.zeros(2, np.bool_),
        "member_keys": np.zeros(2, np.uint64),
    }
    with pytest.raises(InvalidInput, match=text):
        LoggedSets(**parts | changes)


def test_policies_over_sets_that_break_a_rule_are_refused():
    log, _, target = explored(4, 50)
    with pytest.raises(InvalidInput, match=r"target must be in \[0, 1\], got 2.0 at row 0"):
        set_rows(np.full(50, 2.0), log)
    with pytest.raises(InvalidInput, match="q_logged must be given if and only if dm is"):
        set_rows(target, log, np.zeros(50))
    with pytest.raises(InvalidInput, match="dm must be finite, got inf at row 0"):
        set_rows(target, log, np.full(50, np.inf), np.zeros(50))
    with pytest.raises(InvalidInput, match=r"slot_propensity must be float64 of shape \(50, slots\)"):
        pseudo_inverse(np.ones((50, 2)), np.ones((50, 3)), log)
    with pytest.raises(InvalidInput, match=r"slot_propensity must be in \(0, 1\]"):
        pseudo_inverse(np.ones((50, 2)), np.zeros((50, 2)), log)
