"""Suite: the same helpers at the same budgets on several tasks, of which researchers publish results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym.errors import SelfRegError
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Table
from selfreg_gym.experiments.plots import against_usage, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.studies.headline import STAGES
from selfreg_gym.experiments.tables import comparison_table, difference_of, measure_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["Suite"]

BUDGETS = (0.5, 1.0, 2.0, 3.0)

READ_THE_ACTOR = ("actor-confidence", "actor-signals")
"""Helpers that read the actor's distribution over the actions."""

RIVALS = ("random", "actor-confidence")
"""Helpers with which :data:`MAIN` is compared at equal usage."""
MAIN = "fitted"


class Suite(Experiment):
    """A table of results for each task."""

    title = "Suite: the helpers on several tasks"
    question = """
How good are the helpers on tasks of different kinds? For each task, the actor and the intervention of its built-in
config collect rollouts, and the helpers are trained and calibrated to four budgets. Evaluated are new tasks: those of
the last split of the config, from index 1000 on if there are as many. Where a helper is impossible on a task, a table
says why.
"""
    presets = ("tiny", "frozen-lake", "babyai", "cookingworld")
    seeds = 1
    full = (
        "collect.tasks=100",
        "collect.episodes=22",
        "helper.max_decisions=2000",
        "calibrate.tasks=100",
        "calibrate.episodes=36",
        "calibrate.max_episodes=108",
        "evaluate.tasks=84",
        "evaluate.episodes=2",
    )

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The ends of the usage axis and random help once, every other helper for each seed."""
        return [Cell("ends", shared=True), *(Cell(name, shared=not stages) for name, stages in STAGES.items())]

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Calibrate and evaluate a helper; ``{"impossible": reason}`` if it cannot be made on this task."""
        splits = [_split(trial.config)]
        if cell == "ends":
            return trial.compare(["never", "always"], splits=splits, seeded=False)
        trial.run(*STAGES[cell][:1])  # the collection, whose errors are not those of a helper
        if cell in READ_THE_ACTOR and not _has_probabilities(trial):
            return {"impossible": f"the actor {trial.config.actor.id!r} gives no log-probabilities of its actions here"}
        try:
            trial.run(*STAGES[cell])
            helpers = trial.helpers([cell], budgets=BUDGETS, seeded=bool(STAGES[cell]))
        except SelfRegError as error:
            return {"impossible": str(error)}
        return trial.played(helpers, splits=splits)

    def findings(self, results: Results) -> Findings:
        """The table of one task."""
        return self.overview({results.config.task.id: results}, {})

    def overview(self, results: Mapping[str, Results], unavailable: Mapping[str, str]) -> Findings:
        """A table per task, the comparisons of all tasks, and the helpers and tasks that are missing."""
        tables, plots, rows, missing = [], [], [], []
        for name, found in results.items():
            task, split = found.config.task.id, _split(found.config)
            helpers = ["never", "always", *STAGES]
            title = f"`{task}`: {split_title(found.config, split)}"
            one = comparison_table(found, splits=[split], helpers=helpers, budgets=BUDGETS, title=title)
            tables.append(Table(_file(name), one.title, one.columns, one.rows, one.note))
            figure = against_usage(found.evaluation, found.config, splits=[split], helpers=list(STAGES))
            plots.append(Plot(_file(name), f"{task}: success rate against usage.", figure))
            rows += _rivals(found, task, split)
            missing += [
                {"task": f"`{task}`", "helper": f"`{helper}`", "reason": values["impossible"]}
                for helper in STAGES
                for values in found.of(helper)[:1]
                if "impossible" in values
            ]
        missing += [{"task": f"config `{name}`", "helper": "all", "reason": why} for name, why in unavailable.items()]
        if rows:
            tables.append(_table_of_rivals(rows))
        if missing:
            columns = (Column("task", "task"), Column("helper", "helper"), Column("reason", "reason"))
            tables.append(Table("missing", "Not measured", columns, missing))
        return Findings(statements=[_statement(one) for one in results.values()], tables=tables, plots=plots)


def _has_probabilities(trial: Trial) -> bool:
    """Whether the rollouts have the actor's log-probabilities."""
    with trial.rollouts() as rollouts:
        found: Any = rollouts.columns("actor_logprobs")["actor_logprobs"]
        return any(found[i] is not None for i in range(min(len(found), 100)))


def _split(config: RunConfig) -> str:
    """The last split of the config: new tasks, where the task has any."""
    return list(config.task.splits)[-1]


def _file(name: str) -> str:
    return name.rpartition("/")[2]


def _statement(results: Results) -> str:
    """The ends of the usage axis, and the best helper at one cost unit."""
    split, task = _split(results.config), results.config.task.id
    never, always = (measure_of(results, split, one, None, "success_rate").value for one in ("never", "always"))
    calls = measure_of(results, split, "always", None, "usage").value
    found = {
        helper: measure_of(results, split, helper, 1.0, "success_rate").value
        for helper in STAGES
        if helper in results.evaluation.results(split).helpers
    }
    best = max(found, key=lambda helper: found[helper])
    return (
        f"`{task}`: never asking succeeds in {never:.0%}, always asking in {always:.0%} with {calls:.1f} calls. "
        f"At C = 1 the highest success rate is that of `{best}`, {found[best]:.0%}."
    )


def _rivals(results: Results, task: str, split: str) -> list[dict[str, Any]]:
    present = results.evaluation.results(split).helpers
    return [
        {
            "task": f"`{task}`",
            "pair": f"`{MAIN}` minus `{other}`",
            "budget": budget,
            "difference": difference_of(results, split, MAIN, other, budget),
        }
        for other in RIVALS
        if {MAIN, other} <= set(present)
        for budget in BUDGETS
    ]


def _table_of_rivals(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = (
        Column("task", "task"),
        Column("pair", "helpers"),
        Column("budget", "C", digits=1),
        Column("difference", "difference in success", "%", 1),
    )
    note = "At the usage of the first helper, calibrated to C; the other one is read between its own points."
    return Table("rivals", "Differences in success at equal usage", columns, rows, note)
