"""A log judged on in chunks: the same rows, reward model and choices as in memory."""

import numpy as np
import polars as pl
import pytest
from known_world import simulated

from decider.errors import InvalidInput, UnknownName
from decider.evaluation import JudgeSpec, arm_effects, check_propensities, judge_policies, judge_policy
from decider.evaluation.policies import best_at_volume, constant
from decider.learning import Judging, LogPasses, TrainSpec, train_on
from decider.logbook.feedback import Feedback, seal_feedback

SPEC = TrainSpec(reward="visit", half="held-out", folds=3, seed=2)


class InFew(Feedback):
    """A log of which few rows are read at a time."""

    def chunks(self, columns, chunk_rows=700):
        return super().chunks(columns, 700)


@pytest.fixture(scope="module")
def feedback(tmp_path_factory):
    log = simulated(0, n=4000)
    columns = {
        "member_id": log.member_keys.view(np.int64),
        "arm": pl.Series(log.arms).gather(log.arm),
        "propensity": log.taken,
    }
    columns |= {f"p:{arm}": log.propensity[:, code] for code, arm in enumerate(log.arms)}
    columns |= {"y:visit": log.reward, "y:left": log.reward**2}
    columns |= {f"x:{name}": log.x[:, j] for j, name in enumerate(log.feature_names)}
    out = tmp_path_factory.mktemp("passes") / "log"
    seal_feedback(
        pl.DataFrame(columns), out, arms=list(log.arms), control=log.arms[log.control], rewards=["visit", "left"],
        feature_names=list(log.feature_names), facts={},
    )  # fmt: skip
    return InFew.open(out)


@pytest.fixture(scope="module")
def model(feedback):
    log = Judging(feedback, TrainSpec(reward="visit")).log
    (found,) = train_on(log, TrainSpec(reward="visit", learners=("t_learner",))).models
    return found


@pytest.mark.parametrize("half", ["held-out", "all"])
def test_passes_give_what_is_judged_in_memory(feedback, model, half):
    spec = TrainSpec(reward="visit", half=half, folds=3, seed=2)
    whole, told = Judging(feedback, spec), []
    passes = LogPasses(feedback, spec, harm="left", told=lambda *each: told.append(each))
    survey = passes.survey({"it": model})
    lessons = passes.lessons(survey)
    assert survey.n_judged == whole.rows.n_rows
    assert survey.members.n == len(np.unique(whole.log.member_keys))
    assert survey.judged.n == len(np.unique(whole.rows.member_keys))
    policies = {
        "first": lambda rows: constant(rows, 1),
        "best": passes.best_at_volume(survey, "it", model, 0.3),
    }
    chunks = list(passes.judged(survey, lessons, policies, "judging"))
    assert len(chunks) == 6
    harm, q_harm = whole.other_reward("left")
    for ref, comp in (
        (whole.rows.member_keys, [chunk.log.member_keys for chunk in chunks]),
        (harm.reward, [chunk.harm.reward for chunk in chunks]),
        (
            best_at_volume(whole.rows, whole.predicted(model), 0.3),
            [chunk.targets["best"] for chunk in chunks],
        ),
    ):
        np.testing.assert_array_equal(np.concatenate(comp), ref)
    for ref, comp in ((whole.q_hat, "q_hat"), (q_harm, "q_harm")):
        joined = np.concatenate([getattr(chunk, comp) for chunk in chunks])
        # A mean of features may round to the next float32, which moves z by 6e-8 of its size.
        np.testing.assert_allclose(joined, ref, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(lessons.checks, check_propensities(whole.log), strict=True):
        assert mine[1:] == pytest.approx(theirs[1:])
    for mine, theirs in zip(lessons.effects.arms, arm_effects(whole.log).arms, strict=True):
        assert mine.mean.value == pytest.approx(theirs.mean.value, rel=1e-12)
    assert told[-1] == ("judging", 4000, 4000)


def test_judged_by_passes_a_policy_has_the_numbers_it_has_in_memory(feedback, model):
    whole, passes = Judging(feedback, SPEC), LogPasses(feedback, SPEC)
    survey = passes.survey({"it": model})
    lessons = passes.lessons(survey)
    policies = {"best": passes.best_at_volume(survey, "it", model, 0.3)}
    comp = judge_policies(
        lambda _: passes.judged(survey, lessons, policies, "judging"),
        JudgeSpec(n_resamples=0, seed=2),
        survey.judged,
    )["best"].found
    target = best_at_volume(whole.rows, whole.predicted(model), 0.3)
    ref = judge_policy(target, whole.rows, whole.q_hat, n_resamples=0, seed=2)
    for name, each in ref.values.items():
        if each.value is None:
            assert comp.values[name] == each
        else:
            assert comp.values[name].value == pytest.approx(each.value, rel=1e-6)
            assert comp.values[name].standard_error == pytest.approx(each.standard_error, rel=1e-6)


def test_an_unknown_reward_is_refused_before_anything_is_read(feedback):
    with pytest.raises(UnknownName, match="'spend'"):
        LogPasses(feedback, SPEC, harm="spend")


def test_a_half_without_rows_is_refused(feedback):
    # 4,000 members all fall below a share of 1 - 1e-9 but for probability 4e-6.
    spec = TrainSpec(reward="visit", half="held-out", train_share=1 - 1e-9)
    with pytest.raises(InvalidInput, match="rows must have at least one in the half 'held-out'"):
        LogPasses(feedback, spec).survey()
