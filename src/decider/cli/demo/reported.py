"""The demo's end: the report, beside everything that it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from decider.cli.demo.data import Trial
from decider.cli.demo.house import House
from decider.cli.demo.values import N_RESAMPLES, Values
from decider.cli.report import facts_of, run_named, versions_of
from decider.models import Registry
from decider.reporting import gather, write_report

EXCHANGE_RATE: Final = 0.08
"""What one e-mail must be worth for the price that is recommended, in visits: an example."""
MAIN: Final = "decider"


def write_demo_report(house: House, values: Values, run_id: str, trial: Trial) -> Path:
    """Write the report into the demo's folder.

    Parameters
    ----------
    house
        Made by :func:`decider.cli.demo.house.build_house`.
    values
        The policies that were judged.
    run_id
        Of the run over everybody.
    trial
        Where the data came from.
    """
    model = house.training.models[0]
    run = run_named(house.config, run_id)
    report = gather(
        values.judging,
        {name: target for name, target in values.targets.items() if name != "nobody"},
        MAIN,
        model,
        title="Hillstrom\u2019s e-mail trial",
        facts=[
            ("Trial", trial.note or f"{trial.path.name}, {trial.source}"),
            *facts_of(values.judging, {each.name: each for each in house.training.models}),
        ],
        versions=versions_of(Registry(house.config.path("models")), model),
        run=run,
        judged={each.policy: each.found for each in values.judged},
        exchange_rate=EXCHANGE_RATE,
        today=run.price,
        n_resamples=N_RESAMPLES,
    )
    path = house.directory / "report.html"
    write_report(report, path)
    return path
