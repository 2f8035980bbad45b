"""The report: one HTML file, made for looking, that opens without a network."""

from decider.reporting.gather import gather
from decider.reporting.of_run import run_view
from decider.reporting.report import Report, html_of, write_report

__all__ = ["Report", "gather", "html_of", "run_view", "write_report"]
