"""The two stages that compare helpers: calibrate each one to its budgets, and play the same fresh episodes with all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfreg_gym.errors import FailedEpisodesError
from selfreg_gym.intervention_env.episode import episodes_of
from selfreg_gym.pipeline.candidates import build, is_decisive, key_of
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.utils.json_text import dumps
from selfreg_gym.utils.printable import file_name

__all__ = ["calibrate_helpers", "evaluate_helpers"]


def calibrate_helpers(run: Run) -> dict[str, Any]:
    """Find, for each helper and budget, the knob at which fresh training episodes use what the budget allows.

    A helper that reads text is calibrated on training tasks without collected rollouts, because its usage on the tasks
    of its own training may differ. A helper whose table names the tasks (``knows_tasks``) is calibrated on those.
    A task that declares too few (``num_episodes``) is calibrated on as many as are left, or on the collected ones.
    """
    from selfreg_gym.calibration import calibrate_many

    c = run.config.calibrate
    collected = run.config.collect.tasks
    fresh = range(collected, min(collected + c.tasks, _declared_tasks(run))) or range(min(c.tasks, collected))
    requests: dict[str, tuple[Any, float]] = {}
    tasks: dict[str, range] = {}
    for name, by_budget in build(run, knobs_only=True).items():
        for budget, helper in by_budget.items():
            if budget is not None:
                key = key_of(name, budget)
                requests[key] = (helper, budget)
                tasks[key] = range(min(c.tasks, collected)) if helper.knows_tasks else fresh
    found = calibrate_many(
        requests,
        run.env_kwargs(),
        tasks=tasks,
        episodes=c.episodes,
        max_episodes=c.max_episodes or None,
        seed=c.seed,
        workers=c.workers,
        num_envs=c.num_envs,
        resume=run.partial("calibrate") / "found",
        progress=lambda key: run.say(f"    {key} calibrated"),
    )
    calibrations = {key: helper.calibration for key, helper in found.items()}
    with run.writing("calibrate", "calibration.json") as out:
        out.write_text(dumps(calibrations, indent=1) + "\n")
    return {
        "points": len(found),
        "met": sum(one["met"] for one in calibrations.values()),
        "warnings": _not_met(calibrations),
    }


def _declared_tasks(run: Run, split: str | None = None) -> int:
    """How many tasks a split's task says that there are (``num_episodes``); a large number where it says nothing."""
    import gymnasium as gym

    kwargs = run.env_kwargs(split)
    task = gym.make(kwargs["task"], disable_env_checker=True, **kwargs["task_kwargs"])
    try:
        declared = episodes_of(task)
        return declared if declared is not None and declared > 0 else sys.maxsize
    finally:
        task.close()


def _not_met(calibrations: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A warning for each reason why a budget was not met, and one for all whose usage is not known precisely."""
    reasons: dict[str, list[str]] = {}
    for key, one in calibrations.items():
        if not one["met"]:
            reasons.setdefault(one["reason"], []).append(key)
    found = [f"{', '.join(keys)} {'is' if len(keys) == 1 else 'are'} {reason}." for reason, keys in reasons.items()]
    vague = [key for key, one in calibrations.items() if one["met"] and not one["precise"]]
    if vague:
        found.append(
            f"the usage of {', '.join(vague)} is not known to 5 % of the budget (95 %) after as many episodes as "
            "calibrate.max_episodes allows."
        )
    return found


def evaluate_helpers(run: Run) -> dict[str, Any]:
    """Let every helper play the same fresh episodes of every split. Finished splits survive an interruption."""
    from selfreg_gym.evaluation import Evaluation

    folder = run.partial("evaluate")
    parts = {split: folder / f"{file_name(split)}.json" for split in run.config.task.splits}
    left = [split for split, part in parts.items() if not part.exists()]
    if left:

        def keep(split: str, found: Evaluation) -> None:
            failed = {row["helper"]: row["errors"] for row in found.rows if row["errors"]}
            if failed:
                raise FailedEpisodesError(
                    f"episodes on {split!r} ended in errors (by helper: {failed}), and rows of the others would be "
                    "biased. Repair what failed and run again; splits that are whole are kept."
                )
            found.save(parts[split])

        _play_splits(run, left, on_split=keep)
    evaluation = Evaluation.merge(*map(Evaluation.load, parts.values()))
    with run.writing("evaluate", "evaluation.json") as out:
        evaluation.save(out)
    return {"rows": len(evaluation.rows)}


def _play_splits(run: Run, splits: Sequence[str], *, on_split: Callable[[str, Any], object]) -> None:
    """Evaluate every helper on these splits."""
    from selfreg_gym.calibration import apply_calibration, load_calibrations
    from selfreg_gym.evaluation import SplitPlan, evaluate_splits
    from selfreg_gym.prm import ProcessRewardModel

    c = run.config.evaluate
    calibrations = load_calibrations(run.path / "calibration.json")
    helpers: dict[str, Any] = {}
    episodes: dict[str, int] = {}
    for name, by_budget in build(run).items():
        each = c.episodes if is_decisive(name, c) else c.episodes_others
        for budget, helper in by_budget.items() if each else ():
            key = key_of(name, budget)
            helpers[key] = apply_calibration(helper, calibrations[key]) if key in calibrations else helper
            episodes[key] = each
    plans = {}
    for split in splits:
        # The collected tasks may be fewer: more episodes of each then, so that rows of all splits rest on as many.
        tasks = min(c.tasks, _declared_tasks(run, split))
        collected = split == run.config.task.collected
        tasks = min(tasks, run.config.collect.tasks) if collected else tasks
        counts = {key: -(-each * c.tasks // tasks) for key, each in episodes.items()}
        plans[split] = SplitPlan(run.env_kwargs(split), range(tasks), counts, fixed_tasks=collected)
    evaluate_splits(
        plans,
        helpers,
        seed=c.seed,
        traces=1,
        prm=ProcessRewardModel.from_pretrained(run.path / "prm"),
        workers=c.workers,
        num_envs=c.num_envs,
        progress=run.progress,
        warn=False,
        on_split=on_split,
    )
