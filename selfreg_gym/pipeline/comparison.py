"""The two stages that compare helpers: calibration to the budgets, and evaluation on the same new episodes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from selfreg_gym.adapters import as_helper_class
from selfreg_gym.errors import FailedEpisodesError, RunDirectoryError
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.intervention_env.task_members import episodes_of
from selfreg_gym.pipeline.candidates import build, helper_class, is_decisive
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.utils.json_text import dumps
from selfreg_gym.utils.printable import file_name

if TYPE_CHECKING:
    from selfreg_gym.evaluation import Evaluation

__all__ = ["calibrate_helpers", "calibrated", "check_complete", "evaluate_helpers", "num_tasks"]


def calibrate_helpers(run: Run) -> dict[str, Any]:
    """Find, for each helper and budget, the knob whose usage on new episodes of training tasks meets the budget.

    A helper that reads text is calibrated on training tasks without rollouts, because its usage on the tasks that it
    was trained on may differ: on as many as the task has left (``num_episodes``), or on the collected ones if none is
    left. A helper that knows the collected tasks (``knows_tasks``) is calibrated on those.
    """
    from selfreg_gym.calibration import calibrate_many

    c = run.config.calibrate
    collected = run.config.collect.tasks
    known = range(min(c.tasks, collected))
    new = range(collected, min(collected + c.tasks, num_tasks(run))) or known
    helpers = {key: helper for key, helper in build(run, knobs_only=True).items() if key.budget is not None}
    main = [str(key) for key in helpers if not c.max_episodes_others or _is_main(run, key)]
    limits = {str(key): (c.max_episodes if str(key) in main else c.max_episodes_others) or None for key in helpers}
    found = calibrate_many(
        {str(key): (helper, key.budget) for key, helper in helpers.items() if key.budget is not None},
        run.env_kwargs(),
        tasks={str(key): known if helper.knows_tasks else new for key, helper in helpers.items()},
        episodes=c.episodes,
        max_episodes=limits,
        seed=c.seed,
        workers=c.workers,
        num_envs=c.num_envs,
        resume=run.partial("calibrate") / "found",
        progress=lambda key: run.say(f"    {key} calibrated"),
    )
    calibrations = {key: helper.calibration for key, helper in found.items()}
    with run.writing("calibrate", "calibration.json") as out:
        out.write_text(dumps(calibrations, indent=1) + "\n", encoding="utf-8")
    return {
        "points": len(found),
        "met": sum(one["met"] for one in calibrations.values()),
        "warnings": [*_not_met(calibrations, main), *_not_labelled(run, helpers)],
    }


def num_tasks(run: Run, split: str | None = None) -> int:
    """Number of tasks of a split, as the task declares it (``num_episodes``); ``sys.maxsize`` if it does not."""
    kwargs = run.env_kwargs(split)
    task = build_task(kwargs["task"], kwargs["task_kwargs"])
    try:
        declared = episodes_of(task)
        return declared if declared is not None and declared > 0 else sys.maxsize
    finally:
        task.close()


def _is_main(run: Run, key: HelperKey) -> bool:
    """Whether a helper can be deployed and is measured with all episodes."""
    kind = as_helper_class(helper_class(key.helper_id))
    return kind.role == "deployable" and is_decisive(key.name, run.config.evaluate)


def _not_met(calibrations: Mapping[str, Mapping[str, Any]], main: Sequence[str] | None = None) -> list[str]:
    """A warning for each reason why budgets were not met, and one for all usages that are not known precisely.

    ``main`` has the keys whose usage should be known to 5 % of the budget; None: all.
    """
    reasons: dict[str, list[str]] = {}
    for key, one in calibrations.items():
        if not one["met"]:
            reasons.setdefault(one["reason"], []).append(key)
    found = [f"{', '.join(keys)} {'is' if len(keys) == 1 else 'are'} {reason}." for reason, keys in reasons.items()]
    main = list(calibrations) if main is None else main
    imprecise = [key for key in main if calibrations[key]["met"] and not calibrations[key]["precise"]]
    if imprecise:
        found.append(
            f"the usage of {', '.join(imprecise)} is not known to 5 % of the budget (95 %) after as many episodes as "
            "calibrate.max_episodes allows."
        )
    return found


def _not_labelled(run: Run, keys: Iterable[HelperKey]) -> list[str]:
    """A warning if the trained helper is asked at budgets that no label had."""
    labelled = run.config.label_budgets
    if helper_class(run.config.helper.id).learns != "labels":
        return []
    other = [f"{key.budget:g}" for key in keys if key.helper_id == run.config.helper.id and key.budget not in labelled]
    if not other:
        return []
    return [
        f"the helper {run.config.helper.id!r} is asked at the budget {', '.join(other)}, and its labels are for "
        f"{', '.join(f'{budget:g}' for budget in labelled)}: it must extrapolate. Add the budget to label.budgets."
    ]


def evaluate_helpers(run: Run) -> dict[str, Any]:
    """Let every helper play the same new episodes of every split. Finished splits are kept after an interruption."""
    from selfreg_gym.evaluation import Evaluation

    folder = run.partial("evaluate")
    parts = {split: folder / f"{file_name(split)}.json" for split in run.config.task.splits}
    missing = [split for split, part in parts.items() if not part.exists()]
    if missing:

        def keep(split: str, found: Evaluation) -> None:
            check_complete(split, found)
            found.save(parts[split])

        _play_splits(run, missing, on_split=keep)
    evaluation = Evaluation.merge(*map(Evaluation.load, parts.values()))
    with run.writing("evaluate", "evaluation.json") as out:
        evaluation.save(out)
    return {"rows": len(evaluation.rows)}


def check_complete(split: str, evaluation: Evaluation) -> None:
    """Raise if an episode of an evaluated split ended in an error.

    Raises:
        FailedEpisodesError: an episode ended in an error at every attempt.
    """
    failed = {row["helper"]: row["errors"] for row in evaluation.rows if row["errors"]}
    if failed:
        raise FailedEpisodesError(
            f"all episodes of an evaluation must end without an error, and on {split!r} some did not (by helper: "
            f"{failed}); results of the others would be biased. Remove the cause and run again; finished splits are "
            "kept."
        )


def _play_splits(run: Run, splits: Sequence[str], *, on_split: Callable[[str, Any], object]) -> None:
    """Evaluate every helper on these splits."""
    from selfreg_gym.evaluation import SplitPlan, evaluate_splits
    from selfreg_gym.prm import ProcessRewardModel

    c = run.config.evaluate
    helpers = calibrated(run)
    episodes = {key: c.episodes if is_decisive(key.name, c) else c.episodes_others for key in helpers}
    plans = {}
    for split in splits:
        # With fewer tasks than c.tasks more episodes of each are played, so that each row has as many episodes.
        tasks = min(c.tasks, num_tasks(run, split))
        collected = split == run.config.task.collected
        tasks = min(tasks, run.config.collect.tasks) if collected else tasks
        counts = {key: -(-each * c.tasks // tasks) for key, each in episodes.items() if each}
        plans[split] = SplitPlan(run.env_kwargs(split), range(tasks), counts, fixed_tasks=collected)
    evaluate_splits(
        plans,
        {key: helper for key, helper in helpers.items() if episodes[key]},
        seed=c.seed,
        traces=1,
        prm=ProcessRewardModel.from_pretrained(run.path / "prm"),
        workers=c.workers,
        num_envs=c.num_envs,
        progress=run.progress,
        warn=False,
        on_split=on_split,
    )


def calibrated(run: Run, names: Sequence[str] | None = None) -> dict[HelperKey, Helper]:
    """The helpers at all budgets, with their calibrated knobs.

    Args:
        run: the run.
        names: ids of helpers; None: all that are compared.

    Raises:
        RunDirectoryError: calibration.json lacks a helper with a knob.
    """
    from selfreg_gym.calibration import apply_calibration, load_calibrations

    calibrations = load_calibrations(run.path / "calibration.json")
    helpers = build(run, names=names)
    for key, helper in helpers.items():
        if str(key) in calibrations:
            helpers[key] = apply_calibration(helper, calibrations[str(key)])
        elif helper.has_knob and key.budget is not None:
            raise RunDirectoryError(
                f"calibration.json must have every helper with a knob, and {str(key)!r} is missing. Make it again: "
                f"selfreg run --out {run.path} --until calibrate"
            )
    return helpers
