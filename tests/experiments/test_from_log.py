"""Experiments read from a logbook: whose the numbers are, and logs that show a change."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from logged_life import DAY, decision, event, open_log, write
from small_experiments import with_weeks

from decider.errors import InvalidInput
from decider.experiments import Experiment, outcomes_of_log, read_out
from decider.experiments.spec import Metric

N = 600


def asked() -> Experiment:
    metrics = [
        Metric(name="plays", role="primary", events={"played": 1.0}, covariate="before"),
        Metric(name="minutes", events={"played": 1.0}, use_value=["played"]),
        Metric(name="plays per delivered", events={"played": 1.0}, per={"delivered": 1.0}),
    ]
    return msgspec.structs.replace(with_weeks(short_weeks=1), metric=metrics, holdout=0.1, first_look=50)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("life")
    with open_log(folder) as log:
        return folder, write(log, asked(), N)


def read(folder: Path, experiment: Experiment, days: int = 22):
    with open_log(folder) as log:
        return outcomes_of_log(experiment, log, experiment.start_micros + days * DAY)


def test_members_and_their_sums_are_those_of_the_log(logged) -> None:
    folder, life = logged
    found = read(folder, asked())
    assert found.n_members == N
    assert sorted(found.cells.tolist()) == sorted(life["cells"].tolist())
    # Members come by the day of their first decision, then by id.
    order = np.lexsort((np.arange(N), life["days"]))
    np.testing.assert_array_equal(found.cells, life["cells"][order])
    plays = found.metrics["plays"]
    np.testing.assert_array_equal(plays.total, life["during"][order])
    np.testing.assert_array_equal(plays.covariate, life["before"][order])
    np.testing.assert_array_equal(found.metrics["minutes"].total, 2.0 * life["during"][order])
    np.testing.assert_array_equal(found.metrics["plays per delivered"].per, life["cells"][order] > 0)
    np.testing.assert_array_equal(found.triggered.sum(axis=0), np.bincount(life["cells"], minlength=3))
    np.testing.assert_array_equal(found.delivered, found.sent)
    assert found.sent[:, 0].sum() == 0
    assert found.harmed["opt-outs"].sum() == life["unsubscribed"].sum()
    weeks = found.weekly["plays"]
    assert weeks.shape == (3, N)
    np.testing.assert_array_equal(weeks[0], np.where(life["days"][order] < 7, life["during"][order], 0))


def test_the_look_has_effects_and_no_warning(logged) -> None:
    folder, _ = logged
    look = read_out(asked(), read(folder, asked()))
    effect = look.comparisons[0].effect
    # The error is about 0.13, so 5 of these; no warning by chance: alpha is 0.001 and 0.01.
    assert effect.value == pytest.approx(1.0, abs=5 * effect.standard_error)
    assert effect.variance_reduction > 0.1
    assert look.warnings == ()
    assert look.until_micros == asked().start_micros + 22 * DAY


def test_what_comes_later_is_not_looked_at(logged) -> None:
    folder, life = logged
    found = read(folder, asked(), days=5)
    assert found.n_members == (life["days"] < 5).sum()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"salt": "another"},
            r"experiment_version must be sha256:\w+ in every decision .* changed while it ran",
        ),
        ({"name": "unknown"}, "experiment.name must have decisions in the log, got 'unknown'"),
    ],
)
def test_another_experiment_is_refused(logged, change, text) -> None:
    folder, _ = logged
    with pytest.raises(InvalidInput, match=text):
        read(folder, msgspec.structs.replace(asked(), **change))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"experiment_version": "sha256:old"}, "sha256:old in 1 decisions"),
        ({"policy_version": "p-new"}, r"cell\['few'\].policy must have one policy of one version"),
        ({"member_id": 1, "policy_version": "p-few"}, "cell must be one for each member, got 1"),
    ],
)
def test_a_change_while_it_ran_is_refused(tmp_path, changes, text) -> None:
    experiment = asked()
    cells = experiment.assign(np.arange(50, dtype=np.uint64))
    today, few = (int(np.flatnonzero(cells == code)[0]) for code in (1, 2))
    with open_log(tmp_path) as log:
        log.append_decision(decision(experiment, today, experiment.start_micros, "today"))
        log.append_decision(decision(experiment, few, experiment.start_micros, "few"))
        if "member_id" in changes:
            changes = changes | {"member_id": today}
            text = text.replace("got 1", f"got {today}")
        late = decision(experiment, few, experiment.start_micros + DAY, "few")
        log.append_decision(msgspec.structs.replace(late, **changes))
    with pytest.raises(InvalidInput, match=text):
        read(tmp_path, experiment)


def test_a_member_in_a_cell_that_its_key_does_not_give_is_refused(tmp_path) -> None:
    experiment = asked()
    member = int(np.flatnonzero(experiment.assign(np.arange(50, dtype=np.uint64)) == 1)[0])
    with open_log(tmp_path) as log:
        log.append_decision(decision(experiment, member, experiment.start_micros, "few"))
    with pytest.raises(InvalidInput, match=rf"the salt and shares give.*, got {member} \(1 members\)"):
        read(tmp_path, experiment)


def test_events_of_nobody_are_counted(tmp_path) -> None:
    experiment = asked()
    member = int(np.flatnonzero(experiment.assign(np.arange(50, dtype=np.uint64)) == 1)[0])
    with open_log(tmp_path) as log:
        made = decision(experiment, member, experiment.start_micros, "today")
        log.append_decision(made)
        stray = event("e1", "played", experiment.start_micros + DAY, made, 1.0)
        text = {"decision_id": None, "member_id": "somebody", "candidate": "top-picks@email"}
        log.append_events([stray, msgspec.structs.replace(stray, event_id="e2", **text)])
    found = read(tmp_path, experiment)
    assert found.notes == ("1 events belong to no known decision or member",)
    assert found.metrics["plays"].total.tolist() == [1.0]
