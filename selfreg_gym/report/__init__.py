"""``report.html``: one run on one page, for reading and for showing to others; and its table for the terminal.

Everything in it is computed from the run's own files; nothing is fetched when it is opened.
"""

from __future__ import annotations

from selfreg_gym.report.terminal import describe, format_table
from selfreg_gym.report.writing import write_report

__all__ = ["describe", "format_table", "write_report"]
