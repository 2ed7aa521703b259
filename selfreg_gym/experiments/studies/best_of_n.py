"""Best of n: the success of several answers of the actor, against their number and the way to choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym.experiments.always_asked import COLUMNS, Asked, first_new_split, percent, play, success_row
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Table
from selfreg_gym.experiments.packing import pack
from selfreg_gym.experiments.plots import split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["BestOfN"]

ANSWERS = (2, 4, 8, 16)
SIMULATIONS = (4, 32)
CHOICES = {
    "majority": "majority of the answers (self-consistency)",
    "prm": "best of n, process reward model",
    "fitted": "best of n, fitted values",
    "search": "tree search, fitted values",
}
"""How an action is chosen."""


def _asked(choice: str, number: int) -> Asked:
    if choice == "majority":
        return Asked("self-consistency", {"n": number})
    if choice == "search":
        return Asked("mcts", {"simulations": number, "value": "fitted"})
    return Asked("best-of-n", {"n": number, "value": choice})


ROWS = [(choice, n) for choice in ("majority", "prm", "fitted") for n in ANSWERS]
ROWS += [("search", n) for n in SIMULATIONS]


class BestOfN(Experiment):
    """Several answers of the actor at every step."""

    title = "Best of n: several answers of the actor, and how one of them is chosen"
    question = """
The actor answers n times at every step, and one of its answers is executed. It is chosen by the majority of the answers
(self-consistency), or by the value of the state to which it leads: the probability of success by a process reward
model, or by fitted values, both of the actor alone and learned from the rollouts of training tasks. Best of n tries
each answer on a snapshot of the task, with random events drawn anew and hidden facts sampled from what was observed.
The tree search looks more than one step ahead with the same fitted values. All of them know what the actor knows. Tasks
are new ones in the houses of the training tasks, and the actor alone plays the same episodes.
"""
    full = (*Experiment.full, "evaluate.tasks=168")

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The actor alone, and each way to choose for each seed."""
        return Cell("actor", shared=True), *(Cell(choice) for choice in CHOICES)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Play all tasks with the interventions of a cell, which are asked at every step."""
        if cell == "actor":
            return trial.compare(["never"], splits=[first_new_split(trial.config)], seeded=False)
        return {"evaluation": pack(play(trial, {_name(*row): _asked(*row) for row in ROWS if row[0] == cell}))}

    def findings(self, results: Results) -> Findings:
        """Success against the number of answers, for each way to choose."""
        title = split_title(results.config, first_new_split(results.config))
        alone = success_row(results, "never")
        rows = [{"choice": "the actor alone", "number": None, **alone}]
        rows += [{"choice": CHOICES[row[0]], "number": row[1], **success_row(results, _name(*row))} for row in ROWS]
        by_name = {row["cell"]: row for row in rows}
        statements = [
            f"{title}: {CHOICES[choice]}, {number} per step: success in {percent(row['success'])} of the episodes, "
            f"{percent(row['gain'])} more than the actor alone."
            for choice, number in (("majority", 16), ("prm", 16), ("fitted", 16), ("search", 32))
            for row in [by_name[_name(choice, number)]]
        ]
        columns = (Column("choice", "choice"), Column("number", "answers or simulations"), *COLUMNS)
        note = "Differences are paired over the same episodes."
        return Findings(
            statements=statements,
            tables=[Table("choices", "Success by the choice of an answer", columns, rows, note)],
            plots=[Plot("success", "Success rate against the number of answers, with 95 % intervals.", _figure(rows))],
        )


def _name(choice: str, number: int) -> str:
    return f"{choice} {number}"


def _figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Success against the number of answers or simulations, with the actor alone as a line."""
    from selfreg_gym.report.svg import figure, style

    drawn, axes = figure(1, 1, size=(5.0, 3.2))
    with style():
        axis = axes.flat[0]
        for choice, label in CHOICES.items():
            part = [row for row in rows if row["choice"] == label]
            counts, success = [row["number"] for row in part], [row["success"] for row in part]
            axis.plot(counts, [one.value for one in success], marker="o", label=choice)
            axis.fill_between(counts, [one.low for one in success], [one.high for one in success], alpha=0.15)
        axis.axhline(rows[0]["success"].value, linestyle="--", color="grey", label="the actor alone")
        ticks = sorted({*ANSWERS, *SIMULATIONS})
        axis.set(xscale="log", xlabel="answers or simulations per step", ylabel="success rate", ylim=(0, 1.02))
        axis.set_xticks(ticks, [str(n) for n in ticks])
        axis.minorticks_off()
        axis.legend(frameon=False)
    return drawn
