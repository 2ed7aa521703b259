"""The stage ``select``: which deployable helper the report presents.

The deployable helpers play the validation splits at the headline budget, and the one with the largest success at C is
selected (:mod:`selfreg_gym.evaluation.choice`). Without validation splits it is the one with the largest success in
calibration, whose episodes no training has used. The evaluated splits are not read. Helpers that know the collected
tasks are not candidates, because they cannot be deployed on new tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfreg_gym.evaluation.records import ValidatedHelper
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.pipeline.candidates import helper_class, helper_names, is_candidate
from selfreg_gym.pipeline.comparison import calibrated, check_complete, num_tasks
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.utils.json_text import dumps
from selfreg_gym.utils.printable import file_name

__all__ = ["select_helper"]

BY_VALIDATION, BY_CALIBRATION = "validation", "calibration"


def select_helper(run: Run) -> dict[str, Any]:
    """Select a deployable helper, into selection.json."""
    budget = run.config.headline_budget
    ends = [name for name in helper_names(run) if helper_class(name).reference in ("lower", "upper")]
    helpers = calibrated(run, [*ends, *filter(is_candidate, helper_names(run))])
    at_budget = {key: helper for key, helper in helpers.items() if key.budget in (budget, None)}
    names = list(dict.fromkeys(key.name for key in at_budget if key.helper_id not in ends))
    has_ends = {helper_class(name).reference for name in ends} == {"lower", "upper"}
    played = bool(run.config.select.splits) and budget is not None and has_ends and len(names) > 1
    ranked: list[Any]
    if played:
        ranked = _on_validation(run, at_budget, names, float(budget or 0.0))
    else:
        ranked = _in_calibration({key: one for key, one in at_budget.items() if key.name in names})
    selected = ranked[0]["helper"] if ranked else None
    splits = list(run.config.select.splits) if played else []
    record = {
        "selected": selected,
        "by": BY_VALIDATION if played else BY_CALIBRATION,
        "budget": budget,
        "splits": splits,
        "helpers": ranked,
    }
    with run.writing("select", "selection.json") as out:
        out.write_text(dumps(record, indent=1) + "\n", encoding="utf-8")
    on = f"validation tasks ({', '.join(splits)})" if played else "calibration episodes"
    return {"selected": selected or "none", "on": on, "among": ", ".join(names)}


def _on_validation(
    run: Run, helpers: Mapping[HelperKey, Helper], names: list[str], budget: float
) -> list[ValidatedHelper]:
    """The candidates by their success on the validation splits. Finished splits are kept after an interruption."""
    from selfreg_gym.evaluation import Evaluation, SplitPlan, evaluate_splits
    from selfreg_gym.evaluation.choice import rank_helpers

    c = run.config.select
    parts = {split: run.partial("select") / f"{file_name(split)}.json" for split in c.splits}
    plans = {}
    for split in (one for one, part in parts.items() if not part.exists()):
        tasks = min(c.tasks, num_tasks(run, split))
        plans[split] = SplitPlan(run.env_kwargs(split), range(tasks), -(-c.episodes * c.tasks // tasks), False)

    def keep(split: str, found: Evaluation) -> None:
        check_complete(split, found)
        found.save(parts[split])

    if plans:
        evaluate_splits(
            plans,
            helpers,
            seed=c.seed,
            workers=c.workers,
            num_envs=c.num_envs,
            progress=run.progress,
            warn=False,
            on_split=keep,
        )
    return rank_helpers(Evaluation.merge(*map(Evaluation.load, parts.values())), names, budget=budget)


def _in_calibration(helpers: Mapping[HelperKey, Helper]) -> list[dict[str, Any]]:
    """The candidates by their success in calibration, those without one last."""
    found = []
    for key, helper in helpers.items():
        one = helper.calibration or {}
        found.append({"helper": key.name, "success": one.get("success"), "usage": one.get("usage")})
    return sorted(found, key=lambda one: -1.0 if one["success"] is None else one["success"], reverse=True)
