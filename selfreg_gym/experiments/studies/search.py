"""Search: the success of a tree search with the actor's probabilities, against the number of simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.experiments.always_asked import COLUMNS, Asked, first_new_split, percent, play, success_row
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.packing import pack
from selfreg_gym.experiments.plots import split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.pipeline.config import RunConfig, from_dict, to_dict

__all__ = ["Search"]

SIMULATIONS = (1, 4, 16, 32, 128)
TARGET = 32
LARGE = 128
"""From this number of simulations on, a third of the tasks is played."""


def _cell(simulations: int) -> str:
    return f"fitted {simulations}"


def _search(simulations: int, value: str = "fitted", **arguments: Any) -> Asked:
    return Asked("mcts", {"simulations": simulations, "value": value, **arguments})


SEARCHES: Mapping[str, Asked] = {
    **{_cell(n): _search(n) for n in SIMULATIONS},
    "prm 32": _search(TARGET, "prm"),
    "privileged 32": _search(TARGET, privileged=True),
}
"""The searches by name."""

VALUES = {"fitted": "fitted values", "prm": "process reward model"}


class Search(Experiment):
    """The success of a search that is asked at every step."""

    title = "Search: success against the number of simulations"
    question = """
The paper's second kind of help is test-time compute. Here it is a tree search with the actor's probabilities as prior
(PUCT), which is asked at every step. New states are valued by fitted values: the success of the actor alone, regressed
on the rollouts of training tasks, without a name of the task among the inputs. A search with one simulation takes the
actor's most likely action, so it differs from the actor in not sampling.

The search knows what the actor knows: every simulation draws random events anew, and samples hidden facts from what was
observed. For comparison, a privileged search simulates the true episode, and another one values states by the process
reward model. Tasks are new ones in the houses of the training tasks. The actor alone plays the same episodes.
"""
    full = (*Experiment.full, "evaluate.tasks=168")

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The actor alone, and all searches of a seed."""
        return Cell("actor", shared=True), Cell("searches")

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Play all tasks with each search at every step."""
        if cell == "actor":
            return trial.compare(["never"], splits=[first_new_split(trial.config)], seeded=False)
        small = replace(trial, config=_smaller(trial.config))
        found = [play(trial, {name: one for name, one in SEARCHES.items() if not _is_large(one)})]
        found += [play(small, {name: one for name, one in SEARCHES.items() if _is_large(one)})]
        return {"evaluation": pack(Evaluation.merge(*found))}

    def findings(self, results: Results) -> Findings:
        """Success, and its difference from the actor alone."""
        split = first_new_split(results.config)
        rows = [{"value": "the actor alone", "simulations": None, **success_row(results, "never")}]
        for name, one in SEARCHES.items():
            value = VALUES[one.arguments["value"]] + (", privileged" if one.arguments.get("privileged") else "")
            rows += [{"value": value, "simulations": one.arguments["simulations"], **success_row(results, name)}]
        columns = (Column("value", "value of new states"), Column("simulations", "simulations"), *COLUMNS)
        by_cell = {row["cell"]: row for row in rows}
        target = by_cell[_cell(TARGET)]
        statements = [
            f"{split_title(results.config, split)}: with {TARGET} simulations per step the search succeeds in "
            f"{percent(target['success'])} of the episodes, the actor alone in {percent(rows[0]['success'])}; the "
            f"difference is {percent(target['gain'])}.",
            f"The privileged search succeeds in {percent(by_cell['privileged 32']['success'])}, so hidden facts and "
            f"chance cost the honest search {percent(_minus(by_cell['privileged 32'], target))}.",
        ]
        note = (
            f"Differences are paired over the same episodes. With {LARGE} simulations a third of the tasks was played, "
            "and the difference is that of these tasks."
        )
        table = Table("search", "Success of the search", columns, rows, note)
        plot = Plot("success", "Success rate against simulations per step, with 95 % intervals.", _figure(rows))
        published = [
            Published(
                "success with a search as help, against the actor alone",
                "higher success with test-time compute as the intervention",
                f"{percent(target['success'])} against {percent(rows[0]['success'])} "
                f"({TARGET} simulations at every step, tiny actor, household tasks)",
                "arXiv 2502.04576",
            )
        ]
        return Findings(statements=statements, tables=[table], plots=[plot], published=published)


def _is_large(one: Asked) -> bool:
    return bool(one.arguments["simulations"] >= LARGE)


def _smaller(config: RunConfig) -> RunConfig:
    """The config with a third of the evaluated tasks."""
    table = to_dict(config)
    table["evaluate"]["tasks"] = max(1, table["evaluate"]["tasks"] // 3)
    return from_dict(table)


def _minus(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return float(one["success"].value - other["success"].value)


def _figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Success against simulations, with the actor alone as a line."""
    from selfreg_gym.report.svg import figure, style

    drawn, axes = figure(1, 1, size=(5.0, 3.2))
    with style():
        axis = axes.flat[0]
        part = [row for row in rows if row["cell"].startswith("fitted")]
        counts = [row["simulations"] for row in part]
        success = [row["success"] for row in part]
        axis.plot(counts, [one.value for one in success], marker="o", label="search")
        axis.fill_between(counts, [one.low for one in success], [one.high for one in success], alpha=0.2)
        axis.axhline(rows[0]["success"].value, linestyle="--", color="grey", label="the actor alone")
        axis.set(xscale="log", xlabel="simulations per step", ylabel="success rate", ylim=(0, 1.02))
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
        axis.legend(frameon=False)
    return drawn
