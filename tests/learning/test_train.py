from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest
from known_world import effects, members_at, simulated

from decider.errors import InvalidInput, UnknownName
from decider.evaluation import arm_effects, policy_value, read_logged
from decider.learning import TrainSpec, choose, correlational, half_of, split, train, train_on
from decider.learning.choice import ORDER
from decider.logbook.trial import TrialSpec, import_trial
from decider.models import RawMap, load_model, save_model

SPEC = TrainSpec(reward="visit", learners=("dr_learner", "correlational"))


class StoredLog:
    """A feedback log in memory."""

    arms, control, rewards = ("sale", "news", "nothing"), "nothing", ("visit",)

    def __init__(self, log):
        self.feature_names = log.feature_names
        columns = {
            "member_id": log.member_keys.view(np.int64),
            "arm": [log.arms[code] for code in log.arm],
            "propensity": log.taken,
            "y:visit": log.reward,
        }
        columns |= {f"p:{arm}": log.propensity[:, j] for j, arm in enumerate(log.arms)}
        columns |= {f"x:{name}": log.x[:, j] for j, name in enumerate(log.feature_names)}
        self.frame = pl.DataFrame(columns)

    def read(self, columns):
        return self.frame.select(columns)


def test_training_gives_one_model_for_each_learner_that_can_be_stored(tmp_path):
    spec = TrainSpec(
        reward="visit",
        learners=("dr_learner", "correlational"),
        names={"correlational": "baseline"},
        messages={"sale": "sale@email"},
        types={"sale": "offer", "news": "offer"},
        widen=3.0,
    )
    result = train(StoredLog(simulated(0)), spec)
    causal, level = result.models
    assert (causal.name, causal.outcome) == ("dr_learner", "incrementality")
    assert (level.name, level.outcome) == ("baseline", "level")
    assert result.model("correlational") is level
    for model in result.models:
        assert model.posterior_names == ("sale@email", "news", "type:offer")
        assert model.widen == 3.0
        save_model(model, tmp_path / model.name)
        assert load_model(tmp_path / model.name).version == model.version
    assert causal.trained["n_rows"] == sum(causal.trained["rows_by_arm"].values()) == result.facts["n_rows"]
    assert set(causal.trained["arms"]) == {"sale", "news"}


def test_a_stored_log_and_its_arrays_give_the_same_effects():
    log = simulated(1)
    stored, direct = train(StoredLog(log), SPEC).models[0], train_on(log, SPEC).models[0]
    for name in ("sale", "news"):
        ours, theirs = (model.posterior_names.index(name) for model in (stored, direct))
        np.testing.assert_allclose(stored.mean[ours], direct.mean[theirs], rtol=1e-9, atol=1e-12)


def test_halves_are_apart_and_complete():
    log = simulated(2)
    masks = {
        half: half_of(log.member_keys, msgspec.structs.replace(SPEC, half=half))
        for half in ("train", "held-out", "all")
    }
    np.testing.assert_array_equal(masks["train"], ~masks["held-out"])
    assert masks["all"].all()
    np.testing.assert_array_equal(masks["train"], split(log.member_keys, 0, 0.5))


def test_only_the_half_is_learnt_from():
    log = simulated(3)
    held_out = ~split(log.member_keys, 0, 0.5)
    changed = replace(
        log, reward=np.where(held_out, 1e6, log.reward), x=np.where(held_out[:, None], 7, log.x)
    )
    for ours, theirs in zip(train_on(log, SPEC).models, train_on(changed, SPEC).models, strict=True):
        assert ours.version == theirs.version


def test_a_model_finds_members_with_the_largest_effects():
    log = simulated(4, n=20_000)
    model = train_on(log, SPEC).models[0]
    x = members_at(2000)
    found = model.feature_map.apply(x).astype(float) @ model.mean.T
    assert np.corrcoef(found[:, 0], effects(x)[:, 0])[0, 1] > 0.95


def test_constant_and_dependent_features_are_reported_and_harmless():
    log = simulated(5)
    x = np.column_stack([log.x, np.full(log.n_rows, 3.0), log.x[:, 0] * 2]).astype(np.float32)
    wide = replace(log, x=x, feature_names=(*log.feature_names, "flat", "double"))
    model, plain = train_on(wide, SPEC).models[0], train_on(log, SPEC).models[0]
    assert model.trained["constant_features"] == ["flat"]
    assert model.trained["arms"]["sale"]["n_dependent_features"] == 2
    assert plain.trained["arms"]["sale"]["n_dependent_features"] == 0
    ours = model.feature_map.apply(x).astype(float) @ model.mean[0]
    theirs = plain.feature_map.apply(log.x).astype(float) @ plain.mean[0]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"learners": ()}, "learners must be one or more, each once"),
        ({"learners": ("dr_learner", "dr_learner")}, "learners must be one or more, each once"),
        ({"messages": {"sail": "sale"}}, r"messages\['sail'\] must name one of the arms \['sale', 'news'\]"),
        ({"types": {"nothing": "offer"}}, r"types\['nothing'\] must name one of the arms"),
        ({"names": {"ridge": "a"}}, "names must name a learner in use, got 'ridge'"),
        ({"folds": 1}, "folds must be >= 2, got 1"),
        ({"train_share": 1.5}, r"share must be in \(0, 1\), got 1\.5"),
        ({"widen": 0.0}, r"widen must be finite and >= 1, got 0\.0"),
        ({"reward": "spend"}, "reward must be that of the log, 'visit', got 'spend'"),
        ({"messages": {"sale": "same", "news": "same"}}, "posterior_names must be distinct"),
    ],
)
def test_a_specification_that_breaks_a_rule_is_refused(changes, text):
    with pytest.raises(InvalidInput, match=text):
        train_on(simulated(6), msgspec.structs.replace(SPEC, **changes))


def test_a_specification_refuses_what_it_does_not_know():
    with pytest.raises(msgspec.ValidationError, match="unknown field `fold`"):
        msgspec.toml.decode('reward = "visit"\nfold = 3', type=TrainSpec)
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'x'"):
        msgspec.toml.decode('reward = "visit"\nlearners = ["x"]', type=TrainSpec)


def test_an_unknown_reward_is_named():
    with pytest.raises(UnknownName, match="reward must be one of"):
        train(StoredLog(simulated(7)), TrainSpec(reward="spend"))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_reward_that_never_varies_is_refused(value):
    log = simulated(8)
    with pytest.raises(
        InvalidInput, match=rf"y:visit must vary among the \d+ rows to learn from, got {value}"
    ):
        train_on(replace(log, reward=np.full(log.n_rows, value)), SPEC)


def test_too_few_rows_are_refused():
    with pytest.raises(InvalidInput, match="must have at least 30 rows outside each of 5 folds"):
        train_on(simulated(9, n=100), SPEC)


def test_by_default_held_out_rows_choose_and_the_model_tells_why(tmp_path):
    spec = TrainSpec(reward="visit", half="all")
    model = train_on(simulated(10, n=3000), spec).model("auto")
    choice = model.trained["choice"]
    assert set(choice["arms"]) == {"sale", "news"}
    assert choice["over_simplest"]["excess"] > choice["over_simplest"]["standard_error"]
    assert choice["arms"]["sale"]["learner"] != "s_learner"
    save_model(model, tmp_path / "m")
    assert load_model(tmp_path / "m").version == model.version


@pytest.mark.parametrize(
    "learner", ["s_learner", "prognostic", "dr_prognostic", "x_learner", "t_learner", "dr_gbdt"]
)
def test_every_learner_can_be_asked_for(learner):
    model = train_on(simulated(11), TrainSpec(reward="visit", learners=(learner,))).models[0]
    assert (model.name, model.outcome) == (learner, "incrementality")
    assert model.trained["arms"]["sale"]["average"] == pytest.approx(0.5, abs=0.4)


@pytest.fixture(scope="module")
def hillstrom(data_dir, tmp_path_factory):
    spec = TrialSpec(
        arm="segment",
        control="No E-Mail",
        rewards=["visit"],
        features=["recency", "history", "mens", "womens", "newbie"],
        categories=["history_segment", "zip_code", "channel"],
        shares="uniform",
    )
    out = tmp_path_factory.mktemp("learning") / "hillstrom"
    return read_logged(import_trial(data_dir("hillstrom.csv.gz"), spec, out), "visit")


def thirty_percent(gain, choice):
    """Send each member's best message to the 30 % with the largest gain."""
    policy = np.zeros(len(gain), np.int64)
    best = np.argsort(-gain, kind="stable")[: int(0.3 * len(gain))]
    policy[best] = choice[best]
    return policy


@pytest.mark.real_data
def test_hillstroms_learnt_targeting_beats_random_members(hillstrom):
    # One data set and fixed seeds, so there is no chance in it. Five halves gave 22.1 for random members,
    # 26.0 for the doubly robust learner and 28.5 for the correlational one.
    values = {"dr_learner": [], "correlational": [], "random": []}
    for seed in range(5):
        spec = msgspec.structs.replace(SPEC, seed=seed)
        models = train_on(hillstrom, spec).models
        held_out = hillstrom.rows(~split(hillstrom.member_keys, seed, spec.train_share))
        share = np.tile([0.7, 0.3, 0.0], (held_out.n_rows, 1))
        values["random"].append(policy_value(share, held_out, n_resamples=0).incremental_ips.value)
        for model in models:
            mean = model.feature_map.apply(held_out.x).astype(float) @ model.mean.T
            policy = thirty_percent(mean.max(axis=1), mean.argmax(axis=1) + 1)
            found = policy_value(policy, held_out, n_resamples=0)
            assert found.send_share == pytest.approx(0.3, abs=1e-4)
            values[model.name].append(found.incremental_ips.value)
    per_thousand = {name: 1000 * np.mean(found) for name, found in values.items()}
    assert 20 < per_thousand["random"] < 25
    assert per_thousand["dr_learner"] > per_thousand["random"] + 1
    assert per_thousand["correlational"] > per_thousand["random"] + 3


@pytest.mark.real_data
def test_hillstroms_average_effects_agree_with_the_trials(hillstrom):
    model = train_on(hillstrom, msgspec.structs.replace(SPEC, half="all")).models[0]
    for arm in ("Mens E-Mail", "Womens E-Mail"):
        found, trial = model.trained["arms"][arm], arm_effects(hillstrom).of(arm).incrementality
        assert found["average"] == pytest.approx(trial.value, abs=0.5 * trial.standard_error)
        assert found["average_sd"] == pytest.approx(trial.standard_error, rel=0.05)


@pytest.mark.real_data
@pytest.mark.slow
def test_hillstroms_chosen_learners_reach_the_correlational_engine(hillstrom):
    # One data set and fixed seeds, so there is no chance in it; all twenty halves, for a half's difference has a
    # standard deviation of 1.5 per thousand. Boosted nuisances are left out for time: no half chooses them.
    values = {"auto": [], "correlational": []}
    for seed in range(20):
        in_training = split(hillstrom.member_keys, seed, 0.5)
        part, held_out = hillstrom.rows(in_training), hillstrom.rows(~in_training)
        feature_map = RawMap.fit(part.x, part.feature_names)
        z, held_out_z = feature_map.apply(part.x), feature_map.apply(held_out.x).astype(float)
        chosen = choose(part, z, seed=seed, order=ORDER[:-1]).arms
        for name, arms in (("auto", chosen), ("correlational", correlational(part, z))):
            mean = held_out_z @ np.stack([arm.posterior.mean for arm in arms]).T
            policy = thirty_percent(mean.max(axis=1), mean.argmax(axis=1) + 1)
            values[name].append(policy_value(policy, held_out, n_resamples=0).incremental_ips.value)
    per_thousand = {name: 1000 * np.mean(found) for name, found in values.items()}
    assert per_thousand["correlational"] == pytest.approx(28.4, abs=0.3)
    assert per_thousand["auto"] >= per_thousand["correlational"]


@pytest.mark.real_data
def test_hillstroms_effects_by_past_purchase(hillstrom):
    # The trial's own effects in each segment, within two of their standard errors. Learners that pull slopes to
    # zero or to the prognosis have less than this where both were bought, the smallest segment: 0.100 to 0.107.
    model = train_on(hillstrom, TrainSpec(reward="visit", learners=("t_learner",), half="all")).models[0]
    mens, womens = (hillstrom.x[:, hillstrom.feature_names.index(name)] for name in ("mens", "womens"))
    mean = model.feature_map.apply(hillstrom.x).astype(float) @ model.mean.T
    segments = {
        "mens only": ((mens == 1) & (womens == 0), 0.005, (0.069, 0.011)),
        "womens only": ((mens == 0) & (womens == 1), 0.005, (0.071, 0.074)),
        "both": ((mens == 1) & (womens == 1), 0.013, (0.134, 0.071)),
    }
    for rows, error, effects_known in segments.values():
        np.testing.assert_allclose(mean[rows].mean(axis=0), effects_known, atol=2 * error)
