"""``evaluate``: all helpers play the same episodes, each exactly once.

The plan (which task, which seed) is made before anything is played. It does not depend on the helpers, the batch size
or the number of processes. Processes share the plan by task, and each lets *all* helpers play its tasks.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError, shown
from selfreg_gym.evaluation.diagnostics import EvaluationWarning
from selfreg_gym.evaluation.measures import EpisodeMeasures
from selfreg_gym.evaluation.planning import SplitPlan, evaluation_plan, make_shards
from selfreg_gym.evaluation.playing import PlayedEpisode, Player
from selfreg_gym.evaluation.records import Expectation
from selfreg_gym.evaluation.result import Evaluation
from selfreg_gym.evaluation.split_results import registered_description
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.evaluation.traces import choose_traces, trace_records
from selfreg_gym.helper import Helper, HelperDescription, HelperKey
from selfreg_gym.intervention_env.interventions import privileged_names
from selfreg_gym.playing.executor import run_sharded
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode, HelperPolicy
from selfreg_gym.utils.arguments import check_count, check_number
from selfreg_gym.utils.progress import progress_bar

__all__ = ["evaluate", "evaluate_splits"]

FORMERLY_FIXED = "collected"
"""A split of this name has fixed tasks unless ``fixed_tasks`` is given; deprecated."""

_MAX_ERRORS = 32

KEY_DIGITS = 1e-5
"""A budget in a key may be rounded to six digits: their largest relative difference to the number itself."""


def evaluate(
    env: Any,
    helpers: Mapping[Any, HelperPolicy],
    *,
    tasks: Sequence[int],
    episodes: int | Mapping[Any, int],
    seed: int = 0,
    split: str = "seen",
    fixed_tasks: bool | None = None,
    budgets: Mapping[Any, float] | None = None,
    expected: Mapping[Any, Mapping[str, float]] | None = None,
    traces: int | Sequence[EpisodeSpec] = 0,
    prm: Any = None,
    workers: int = 1,
    num_envs: int = 16,
    deterministic: bool = True,
    retries: int = 2,
    progress: bool | Callable[[int, int], None] = True,
    warn: bool = True,
) -> Evaluation:
    """Let all helpers play the same episodes, and measure them.

    Args:
        env: keyword arguments of ``selfreg/Intervention-v0`` (then processes can share the work), or a ready
            ``InterventionVectorEnv`` in DISABLED mode or ``InterventionEnv``.
        helpers: by key, a :class:`selfreg_gym.helper.HelperKey` or its text: ``NAME``, ``NAME@BUDGET`` (a point of the
            curve of NAME) or ``NAME@BUDGET#SEED`` (a training seed; several are reported one by one and together).
            Shares of the gap need the helpers ``never`` and ``always``; comparisons at equal usage need ``random`` at a
            few probabilities.
        tasks: task indices (``reset(options={"episode": task_index})``).
        episodes: per task, a number or one for each key; a helper with fewer episodes plays the first ones.
        seed: seed of the plan and of stochastic helpers. Another seed gives new episodes.
        split: name of this set of tasks.
        fixed_tasks: True: the intervals hold for new episodes of these tasks; episodes are resampled. False: they hold
            for new tasks; tasks are resampled. The default is False. (Deprecated: it is True for a split
            named "collected".)
        budgets: C of the keys without a budget.
        expected: by key, expected usage and success: ``{"usage": E[U], "success": E[SR]}``. Default: the helper's own
            expectations (``expected_usage``, ``expected_success``), on fixed tasks only.
        traces: keep the steps of these episodes, or of this many of each kind, for every helper.
        prm: scores the observations of the traces (``score(observations)``), which then show p(s).
        workers: number of processes; more than one needs ``env`` as keyword arguments. It does not change the result.
        num_envs: episodes played at a time in each process.
        deterministic: helpers take their most likely action.
        retries: maximum number of repetitions of an episode that ends in an error.
        progress: show a bar; or a function of (finished episodes, all episodes).
        warn: issue the evaluation's ``warnings`` as :class:`EvaluationWarning`; False for a part that is merged later.

    Returns:
        The measured episodes of all helpers, with rows, comparisons, curves and warnings.

    Raises:
        InvalidArgumentError: no helpers, an invalid helper or key, no tasks, an invalid budget or one that contradicts
            the helper's key, or several processes with a ready env.
        UnknownNameError: a budget for a helper that is not evaluated.
        TaskContractError: on a split, each of the first 32 episodes of a helper ended in an error, or all of them if
            there are fewer.
    """
    evaluation = evaluate_splits(
        {split: SplitPlan(env, tasks, episodes, _has_fixed_tasks(split, fixed_tasks))},
        helpers,
        seed=seed,
        budgets=budgets,
        expected={} if expected is None else {split: expected},
        traces=traces,
        prm=prm,
        workers=workers,
        num_envs=num_envs,
        deterministic=deterministic,
        retries=retries,
        progress=progress,
        warn=False,
    )
    if warn:
        _issue(evaluation.warnings)
    return evaluation


def evaluate_splits(
    splits: Mapping[str, SplitPlan],
    helpers: Mapping[Any, HelperPolicy],
    *,
    seed: int = 0,
    budgets: Mapping[Any, float] | None = None,
    expected: Mapping[str, Mapping[Any, Mapping[str, float]]] | None = None,
    traces: int | Sequence[EpisodeSpec] = 0,
    prm: Any = None,
    workers: int = 1,
    num_envs: int = 16,
    deterministic: bool = True,
    retries: int = 2,
    progress: bool | Callable[[int, int], None] = True,
    warn: bool = True,
    on_split: Callable[[str, Evaluation], object] | None = None,
) -> Evaluation:
    """:func:`evaluate` on several splits, with processes that are started once.

    Args:
        splits: by name, in the order in which they are played.
        expected: as in :func:`evaluate`, by split.
        on_split: called with the name and the evaluation of each split as soon as all of it is played.

    The other arguments, and the errors, are those of :func:`evaluate`.
    """
    if not helpers or not isinstance(helpers, Mapping):
        example, received = "{'never': Never()}", shown(helpers) if helpers else "none"
        raise InvalidArgumentError(
            f"evaluate needs a dict of at least one helper, for instance {example}; received {received}."
        )
    players = {
        HelperKey.parse(key): as_helper(helper, what=f"the helper {str(key)!r}") for key, helper in helpers.items()
    }
    if len(players) < len(helpers):
        raise InvalidArgumentError(f"helper keys must differ, received {', '.join(map(str, helpers))}.")
    known_budgets = _known_budgets(players, budgets)
    plans: dict[str, SplitPlan] = {}
    for name, split in splits.items():
        plans[name] = replace(split, fixed_tasks=_has_fixed_tasks(name, split.fixed_tasks))
        if workers > 1 and not isinstance(split.env, Mapping):
            raise InvalidArgumentError(
                "several processes each build the env themselves: pass env as keyword arguments of "
                "selfreg/Intervention-v0, for instance {'task': 'selfreg/SIF-v0', 'actor': 'tiny', "
                f"'interventions': ['expert']}}, or workers=1. Received {type(split.env).__name__}."
            )
    runs = {name: _SplitRun(name, split, players, seed, traces, num_envs) for name, split in plans.items()}
    envs = {name: split.env for name, split in splits.items()}
    traced = {name: run.traced for name, run in runs.items()}
    player = Player(envs, players, traced, seed, num_envs, deterministic, retries)
    done: dict[str, Evaluation] = {}
    total = sum(run.left for run in runs.values())
    with progress_bar(f"evaluate {', '.join(splits)}", total, shown=progress is True) as update:

        def receive(item: PlayedEpisode) -> None:
            run = runs[item.split]
            run.add(item)
            played = total - sum(run.left for run in runs.values())
            update(played)
            if callable(progress):
                progress(played, total)
            if not run.left:
                done[item.split] = run.evaluation(known_budgets, (expected or {}).get(item.split), prm)
                if on_split is not None:
                    on_split(item.split, done[item.split])

        shards = [shard for run in runs.values() for shard in run.shards]
        run_sharded(player, shards, workers=workers, on_result=receive)
    evaluation = Evaluation.merge(*(done[name] for name in splits))
    if warn:
        _issue(evaluation.warnings)
    return evaluation


def _issue(texts: Sequence[str]) -> None:
    """Issue warnings that show the line of the caller's caller."""
    for text in texts:
        warnings.warn(text, EvaluationWarning, stacklevel=3)


def _known_budgets(players: Mapping[HelperKey, Helper], budgets: Mapping[Any, float] | None) -> dict[HelperKey, float]:
    """The budget of each key that has one: from ``budgets``, or from the key itself."""
    if budgets is not None and not isinstance(budgets, Mapping):
        raise InvalidArgumentError(f"budgets must be a dict of budgets by helper key, received {shown(budgets)}.")
    found = {key: key.budget for key in players if key.budget is not None}
    for text, value in (budgets or {}).items():
        key = HelperKey.parse(text)
        if key not in players:
            raise UnknownNameError("helper in budgets", str(key), map(str, players))
        budget = check_number(f"the budget of {str(key)!r} (cost units per episode)", value)
        if key.budget is not None and not math.isclose(budget, key.budget, rel_tol=KEY_DIGITS):
            raise InvalidArgumentError(
                f"a helper has one budget: the key {str(key)!r} says {key.budget:g} and budgets says {budget:g}. Leave "
                "one of them out, or rename the key."
            )
        found[key] = budget
    return found


class _SplitRun:
    """The plan of a split, and the episodes that were played of it."""

    def __init__(
        self,
        name: str,
        split: SplitPlan,
        helpers: Mapping[HelperKey, Helper],
        seed: int,
        traces: int | Sequence[EpisodeSpec],
        num_envs: int,
    ) -> None:
        counts = split.episodes_per_task
        if isinstance(counts, Mapping):
            by_key = {HelperKey.parse(key): count for key, count in counts.items()}
            each = {key: by_key[key] for key in helpers}
        else:
            each = dict.fromkeys(helpers, check_count("episodes per task", counts))
        self.name, self._helpers, self._seed, self._traces = name, helpers, seed, traces
        self.fixed_tasks = bool(split.fixed_tasks)
        self.plans = {key: evaluation_plan(split.tasks, count, seed=seed) for key, count in each.items()}
        longest = max(self.plans.values(), key=len)
        self.traced = choose_traces(longest, traces)
        self.shards = make_shards(name, self.plans, longest, num_envs)
        self.left = sum(map(len, self.plans.values()))
        interventions = {str(key): helper.intervention for key, helper in helpers.items()}
        self._meta = {
            "tasks": len(split.tasks),
            "episodes_per_task": max(each.values()),
            "seed": seed,
            "knows_tasks": [str(key) for key, helper in helpers.items() if helper.knows_tasks],
            "interventions": {key: one for key, one in interventions.items() if isinstance(one, str)},
            "privileged": privileged_names(split.env),
            "helpers": {key.name: asdict(_description(key.name, helper)) for key, helper in helpers.items()},
        }
        self._played: dict[HelperKey, list[EpisodeMeasures]] = {key: [] for key in helpers}
        self._kept: list[tuple[HelperKey, Episode]] = []
        self._working: set[HelperKey] = set()  # helpers with an episode that did not end in an error

    def add(self, played: PlayedEpisode) -> None:
        """Add one episode.

        Raises:
            TaskContractError: each of the first 32 episodes of a helper (or all, if it has fewer) ended in an error.
        """
        self._played[played.key].append(played.measures)
        self.left -= 1
        if played.episode is not None:
            self._kept.append((played.key, played.episode))
        if played.measures.error is None:
            self._working.add(played.key)
        elif played.key not in self._working:
            count = len(self._played[played.key])
            if count >= min(_MAX_ERRORS, len(self.plans[played.key])):
                raise TaskContractError(
                    f"split {self.name!r}: the first {count} episodes of the helper {str(played.key)!r} ended in an "
                    f"error, the last with: {played.measures.error}"
                )

    def evaluation(
        self, budgets: Mapping[HelperKey, float], expected: Mapping[Any, Mapping[str, float]] | None, prm: Any
    ) -> Evaluation:
        """The evaluation of the split, once all of it is played."""
        table = EpisodeTable.from_measures(
            self.plans, self._played, split=self.name, fixed_tasks=self.fixed_tasks, bootstrap_seed=self._seed
        )
        own = {key: _expectation(helper, self.fixed_tasks) for key, helper in self._helpers.items()}
        given: Mapping[Any, Any] = {key: one for key, one in own.items() if one} if expected is None else expected
        return Evaluation(
            {self.name: table},
            budgets=dict(budgets),
            expected={self.name: dict(given)},
            traces=trace_records(self._kept, self.name, list(self.plans), self._traces, prm),
            meta={self.name: self._meta},
        )


def _description(name: str, helper: Helper) -> HelperDescription:
    """What a helper declares; without a ``reference``, it has that of the registered helper in whose place it is."""
    declared = helper.description
    return replace(declared, reference=declared.reference or registered_description(name).reference)


def _has_fixed_tasks(split: str, fixed_tasks: bool | None) -> bool:
    """Whether a split has fixed tasks; called by the functions that a user calls."""
    if fixed_tasks is None and split == FORMERLY_FIXED:
        message = f"the split {split!r} has fixed tasks because of its name: pass fixed_tasks=True for that."
        warnings.warn(message, DeprecationWarning, stacklevel=3)
        return True
    return bool(fixed_tasks)


def _expectation(helper: Helper, fixed_tasks: bool) -> Expectation:
    """What a helper expects, which holds for the tasks of its data only, and what its calibration measured."""
    expected = {"usage": helper.expected_usage, "success": helper.expected_success} if fixed_tasks else {}
    found = {name: float(value) for name, value in expected.items() if value is not None}
    if helper.calibration:
        found["calibrated_usage"] = float(helper.calibration["usage"])
        if helper.calibration.get("success") is not None:
            found["calibrated_success"] = float(helper.calibration["success"])
    return cast(Expectation, found)
