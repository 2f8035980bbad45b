"""What it takes, each case beside its baseline in the same run: ``decider bench`` and the gate of ``make check``.

A case is one file: it makes its data, measures, and says in code what ratio it must reach. A goal is a ratio, so
it holds on any machine.
"""

from __future__ import annotations

from decider.bench.case import Case, Effort, Row, row_of
from decider.bench.cases import NAMES, SHORT, case_named
from decider.bench.reference import Reference, read_reference, write_reference
from decider.bench.run import Verdict, medians, run_cases

__all__ = [
    "NAMES", "SHORT", "Case", "Effort", "Reference", "Row", "Verdict", "case_named", "medians", "read_reference",
    "row_of", "run_cases", "write_reference",
]  # fmt: skip
