"""``Trial``: one seed of an experiment: its run directory, and the calibration and evaluation of helpers."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selfreg_gym.errors import CheckpointError, FailedEpisodesError
from selfreg_gym.evaluation import Evaluation, SplitPlan
from selfreg_gym.experiments.cpu_time import add_cpu_seconds, cpu_seconds
from selfreg_gym.experiments.packing import pack, unpack
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.pipeline import STAGES, advance
from selfreg_gym.pipeline.candidates import build_helper, share_model, upper_arguments
from selfreg_gym.pipeline.comparison import num_tasks
from selfreg_gym.pipeline.config import RunConfig, from_dict, to_dict
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps, read_object
from selfreg_gym.utils.printable import file_name

__all__ = ["FIRST_TASK", "Trial", "of_seed"]

FIRST_TASK = 1000
"""Index of the first evaluated task of a split other than the collected one, if the task has as many."""

SEED_STEP = 1000
"""Difference between the seeds of a config section for two neighbouring seeds of an experiment."""

NOT_OF_A_RUN = ("calibrate", "select", "evaluate")
"""Sections of the config on which the shared run directories do not depend."""


@dataclass(frozen=True)
class Trial:
    """One seed of an experiment.

    Attributes:
        seed: its number, from 0.
        config: the config of the experiment with the seeds of this trial.
        cache: the directory that experiments share.
        progress: whether to draw progress bars.
        say: called with each line of output.
        base: the config without the seeds of this trial.
        seeds: number of seeds of the experiment.
        parts: folder for finished parts of the cell that is being measured, from which it continues after an
            interruption. None: no parts are saved.
    """

    seed: int
    config: RunConfig
    cache: Path
    progress: bool = False
    say: Callable[[str], None] = print
    base: RunConfig | None = None
    seeds: int = 1
    parts: Path | None = None

    def others(self) -> tuple[Trial, ...]:
        """The trials of the other seeds of the experiment; empty if there is one seed."""
        base = self.config if self.base is None else self.base
        others = (seed for seed in range(self.seeds) if seed != self.seed)
        return tuple(replace(self, seed=seed, config=of_seed(base, seed)) for seed in others)

    def run(self, *stages: str) -> Run:
        """The run of this seed, after the given stages; stages that are not finished are run.

        The directory depends on all sections of the config but ``calibrate``, ``select`` and ``evaluate``, so
        experiments that agree in the other sections share it.

        Raises:
            UnknownNameError: no such stage.
        """
        config = _config_of_run(self.config)
        digest = hashlib.sha256(json.dumps(_identity(config), sort_keys=True).encode()).hexdigest()
        run = Run.open(self.cache / "runs" / digest[:12], config, progress=self.progress, say=self.say)
        order = [stage.name for stage in STAGES]
        for stage in sorted(stages, key=lambda name: order.index(name) if name in order else -1):
            begun = cpu_seconds()
            try:
                advance(run, [stage])
            finally:
                add_cpu_seconds(run.path, stage, cpu_seconds() - begun)
        return run

    def rollouts(self) -> Rollouts:
        """The rollouts of this seed, opened; the caller closes them."""
        return Rollouts.open(self.run("collect").path / "rollouts.sqlite")

    def work(self, name: str) -> Path | None:
        """A folder for unfinished work of the cell, such as the state of a training; None without :attr:`parts`."""
        if self.parts is None:
            return None
        folder = self.parts / file_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def helpers(
        self, names: Sequence[str], *, budgets: Sequence[float] | None = None, seeded: bool = True, **kwargs: Any
    ) -> dict[HelperKey, Helper]:
        """Build helpers from the run, and calibrate those with a knob to every budget on training tasks.

        The stages whose files the helpers need must be finished (:meth:`run`).

        Args:
            names: ids of helpers.
            budgets: cost units per episode; None: ``evaluate.budgets``.
            seeded: the keys contain the number of this trial as the training seed; False for helpers that are the
                same for all seeds.
            **kwargs: arguments of the helpers.
        """
        budgets = self.config.evaluate.budgets if budgets is None else budgets
        run, models = self.run(), dict[Any, Any]()
        built: dict[HelperKey, Helper] = {}
        for name in names:
            for budget, helper in build_helper(run, name, budgets, **upper_arguments(run, name) | kwargs).items():
                share_model(helper, models)
                built[HelperKey(name, budget, self.seed if seeded else None)] = helper
        return built | self.calibrated({key: helper for key, helper in built.items() if key.budget is not None})

    def calibrated(self, helpers: Mapping[HelperKey, Helper]) -> dict[HelperKey, Helper]:
        """The helpers, each calibrated to the budget of its key on training tasks.

        A helper that knows the collected tasks is calibrated on these, any other helper on training tasks that were not
        collected.
        """
        from selfreg_gym.calibration import calibrate_many

        wanted = {key: helper for key, helper in helpers.items() if helper.has_knob and key.budget is not None}
        if not wanted:
            return dict(helpers)
        c, run = self.config.calibrate, self.run()
        collected = self.config.collect.tasks
        known = range(min(c.tasks, collected))
        new = range(collected, min(collected + c.tasks, num_tasks(run))) or known
        found = calibrate_many(
            {str(key): (helper, float(key.budget or 0.0)) for key, helper in wanted.items()},
            run.env_kwargs(),
            tasks={str(key): known if helper.knows_tasks else new for key, helper in wanted.items()},
            episodes=c.episodes,
            max_episodes=c.max_episodes or None,
            seed=c.seed,
            workers=c.workers,
            num_envs=c.num_envs,
            resume=self.work("calibrations"),
            progress=lambda key: self.say(f"    {key} calibrated"),
        )
        return {**helpers, **{key: found[str(key)] for key in wanted}}

    def tasks(self, split: str | None = None) -> range:
        """The evaluated tasks of a split: collected ones, or for other splits those from index ``FIRST_TASK`` on."""
        count = self.config.evaluate.tasks
        if self._is_collected(split):
            return range(min(count, self.config.collect.tasks))
        available = num_tasks(self.run(), split)
        if available == sys.maxsize:
            return range(FIRST_TASK, FIRST_TASK + count)
        first = max(0, min(FIRST_TASK, available - count))
        return range(first, min(first + count, available))

    def evaluate(self, helpers: Mapping[HelperKey, Helper], *, split: str | None = None, **env: Any) -> Evaluation:
        """Evaluate helpers on a split; the episodes are the same for all seeds and experiments of a config.

        Args:
            helpers: by key.
            split: name of the split; None: the collected tasks.
            **env: keyword arguments of the env that replace those of the run, for instance ``interventions``.

        Raises:
            FailedEpisodesError: an episode ended in an error at every attempt.
        """
        from selfreg_gym.evaluation.protocol import evaluate_splits

        c, tasks = self.config.evaluate, self.tasks(split)
        name = self.config.task.collected if split is None else split
        each = -(-c.episodes * c.tasks // len(tasks))
        kwargs = {**self.run().env_kwargs(name), **env}
        plan = SplitPlan(kwargs, tasks, each, fixed_tasks=self._is_collected(split))
        found = evaluate_splits(
            {name: plan},
            helpers,
            seed=c.seed,
            workers=c.workers,
            num_envs=c.num_envs,
            progress=self.progress,
            warn=False,
        )
        failed = {str(key): int(columns["error"].sum()) for key, columns in found.table(name).columns.items()}
        if any(failed.values()):
            raise FailedEpisodesError(
                f"all episodes of an experiment must end without an error, and on {name!r} some did not (by helper: "
                f"{ {key: count for key, count in failed.items() if count} }). Remove the cause and run again."
            )
        return found

    def compare(
        self,
        names: Sequence[str],
        *,
        splits: Sequence[str],
        budgets: Sequence[float] | None = None,
        seeded: bool = True,
    ) -> dict[str, Any]:
        """Build, calibrate and evaluate helpers: ``{"evaluation": ...}``, as a cell returns it.

        The arguments are those of :meth:`helpers`, with the splits on which they are evaluated.
        """
        return self.played(self.helpers(names, budgets=budgets, seeded=seeded), splits=splits)

    def played(self, helpers: Mapping[HelperKey, Helper], *, splits: Sequence[str], **env: Any) -> dict[str, Any]:
        """Evaluate helpers on several splits: ``{"evaluation": ...}``, as a cell returns it.

        The evaluation of each helper on each split is saved as a part of the cell, for use after an interruption. The
        arguments ``env`` are those of :meth:`evaluate`.
        """
        found = []
        for split in splits:
            for name in dict.fromkeys(key.name for key in helpers):
                some = {key: helper for key, helper in helpers.items() if key.name == name}
                folder = self.work("evaluations")
                path = None if folder is None else folder / f"{file_name(f'{name} {split}')}.json"
                if path is not None and path.exists():
                    stored = read_object(path, what="an evaluation", remedy="delete it", error=CheckpointError)
                    found.append(unpack(stored))
                    continue
                found.append(self.evaluate(some, split=split, **env))
                self.say(f"    {name} evaluated on {split}")
                if path is not None:
                    write_text(path, dumps(pack(found[-1])) + "\n")
        return {"evaluation": pack(Evaluation.merge(*found))}

    def _is_collected(self, split: str | None) -> bool:
        return split is None or split == self.config.task.collected


def of_seed(config: RunConfig, seed: int) -> RunConfig:
    """The config of a trial: all sections but those of ``NOT_OF_A_RUN`` have different seeds in each trial."""
    table = to_dict(config)
    for name, section in table.items():
        if name not in NOT_OF_A_RUN and isinstance(section, dict) and "seed" in section:
            section["seed"] += SEED_STEP * (seed + 1)
    return from_dict(table)


def _config_of_run(config: RunConfig) -> RunConfig:
    """The config of the shared run: the sections on which it does not depend have default values."""
    table = to_dict(config)
    table["label"] = {**table["label"], "budgets": config.label_budgets}
    for offset, name in enumerate(("calibrate", "evaluate"), 1):
        table[name] = {"seed": config.collect.seed + offset}  # the seeds of a config must differ
    table["select"] = {}
    return from_dict(table)


def _identity(config: RunConfig) -> dict[str, Any]:
    """All settings that can change a result; a section without any is left out."""
    found = {name: getattr(config, name).identity() for name in type(config).model_fields}
    return {name: section for name, section in found.items() if section}
