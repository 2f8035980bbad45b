import numpy as np
import pytest

from decider.errors import InvalidInput
from decider.learning.instrument import two_stage, wald

EFFECT = 0.4


def logged(seed, n=2000, reach=0.5, effect=EFFECT):
    """Sends at random, opened by those who are keen, who do well anyway."""
    g = np.random.default_rng(seed)
    keen = g.normal(size=n)
    x = g.normal(size=(n, 2))
    sent = (g.random(n) < 0.5).astype(float)
    opened = sent * (g.random(n) < np.clip(reach + 0.2 * keen, 0, 1)) if reach else (keen > 1).astype(float)
    reward = 1 + keen + x[:, 0] + effect * opened + g.normal(size=n)
    return reward, opened.astype(float), sent, x


def test_wald_is_two_stage_without_covariates():
    reward, opened, sent, _ = logged(0)
    assert two_stage(reward, opened, sent).value == pytest.approx(wald(reward, opened, sent), rel=1e-10)


def test_a_plain_comparison_is_fooled_and_the_instrument_is_not():
    reward, opened, sent, x = logged(1, n=20_000)
    found = two_stage(reward, opened, sent, x)
    assert abs(found.value - EFFECT) < 4 * found.standard_error
    assert reward[opened == 1].mean() - reward[opened == 0].mean() > EFFECT + 5 * found.standard_error
    assert found.first_stage == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("reach", [0.5, 0.08])
def test_intervals_cover(reach):
    # 300 logs: coverage of 95 % lies in [0.90, 0.985] but for probability 2e-4.
    robust, region = [], []
    for seed in range(300):
        reward, opened, sent, x = logged(seed, n=1000, reach=reach)
        found = two_stage(reward, opened, sent, x)
        region.append(any(low <= EFFECT <= high for low, high in found.anderson_rubin))
        if found.value is not None:
            robust.append(abs(found.value - EFFECT) < 1.96 * found.standard_error)
    assert 0.90 <= np.mean(region) <= 0.985
    if reach == 0.5:
        assert 0.90 <= np.mean(robust) <= 0.985


def test_the_region_holds_what_the_instrument_does_not_tell():
    reward, opened, sent, _ = logged(3)
    ((low, high),) = two_stage(reward, opened, sent).anderson_rubin
    z = sent - sent.mean()
    for b, inside in ((low - 0.01, False), (low + 0.01, True), (high - 0.01, True), (high + 0.01, False)):
        rest = reward - b * opened
        rest = rest - rest.mean()
        slope = z @ rest / (z @ z)
        error = np.sqrt(np.sum((z * (rest - slope * z)) ** 2)) / (z @ z)
        assert (abs(slope) < 1.95996 * error) == inside


def test_a_weak_instrument_gives_no_value_and_says_why():
    reward, opened, sent, _ = logged(4, reach=0)
    found = two_stage(reward, opened, sent)
    assert (found.value, found.standard_error) == (None, None)
    assert "first stage's F must be at least 10, got" in found.refused
    assert "has no estimate" in found.in_words("opened")
    assert np.isinf(found.anderson_rubin[0][0])


def test_it_is_said_in_words_for_whom():
    reward, opened, sent, x = logged(5)
    text = two_stage(reward, opened, sent, x).in_words("reached", "watching")
    assert text.startswith("5")
    assert "of members are reached because of the send" in text
    assert "For them, and for no others, being reached changes watching by +0." in text


def test_rows_of_a_member_are_not_taken_for_more_members():
    reward, opened, sent, x = (np.repeat(each, 4, axis=0) for each in logged(6, n=800))
    keys = np.repeat(np.arange(800, dtype=np.uint64), 4)
    once = two_stage(*logged(6, n=800))
    assert two_stage(reward, opened, sent, x, keys).standard_error == pytest.approx(
        once.standard_error, rel=0.01
    )
    assert two_stage(reward, opened, sent, x).standard_error < 0.6 * once.standard_error


def test_bad_input_is_refused():
    reward, opened, sent, x = logged(7, n=100)
    with pytest.raises(InvalidInput, match=r"sent must vary, got 1\.0 in all 100 rows"):
        wald(reward, opened, np.ones(100))
    with pytest.raises(InvalidInput, match="exposed must differ"):
        wald(reward, np.ones(100), sent)
    with pytest.raises(InvalidInput, match="instrument must vary beyond the covariates"):
        two_stage(reward, opened, sent, sent[:, None])
    with pytest.raises(InvalidInput, match="at least 30 rows, got 20"):
        two_stage(reward[:20], opened[:20], sent[:20])
    with pytest.raises(InvalidInput, match=r"exposed must have shape \(100,\)"):
        two_stage(reward, opened[:50], sent)
    with pytest.raises(InvalidInput, match="covariates must have 100 rows"):
        two_stage(reward, opened, sent, x[:, 0])
    opened[4] = np.nan
    with pytest.raises(InvalidInput, match="exposed must be finite, got nan at row 4"):
        two_stage(reward, opened, sent)
