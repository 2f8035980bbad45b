"""Experiments from TOML: what holds, what is refused and how it is named."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from small_experiments import START, experiment

from decider.errors import InvalidInput
from decider.experiments import load_experiment, load_experiments
from decider.experiments.load import check_experiment
from decider.experiments.spec import Cell, Guardrail, LongTerm, Metric
from tests.cli.experiment_files import FEWER


def written(tmp_path: Path, text: str, name: str = "one.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_it_is_read(tmp_path):
    found = load_experiment(written(tmp_path, FEWER))
    assert found.cell_names == ("holdout", "today", "few")
    assert found.shares == (0.1, 0.45, 0.45)
    assert found.decision_micros == found.end_micros == 1_774_828_800_000_000
    assert load_experiments(tmp_path) == {"fewer": found}
    assert load_experiments(tmp_path / "nowhere") == {}


def test_every_change_changes_the_version():
    versions = {
        experiment(**change).version
        for change in (
            {},
            {"salt": "other"},
            {"holdout": 0.01},
            {
                "cell": [
                    Cell(name="today", policy="today", share=0.4),
                    Cell(name="few", policy="few", share=0.6),
                ]
            },
            {
                "cell": [
                    Cell(name="today", policy="today", share=0.5),
                    Cell(name="few", policy="none", share=0.5),
                ]
            },
            {"metric": []},
        )
    }
    assert len(versions) == 6
    assert experiment().version == experiment().version


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": " "}, "name must not be empty"),
        ({"salt": ""}, "salt must not be empty"),
        ({"end": START}, "end must be after the start"),
        ({"start": datetime.datetime(2026, 1, 5)}, "start must have a zone"),
        ({"decision": START}, "decision must be after the start"),
        ({"control": "holdout"}, "control must name a cell, got 'holdout'"),
        ({"holdout": 1.0}, r"holdout must be in \[0, 1\), got 1.0"),
        ({"cell": []}, "cell must hold 1 to 63 cells, got 0"),
        ({"cell": [Cell(name="today", policy="p", share=0.5)]}, "must sum to 1 over the cells, got 0.5"),
        ({"cell": [Cell(name="today", policy="", share=1.0)]}, "policy must name a policy"),
        ({"cell": [Cell(name="holdout", policy="p", share=1.0)]}, "must be unique, got 'holdout' twice"),
        (
            {"cell": [Cell(name="today", policy="p", share=float("nan"))]},
            r"share must be in \(0, 1\], got nan",
        ),
        ({"metric": [Metric(name="a"), Metric(name="a")]}, "metric.name must be unique"),
        ({"metric": [Metric(name="a", events={"played": float("inf")})]}, "events.played must be finite"),
        ({"metric": [Metric(name="a", per={"sent": 0.0})]}, "per.sent must be finite and > 0"),
        ({"metric": [Metric(name="a", use_value=["played"])]}, "use_value must name a type of its events"),
        ({"guardrail": [Guardrail(name="g", alpha=0.5)]}, r"alpha must be in \(0, 0.5\)"),
        (
            {"guardrail": [Guardrail(name="g", allowed_increase=-1.0)]},
            "allowed_increase must be finite and >= 0",
        ),
        ({"long_term": LongTerm(metric="nothing")}, "long_term.metric must name a metric"),
        ({"long_term": LongTerm(metric="plays", short_weeks=0)}, "long_term.short_weeks must be >= 1"),
        ({"alpha": 0.0}, r"alpha must be in \(0.0, 0.5\)"),
        ({"first_look": 0}, "first_look must be in"),
        ({"before_days": -1}, "before_days must be >= 0"),
    ],
)
def test_what_breaks_a_rule_is_named(change, text):
    with pytest.raises(InvalidInput, match=text):
        check_experiment(experiment(**change))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InvalidInput, match="must be a readable file"):
        load_experiment(tmp_path / "none.toml")
    with pytest.raises(InvalidInput, match="unknown field `colour`"):
        load_experiment(written(tmp_path, FEWER.replace("salt", "colour")))
    written(tmp_path, FEWER)
    written(tmp_path, FEWER, "two.toml")
    with pytest.raises(InvalidInput, match=r"experiment.name must be unique in .*, got 'fewer'"):
        load_experiments(tmp_path)
