"""The decision engine: one member at once, a run over many, an explanation afterwards, events that follow."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakSet

import polars as pl

from decider.clock import Clock
from decider.decision.cells import runs_of, split_run
from decider.decision.explain import explain_record
from decider.decision.exposure import Exposure
from decider.decision.memory import keep_freed_memory
from decider.decision.parts import Parts
from decider.decision.policy import Policy
from decider.decision.ports import Log, MadeFrom, Recall
from decider.decision.remade import Remade, remade
from decider.decision.replay import Replayed, replay, replay_segment, same_decision
from decider.decision.request import MemberRequest, RunRequest
from decider.decision.result import Decision, Explanation
from decider.decision.run import Run
from decider.decision.segments import Desk
from decider.decision.together import InForce, Outcome, Together
from decider.decision.unsent import unsent_reasons
from decider.errors import InvalidInput, NotReady, Violation
from decider.logbook.schema import EventRecord, EventResult
from decider.priority import step_back
from decider_core.history import LiveSends


class Engine:
    """Makes decisions from the parts in force and keeps the log's promise: durable before anyone hears of it.

    Parameters
    ----------
    parts
        What decisions are made from.
    log
        Where they become durable.
    clock
        Tells how far back the history matters.
    threads
        Threads for runs; the kernels release the interpreter.
    recall
        Finds the parts of a past decision.
    read_parts
        Reads the parts anew for `reload`.
    runs_step_back
        Steps of niceness by which the threads for runs let others go first; see :func:`decider.priority.step_back`.
    """

    def __init__(
        self,
        parts: Parts,
        log: Log,
        clock: Clock,
        threads: int,
        recall: Recall,
        read_parts: Callable[[], Parts],
        runs_step_back: int = 0,
    ) -> None:
        self._log, self._clock, self._recall, self._read_parts = log, clock, recall, read_parts
        keep_freed_memory()
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="decide", initializer=step_back, initargs=(runs_step_back,)
        )
        self._reloading = threading.Lock()
        self._runs: WeakSet[Run] = WeakSet()
        self._state = InForce(parts, self._exposure(parts, self._since(parts)))
        self._whole_history: Exposure | None = None
        self._together = Together(log, lambda: self._state)

    @property
    def parts(self) -> Parts:
        """The parts in force."""
        return self._state.parts

    def reload(self) -> Parts:
        """Read the parts anew and put them in force; an error leaves the old ones serving.

        Calls and runs under way finish with the parts that they began with.

        Raises
        ------
        NotReady
            When the new parts need another history (another snapshot, longer windows) and a run is under way.
        """
        with self._reloading:
            parts = self._read_parts()
            state, since = self._state, self._since(parts)
            with state.exposure.reserving:
                if not state.exposure.serves(parts.snapshot, since):
                    if any(run.is_open for run in self._runs):
                        raise NotReady("a run is under way: reload another snapshot when it has ended")
                    state = InForce(parts, self._exposure(parts, since))
                self._state = InForce(parts, state.exposure)
        return parts

    def close(self) -> None:
        """Let the threads end. The log is its owner's to close."""
        self._pool.shutdown(wait=True)

    def decide(self, request: MemberRequest) -> Decision:
        """Decide for one member.

        Raises
        ------
        NotFound
            For an unknown member.
        InvalidInput
            Naming every field that breaks a rule.
        Conflict
            When the request id was used with another body.
        """
        return self._together.decide([request])[0].wait()

    def decide_together(self, requests: Sequence[MemberRequest]) -> list[Outcome]:
        """Decide for requests that came at the same time: each gets what it would get alone.

        Returns
        -------
        One outcome for each: an error, or a decision that nobody may hear of before its ticket says that it is
        durable.
        """
        return self._together.decide(requests)

    def explain(self, decision_id: str) -> Explanation:
        """Compute a logged decision again, with every candidate.

        Raises
        ------
        NotFound
            When the log has no such decision.
        NotReady
            When a version it was made with is not here any more.
        """
        record = self._log.get_decision(decision_id)
        return explain_record(*self._past(record, record.history_sequence), record)

    def replay(self) -> Iterator[Replayed]:
        """Make every logged decision again and tell which ones came out otherwise, some at a time.

        Raises
        ------
        NotReady
            When a version that one was made with is not here any more.
        """
        for run in self._log.runs():
            for info in self._log.segments(run.run_id):
                for one, frame in split_run(run, self._log.read_segment(info)):
                    parts, sends = self._past(one, self._log.last_sequence)
                    yield from replay_segment(parts, one, frame, sends)
        for record in self._log.single_decisions():
            parts, sends = self._past(record, record.history_sequence)
            _, decided = replay(parts, record, sends)
            same = same_decision(record, parts.catalog, decided)
            yield Replayed(1, [] if same else [record.decision_id])

    def unsent(self, run_id: str) -> dict[str, int]:
        """Count why members of a run were sent nothing; see :func:`decider.decision.unsent.unsent_reasons`.

        Raises
        ------
        NotFound
            When the log has no such run.
        NotReady
            When a version it was made with is not here any more.
        """
        run = self._log.run(run_id)
        found: Counter[str] = Counter()
        for info in self._log.segments(run_id):
            for one, frame in split_run(run, self._log.read_segment(info)):
                parts, sends = self._past(one, self._log.last_sequence)
                found += unsent_reasons(parts, one, frame, sends)
        return dict(found)

    def policies_of(self, run_id: str) -> list[Policy]:
        """The policies that decided a run, as they were: one for each of its cells, or its only one.

        Raises
        ------
        NotFound
            When the log has no such run.
        NotReady
            When a version that it was made with is not here any more.
        """
        ones = runs_of(self._log.run(run_id))
        return [self._recall(one, self.parts).policy(one.policy).policy for one in ones]

    def remade(self, run_id: str) -> Iterator[Remade]:
        """What a logged run's members were permitted and known by, made again, beside what was logged.

        Raises
        ------
        NotFound
            When the log has no such run.
        NotReady
            When a version that it was made with is not here any more.
        InvalidInput
            When it is an experiment's.
        """
        run = self._log.run(run_id)
        parts, sends = self._past(run, self._log.last_sequence)
        for info in self._log.segments(run_id):
            yield from remade(parts, run, self._log.read_segment(info), sends)

    @property
    def last_sequence(self) -> int:
        """The log's last entry."""
        return self._log.last_sequence

    def events_of_runs(self, run_ids: Sequence[str], until_sequence: int) -> Iterator[pl.DataFrame]:
        """Events that name a decision of some runs, up to an entry of the log, as tables.

        No more of the log is read than what came after the first of these decisions: an event names only what is
        logged. See ``decider.logbook.Logbook.event_frames`` for the columns.
        """
        first = [info.sequence for run_id in run_ids for info in self._log.segments(run_id)]
        if not first:
            return
        of_these = pl.col("decision_id").str.split("-").list.first().is_in(list(run_ids))
        for frame in self._log.event_frames(0, min(first), until_sequence):
            yield frame.filter(of_these)

    def start_run(self, request: RunRequest, whole_snapshot: bool) -> Run:
        """Begin a bulk pass; see :class:`decider.decision.run.Run`."""
        with self._reloading:
            state = self._state
            run = Run(Desk(state.parts, self._log, state.exposure, self._pool), request, whole_snapshot)
            self._runs.add(run)
        return run

    def record_events(self, events: Sequence[EventRecord]) -> EventResult:
        """Log what happened after decisions; sends and opt-outs count for the decisions that follow.

        Raises
        ------
        InvalidInput
            Naming every event that breaks a rule; none of the batch is logged.
        Conflict
            When an event id was used with another body.
        """
        unknown = [
            Violation(f"events[{place}].decision_id", f"must be a logged decision, got {event.decision_id!r}")
            for place, event in enumerate(events)
            if event.decision_id is not None and not self._log.has_decision(event.decision_id)
        ]
        if unknown:
            raise InvalidInput(unknown)
        while True:
            exposure = self._state.exposure
            with exposure.reserving:
                if exposure is self._state.exposure:
                    result = self._log.append_events(events)
                    exposure.add_entries(result.history, result.sequence)
                    return result

    def _past(self, made: MadeFrom, seen: int) -> tuple[Parts, LiveSends]:
        """The parts that a decision was made from, and the history up to entry `seen` at least, by their rows."""
        state = self._state
        parts = self._recall(made, state.parts)
        since = made.decision_time_micros - parts.catalog.longest_window_seconds * 1_000_000
        exposure = state.exposure
        if not exposure.serves(parts.snapshot, since):
            exposure = self._whole(parts, seen)
        return parts, exposure.sends(parts.catalog)

    def _whole(self, parts: Parts, seen: int) -> Exposure:
        """All of the log's history, for decisions from before the one that is kept; read once, and kept."""
        with self._reloading:
            whole = self._whole_history
            if whole is None or not whole.serves(parts.snapshot, 0) or whole.last_sequence < seen:
                whole = self._whole_history = self._exposure(parts, 0)
            return whole

    def _since(self, parts: Parts) -> int:
        """How far back the history matters to decisions from now on."""
        return self._clock.now_micros() - parts.catalog.longest_window_seconds * 1_000_000

    def _exposure(self, parts: Parts, since_micros: int) -> Exposure:
        entries = self._log.history(since_micros)
        return Exposure(parts.snapshot, entries, self._log.last_sequence, since_micros)
