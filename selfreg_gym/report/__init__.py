"""The report of a run: one HTML page that needs no network, PNG files of its figures, and a table for the terminal.

Everything in it is computed from the files of the run.
"""

from __future__ import annotations

from selfreg_gym.report.terminal import describe, format_table
from selfreg_gym.report.writing import write_report

__all__ = ["describe", "format_table", "write_report"]
