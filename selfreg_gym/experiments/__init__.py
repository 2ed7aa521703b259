"""Experiments: a question, measurements for several seeds, and a page with tables and plots. See ``run_experiment``.

An experiment is one file in ``selfreg_gym/experiments/studies/`` with one subclass of
:class:`selfreg_gym.experiments.experiment.Experiment`, or an entry point ``selfreg_gym.experiments`` of another
distribution. Its work is divided into *cells*. A cell is measured once for each seed and saved in a file, so an
interrupted experiment continues where it stopped. Experiments share the runs that they need (rollouts, process reward
model, solutions): one run directory for each seed and config.
"""

from __future__ import annotations

from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.running import run_experiment
from selfreg_gym.experiments.trial import Trial

__all__ = [
    "Cell",
    "Column",
    "Experiment",
    "Findings",
    "Plot",
    "Published",
    "Results",
    "Table",
    "Trial",
    "run_experiment",
]
