"""The closed loop, as it goes: one file, read from `live` down.

An epoch is the run of its request id in the log; what was learned is what the closed epochs say, folded in their
order; a model is published before the next epoch begins. All that is remembered besides is up to which entry of the log
each epoch's outcomes were read, so that what is reported later changes nothing afterwards. So a loop that is killed
anywhere finds where it was, and ends in the same model, bit for bit.
"""

from __future__ import annotations

import fcntl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from decider.catalog import load_catalog
from decider.clock import Clock
from decider.config import Config
from decider.errors import Conflict, InvalidInput, NotFound, NotReady, Unavailable
from decider.evaluation import Estimate
from decider.learning.r_learner import SetPosterior
from decider.logbook import Logbook
from decider.logbook.durable import write_sealed
from decider.logbook.schema import RunRecord, run_id_of
from decider.loop.gates import against, refusal
from decider.loop.learn import Learner
from decider.loop.outcomes import Outcomes
from decider.loop.spec import LoopSpec
from decider.members import Snapshot
from decider.models import FeatureMap, RawMap, Registry, UpliftModel
from decider.models.artifact import save_model
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.compose import engine_to_read

Found = TypeVar("Found")
Crowd = Callable[[DeciderClient, int], None]
"""Reports what came of an epoch, where nobody else does: a simulation. Twice must be as once."""
_LONGEST_WAIT = 5.0


@dataclass(frozen=True)
class Epoch:
    """What became of an epoch."""

    epoch: int
    sends: int | None
    """None where it had been decided before this process began."""
    n_closed: int
    """Epochs learned from."""
    n_rows: int
    """Decisions drawn at random in them."""
    published: str
    """Version of the model that decides from now on; empty where the old one stays."""
    refused: str
    """The gate that kept the old one, or why nothing could be learned; empty where none did."""
    better_by: float | None
    """What its sets are worth more than the old one's, in reward a member, prices paid: estimated off-policy."""
    better_by_interval: tuple[float, float] | None
    """95 % of it."""
    unjudged: str
    """Why there is no such estimate; empty where there is one."""
    averages: dict[str, float]
    """What each message causes on average, as is believed now."""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def live(
    spec: LoopSpec, config: Config, clock: Clock, n_epochs: int | None = None, crowd: Crowd | None = None
) -> Iterator[Epoch]:
    """Go round until told to stop; one word about every epoch that was not behind when this process began.

    Parameters
    ----------
    spec
        The loop.
    config
        Of the running service, whose logbook and registry lie on this machine.
    clock
        Tells when an epoch is due and a window closed.
    n_epochs
        End after so many; None goes on for ever.
    crowd
        For simulations.

    Raises
    ------
    Conflict
        When a loop of this name is running.
    NotReady
        When its model was never published; see :func:`begin`.
    Unavailable
        When the server stays out of reach for longer than the loop's patience.
    """
    with _alone(spec, config), DeciderClient(spec.server, retries=False) as client:
        feature_map = _model_of(spec, config).feature_map
        learned = _Learned(-1, 0, 0, None)
        number = 0
        while n_epochs is None or number < n_epochs:
            if _run_of(spec, config, number + 1) is not None:
                # Its outcomes were reported and its model published: only then does the next epoch begin.
                number += 1
                continue
            _wait_until(spec.time_of(number), clock)
            sends = _decide(spec, config, client, number)
            if crowd is not None:
                _patiently(spec, lambda: crowd(client, number))  # noqa: B023 - called before it moves on
            _wait_until(spec.time_of(number + 1), clock)
            learned = _learn(spec, config, feature_map, learned, number)
            version, refused = _publish(spec, client, learned)
            averages = {} if learned.posterior is None else _averages(learned.posterior)
            yield Epoch(
                number, sends, learned.n_closed, learned.n_rows, version, refused, *_told(learned.better), averages
            )  # fmt: skip
            number += 1


def begin(spec: LoopSpec, config: Config) -> str:
    """Publish a model that knows nothing yet, for the service to start with; its version.

    Every coefficient has mean zero and the loop's prior standard deviation, on the snapshot's features, standardised.

    Raises
    ------
    Conflict
        When there is a model of that name.
    """
    registry = Registry(config.path("models"))
    if spec.model in registry.names():
        raise Conflict("model", spec.model, "is published already: the loop goes on from it")
    catalog, snapshot = load_catalog(config.path("catalog")), Snapshot.open(config.path("snapshot"))
    feature_map = RawMap.fit(np.array(snapshot.features), tuple(snapshot.feature_names))
    names = tuple(candidate.id for candidate in catalog.candidates)
    d = feature_map.n_outputs
    nothing = UpliftModel(
        name=spec.model,
        feature_map=feature_map,
        posterior_names=names,
        mean=np.zeros((len(names), d)),
        covariance=np.tile(np.eye(d) * spec.prior_sd**2, (len(names), 1, 1)),
        reward=spec.reward.name,
        trained={"learner": "prior"},
    )
    return registry.publish(nothing)


@contextmanager
def _alone(spec: LoopSpec, config: Config) -> Iterator[None]:
    """Two loops of one name would ask for the same epochs and publish in turn."""
    folder = config.path("logbook").parent
    with (folder / f".loop-{spec.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict("name", spec.name, "is a loop that is running already") from error
        yield


def _model_of(spec: LoopSpec, config: Config) -> UpliftModel:
    registry = Registry(config.path("models"))
    if spec.model not in registry.names():
        raise NotReady(
            f"model {spec.model!r} is not published: `decider loop begin` publishes one that knows nothing"
        )
    return registry.load(spec.model)


def _decide(spec: LoopSpec, config: Config, client: DeciderClient, number: int) -> int | None:
    """Decide for everybody, once: a run that is finished in the log is not asked for again."""
    run = _run_of(spec, config, number)
    if run is not None and run.finished:
        return None
    options = BatchOptions(
        request_id=spec.request_of(number),
        decision_time=spec.time_of(number),
        epoch=number,
        policy=spec.policy,
        volume=spec.volume,
        defer_propensities=True,
        summary_only=True,
    )

    def ask() -> int:
        answers = client.batch_decide(None, options)
        for _ in answers:
            pass
        assert answers.summary is not None
        return int(answers.summary.volume)

    return _patiently(spec, ask)


@dataclass(frozen=True)
class _Learned:
    number: int
    """The epoch after which it was learned."""
    n_closed: int
    n_rows: int
    posterior: SetPosterior | None
    learner: Learner | None = None
    why_not: str = ""
    better: Estimate | None = None


def _learn(
    spec: LoopSpec, config: Config, feature_map: FeatureMap, before: _Learned, number: int
) -> _Learned:
    """Take in the epochs whose windows have closed since, each once and in order."""
    learner, n_closed = before.learner or Learner(feature_map, spec.keep, spec.reward.name), before.n_closed
    if spec.closed_by(spec.time_of(number + 1)) == n_closed:
        return replace(before, number=number)
    with engine_to_read(config) as engine:
        for each in range(before.number + 1, number + 1):
            now = spec.time_of(each + 1)
            newly = range(n_closed, spec.closed_by(now))
            if newly:
                until, n_closed = _read_until(spec, config, each, engine.last_sequence), newly.stop
                run_ids = [run_id_of(spec.request_of(epoch)) for epoch in newly]
                outcomes = Outcomes(engine, run_ids, spec.reward, int(now.timestamp() * 1e6), until)
                learner.add(outcomes)
        try:
            posterior = learner.posterior()
        except InvalidInput as error:
            return _Learned(number, n_closed, learner.n_rows, None, learner, str(error))
        better = None
        if spec.gates.no_worse:
            better = against(_model_of(spec, config), learner.model(posterior, spec.model), learner, outcomes)
    return _Learned(number, n_closed, learner.n_rows, posterior, learner, "", better)


def _read_until(spec: LoopSpec, config: Config, number: int, last_sequence: int) -> int:
    """Up to which entry of the log outcomes were read after an epoch: noted the first time, and kept to."""
    path = config.path("logbook").parent / f"loop-{spec.name}.json"
    noted = msgspec.json.decode(path.read_bytes(), type=dict[str, int]) if path.exists() else {}
    if str(number) not in noted:
        noted[str(number)] = last_sequence
        write_sealed(path, msgspec.json.encode(noted))
    return noted[str(number)]


def _publish(spec: LoopSpec, client: DeciderClient, learned: _Learned) -> tuple[str, str]:
    """Publish what was learned if it passes the gates; the version, or what kept the old one."""
    if learned.posterior is None or learned.learner is None:
        return "", learned.why_not or "no window has closed yet"
    refused = refusal(spec.gates, learned.n_rows, learned.posterior, learned.better)
    if refused:
        return "", refused
    model = learned.learner.model(learned.posterior, spec.model)
    return _send(spec, client, model), ""


def _send(spec: LoopSpec, client: DeciderClient, model: UpliftModel) -> str:
    """Upload a model; it decides from the next call on. The same again changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        version = save_model(model, directory)
        _patiently(spec, lambda: client.publish_model(directory))
    return version


def _run_of(spec: LoopSpec, config: Config, number: int) -> RunRecord | None:
    """An epoch's run, as the log has it; None before it begins."""
    with Logbook.open(config.path("logbook"), read_only=True) as log:
        try:
            return log.run(run_id_of(spec.request_of(number)))
        except NotFound:
            return None


def _told(better: Estimate | None) -> tuple[float | None, tuple[float, float] | None, str]:
    if better is None:
        return None, None, "nothing was judged"
    ends = better.normal
    return better.value, None if ends is None else (ends.low, ends.high), better.refused


def _averages(posterior: SetPosterior) -> dict[str, float]:
    return dict(zip(posterior.candidates, posterior.average.tolist(), strict=True))


def _patiently(spec: LoopSpec, call: Callable[[], Found]) -> Found:
    """Call again while the server is out of reach, less and less often."""
    pause, until = 0.1, time.monotonic() + spec.patience_seconds
    while True:
        try:
            return call()
        except (Unavailable, NotReady) as error:
            if time.monotonic() + pause > until:
                raise Unavailable(
                    f"the server at {spec.server} was out of reach for {spec.patience_seconds:g} s: {error}"
                ) from error
        time.sleep(pause)
        pause = min(2.0 * pause, _LONGEST_WAIT)


def _wait_until(due: datetime, clock: Clock) -> None:
    """Sleep until then; at once where the clock is past it."""
    while (left := due.timestamp() - clock.now_micros() / 1e6) > 0.0:
        time.sleep(min(left, _LONGEST_WAIT))
