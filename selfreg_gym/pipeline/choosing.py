"""``choose_helper``: the best helper of a run at a budget, by another collection with random help, without playing.

The other collection must have tasks on which no helper of the run was trained. A helper that was fitted to episodes
asks where help succeeded in these episodes, partly by chance, and an estimate from the same episodes counts this chance
as success: the more a candidate overfits, the better it looks. Held-out folds do not help, because the deployed helper
is trained on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helper import Helper
from selfreg_gym.pipeline.candidates import build, helper_names, is_candidate
from selfreg_gym.pipeline.comparison import calibrated
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.store.rollouts import Rollouts

if TYPE_CHECKING:
    from selfreg_gym.off_policy import Choice

__all__ = ["choose_helper"]

_SAME = ("task", "actor", "interventions", "intervention_ids", "actor_kwargs", "intervention_kwargs", "abort")


def choose_helper(
    run: Run, rollouts: Rollouts, *, budget: float | None = None, names: Sequence[str] | None = None, **options: Any
) -> Choice:
    """Compare helpers of a run at a budget by off-policy estimates (:func:`selfreg_gym.choose`).

    Each helper is estimated at all budgets of the config, with its calibrated knobs if the run has a calibration, and
    its success at ``budget`` is interpolated between these.

    Args:
        run: a run whose helpers are trained.
        rollouts: a collection of other tasks, with the run's actor and interventions, and the same arguments of these.
        budget: C, cost units per episode; None: that of the report's headline.
        names: ids of helpers; None: those among which the stage ``select`` chooses.
        **options: further arguments of :func:`selfreg_gym.choose`.

    Raises:
        InvalidArgumentError: the collection has another task, actor or interventions, or tasks of the run's rollouts;
            no budget is known, or there is no helper.
        OffPolicySupportError: the collection supports no helper.
    """
    from selfreg_gym.off_policy import choose

    budget = run.config.headline_budget if budget is None else budget
    if budget is None:
        raise InvalidArgumentError("a choice needs a budget, and evaluate.budgets has none: pass budget=.")
    _check_collection(run, rollouts)
    names = [name for name in helper_names(run) if is_candidate(name)] if names is None else list(names)
    calibration = (run.path / "calibration.json").is_file()
    helpers = calibrated(run, names) if calibration else build(run, names=names)
    candidates: dict[str, list[Helper]] = {}
    for key, helper in helpers.items():
        candidates.setdefault(key.name, []).append(helper)
    return choose(rollouts, candidates, budget=budget, **options)


def _check_collection(run: Run, rollouts: Rollouts) -> None:
    """Raise unless the helpers can be compared by these rollouts."""
    if not isinstance(rollouts, Rollouts):
        raise InvalidArgumentError(
            f"a choice reads a collection, a Rollouts store; received {type(rollouts).__name__}: use Rollouts.open."
        )
    with Rollouts.open(run.path / "rollouts.sqlite", check=False) as trained:
        received, own = _described(rollouts), _described(trained)
        for name, value in own.items():
            if received[name] != value:
                raise InvalidArgumentError(
                    f"the collection must have the {name} of the run, {value!r}, received {received[name]!r}: "
                    "collect with the run's config and other tasks."
                )
        shared = sorted(_task_ids(trained) & _task_ids(rollouts))
    if shared:
        raise InvalidArgumentError(
            f"the collection must have tasks on which no helper was trained, and {len(shared)} of its tasks are in the "
            f"run's rollouts, such as {shared[0]!r}: collect other tasks, with the same command and tasks=range(N, M)."
        )


def _described(rollouts: Rollouts) -> dict[str, Any]:
    """What a collection and a run must have in common; the split of the task may differ."""
    env = rollouts.spec.get("env", {})
    return {name: env.get(name) for name in _SAME} | {"history": env.get("task_kwargs", {}).get("history")}


def _task_ids(rollouts: Rollouts) -> set[str]:
    found: Any = rollouts.columns("task_id")["task_id"]
    return {text for text in found.values if text is not None}
