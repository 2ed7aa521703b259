"""The config of a run: its sections together, and the conditions between them.

``selfreg config --schema`` prints it as a JSON schema, which editors use to complete and check TOML files.
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from selfreg_gym.pipeline.config_sections import (
    ActorConfig,
    CalibrateConfig,
    CollectConfig,
    EvaluateConfig,
    HelperConfig,
    InterventionsConfig,
    LabelConfig,
    PRMConfig,
    RLConfig,
    Section,
    SelectConfig,
    SolveConfig,
    TaskConfig,
    TransitionsConfig,
    ValuesConfig,
)

__all__ = ["RunConfig", "ValuesConfig"]  # "continuous" imports ValuesConfig here: its results belong to its source


class RunConfig(Section):
    """The config of a run. Each section belongs to one stage of the pipeline."""

    task: TaskConfig = TaskConfig()
    actor: ActorConfig = ActorConfig()
    interventions: InterventionsConfig = InterventionsConfig()
    collect: CollectConfig = CollectConfig()
    prm: PRMConfig = PRMConfig()
    transitions: TransitionsConfig = TransitionsConfig()
    solve: SolveConfig = SolveConfig()
    values: ValuesConfig = ValuesConfig()
    label: LabelConfig = LabelConfig()
    helper: HelperConfig = HelperConfig()
    rl: RLConfig = RLConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    select: SelectConfig = SelectConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @property
    def processes(self) -> int:
        """Largest number of processes that a stage uses."""
        return max(part.workers for part in (self.collect, self.calibrate, self.select, self.evaluate))

    @property
    def headline_budget(self) -> float | None:
        """Of the budgets of the evaluation, 1 if it is one of them, else the smallest; None without any."""
        budgets = self.evaluate.budgets
        return 1.0 if 1.0 in budgets else min(budgets, default=None)

    @property
    def label_budgets(self) -> tuple[float, ...]:
        """Budgets of the labels, in cost units per episode."""
        return self.label.budgets or self.evaluate.budgets

    @model_validator(mode="after")
    def _check_sections(self) -> Self:
        seeds = {"collect": self.collect.seed, "calibrate": self.calibrate.seed, "evaluate": self.evaluate.seed}
        if len(set(seeds.values())) < len(seeds):
            raise PydanticCustomError(
                "text", "collect, calibrate and evaluate must have different seeds, received {it}.", {"it": str(seeds)}
            )
        for name, kwargs in self.select.splits.items():
            if name in self.task.splits or kwargs in self.task.splits.values():
                raise PydanticCustomError(
                    "text",
                    "a validation split must differ in name and arguments from the evaluated splits, received "
                    "select.splits.{name} = {kwargs} and task.splits {splits}.",
                    {"name": name, "kwargs": str(kwargs), "splits": str(self.task.splits)},
                )
        shares, count = self.collect.help_shares, len(self.interventions.ids)
        if shares and (len(shares) != count or abs(sum(shares) - 1) > 1e-6):
            raise PydanticCustomError(
                "text",
                "collect.help_shares must have one number per intervention ({count}), with the sum 1, received {it}.",
                {"count": count, "it": str(list(shares))},
            )
        q = self.collect.abort_probability
        if q == 1 or (q and not self.interventions.abort):
            raise PydanticCustomError(
                "text",
                "collect.abort_probability must be below 1, and 0 without interventions.abort; received {it}.",
                {"it": str(q)},
            )
        if not self.label_budgets:
            raise PydanticCustomError(
                "text", "evaluate.budgets or label.budgets must name at least one budget, received none."
            )
        return self
