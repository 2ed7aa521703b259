"""``evaluate``: every helper on the same episodes, each played exactly once.

The plan (which task, which seed) is made before anything is played and does not depend on the helpers, on batch size
or on the number of processes. Processes split the plan by task, and each lets *all* helpers play its tasks, so that
what an actor remembers of a task serves them all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError, shown
from selfreg_gym.evaluation.diagnostics import EvaluationWarning
from selfreg_gym.evaluation.measures import EpisodeTable, Measured, parse_key
from selfreg_gym.evaluation.playing import Player, cut
from selfreg_gym.evaluation.result import Evaluation
from selfreg_gym.evaluation.traces import choose_traces, trace_records
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.playing.executor import run_sharded
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode, HelperPolicy
from selfreg_gym.utils.arguments import check_count, check_number, check_tasks
from selfreg_gym.utils.progress import progress_bar
from selfreg_gym.utils.random_streams import EVALUATION_EPISODES, Purpose, seed_sequence

__all__ = ["SplitPlan", "evaluate", "evaluate_splits", "evaluation_plan"]

KEY_DIGITS = 1e-5
"""A budget in a key may be rounded to six digits: their largest relative difference to the number itself."""


def evaluation_plan(
    tasks: Sequence[int], episodes_per_task: int, *, seed: int, stream: Purpose = EVALUATION_EPISODES
) -> list[EpisodeSpec]:
    """The episodes of an evaluation: each task ``episodes_per_task`` times, with seeds of 31 bits.

    More episodes per task extend the plan: those of a smaller plan are among them.

    Raises:
        InvalidArgumentError: no tasks, a task twice, something else than task indices, or no episodes.
    """
    if not isinstance(tasks, Iterable) or isinstance(tasks, str):
        check_tasks(tasks)
    tasks = list(tasks)
    if not tasks or check_count("episodes (per task)", episodes_per_task, low=0) < 1:
        raise InvalidArgumentError(
            f"an evaluation needs tasks and at least one episode per task, received {len(tasks)} tasks and "
            f"episodes={episodes_per_task!r}."
        )
    if len(set(tasks)) != len(tasks):
        raise InvalidArgumentError("a task is in the list twice; ask for more episodes per task instead.")
    tasks = check_tasks(tasks)
    return [
        EpisodeSpec(task_index=task, seed=_episode_seed(seed, stream, task, index))
        for task in tasks
        for index in range(episodes_per_task)
    ]


def _episode_seed(seed: int, stream: Purpose, task: int, index: int) -> int:
    return int(seed_sequence(stream, seed, task, index).generate_state(1)[0] >> 1)


@dataclass(frozen=True)
class SplitPlan:
    """What is played on one split.

    Attributes:
        env: keyword arguments of ``selfreg/Intervention-v0``, or a ready env.
        tasks: task indices.
        episodes: how many per task; or by helper key.
        fixed_tasks: these tasks are the population: intervals are about new episodes of them, and a solver's own
            promises are about them. False: they are a sample, and intervals are about new tasks. By default, a split
            of the name "collected" has fixed tasks.
    """

    env: Any
    tasks: Sequence[int]
    episodes: int | Mapping[str, int]
    fixed_tasks: bool | None = None


def evaluate(
    env: Any,
    helpers: Mapping[str, HelperPolicy],
    *,
    tasks: Sequence[int],
    episodes: int | Mapping[str, int],
    seed: int = 0,
    split: str = "seen",
    fixed_tasks: bool | None = None,
    budgets: Mapping[str, float] | None = None,
    expected: Mapping[str, Mapping[str, float]] | None = None,
    traces: int | Sequence[EpisodeSpec] = 0,
    prm: Any = None,
    workers: int = 1,
    num_envs: int = 16,
    deterministic: bool = True,
    retries: int = 2,
    progress: bool | Callable[[int, int], None] = True,
    warn: bool = True,
) -> Evaluation:
    """Let every helper play the same episodes, and measure them.

    Args:
        env: keyword arguments of ``selfreg/Intervention-v0`` (then processes can share the work), or a ready
            ``InterventionVectorEnv`` in DISABLED mode or ``InterventionEnv``.
        helpers: by key. A key is ``NAME``, ``NAME@BUDGET`` (a point of the curve of NAME) or ``NAME@BUDGET#SEED`` (one
            of several training seeds, reported apart and together). Include ``never`` and ``always``: shares of the
            gap need them, and ``random`` at a few probabilities, which helpers are compared with at equal usage.
        tasks: task indices (``reset(options={"episode": i})``).
        episodes: how many per task; or by key, where those with fewer play the first ones.
        seed: of the plan and of helpers that draw. Another seed gives fresh episodes.
        split: the name of this set of tasks.
        fixed_tasks: True: the intervals are about new episodes of these tasks (their episodes are resampled). False:
            they are about new tasks (whole tasks are resampled). By default True for the split "collected" only.
        budgets: C (cost units per episode) of a key, if the key does not say it.
        expected: promises by key, ``{"usage": E[U], "success": E[SR]}``. By default, on fixed tasks only, what a helper
            expects (``expected_usage``, ``expected_success``).
        traces: keep step records of these episodes, or of that many of each kind, for every helper.
        prm: scores the traces (``score(observations)``), so that they show p(s).
        workers: processes (needs ``env`` as keyword arguments). The result does not depend on how many.
        num_envs: episodes played at a time in each process.
        deterministic: helpers take their most likely action.
        retries: how often an episode that ends in an error is played again.
        progress: show a bar; or a function of (episodes done, episodes in all).
        warn: issue the evaluation's ``warnings`` as :class:`EvaluationWarning`; False when it is a part that will be
            merged with others.

    Returns:
        The :class:`Evaluation`.

    Raises:
        InvalidArgumentError: no helpers, one without ``predict``, no tasks, an invalid budget or one that contradicts
            the helper's key, or several processes for an env that cannot travel.
        UnknownNameError: a budget for a helper that is not evaluated.
    """
    return evaluate_splits(
        {split: SplitPlan(env, tasks, episodes, fixed_tasks)},
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
        warn=warn,
    )


def evaluate_splits(
    splits: Mapping[str, SplitPlan],
    helpers: Mapping[str, HelperPolicy],
    *,
    seed: int = 0,
    budgets: Mapping[str, float] | None = None,
    expected: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
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
    """:func:`evaluate` on several splits, in processes that are started once and idle at the very end only.

    Args:
        splits: by name, in the order in which they are played.
        expected: promises, by split and key.
        on_split: called with each split's part when all of it was played, so that it can be kept.

    The other arguments, and the errors, are those of :func:`evaluate`.
    """
    if not helpers or not isinstance(helpers, Mapping):
        received = shown(helpers) if helpers else "none"
        raise InvalidArgumentError(
            f"evaluate needs at least one helper, for instance {{'never': Never()}}; received {received}."
        )
    players = {key: as_helper(helper, what=f"the helper {key!r}") for key, helper in helpers.items()}
    named = _budgets_of(helpers, budgets)
    for split in splits.values():
        if workers > 1 and not isinstance(split.env, Mapping):
            raise InvalidArgumentError(
                "several processes each build the env themselves: pass env as keyword arguments of "
                "selfreg/Intervention-v0, for instance {'task': 'selfreg/SIF-v0', 'actor': 'tiny', "
                f"'interventions': ['expert']}}, or workers=1. Received {type(split.env).__name__}."
            )
    parts = {name: _Part(name, split, players, seed, traces, num_envs) for name, split in splits.items()}
    player = Player(
        {name: split.env for name, split in splits.items()},
        players,
        {name: part.traced for name, part in parts.items()},
        seed=seed,
        num_envs=num_envs,
        deterministic=deterministic,
        retries=retries,
    )
    done: dict[str, Evaluation] = {}
    total = sum(part.left for part in parts.values())
    with _progress(progress, total, ", ".join(splits)) as advance:

        def receive(item: tuple[str, str, Measured, Episode | None]) -> None:
            name, key, measured, episode = item
            part = parts[name]
            part.add(key, measured, episode)
            advance()
            if not part.left:
                promised = (expected or {}).get(name)
                promised = _promises(players, part.fixed_tasks) if promised is None else promised
                done[name] = part.evaluation(named, promised, prm)
                if on_split is not None:
                    on_split(name, done[name])

        run_sharded(player, [s for part in parts.values() for s in part.shards], workers=workers, on_result=receive)
    evaluation = Evaluation.merge(*(done[name] for name in splits))
    for text in evaluation.warnings if warn else ():
        warnings.warn(text, EvaluationWarning, stacklevel=2)
    return evaluation


def _budgets_of(helpers: Mapping[str, Any], budgets: Mapping[str, float] | None) -> dict[str, float | None]:
    """The budget of each key: from ``budgets``, or from the key itself.

    Raises:
        InvalidArgumentError: not a mapping of numbers >= 0, or another budget than in the key.
        UnknownNameError: the key of no helper.
    """
    if budgets is not None and not isinstance(budgets, Mapping):
        raise InvalidArgumentError(f"budgets must be a dict of budgets by helper key, received {shown(budgets)}.")
    found = {key: parse_key(key)[1] for key in helpers}
    for key, value in (budgets or {}).items():
        if key not in found:
            raise UnknownNameError("helper in budgets", key, found)
        budget, own = check_number(f"the budget of {key!r} (cost units per episode)", value), found[key]
        if own is not None and not math.isclose(budget, own, rel_tol=KEY_DIGITS):
            raise InvalidArgumentError(
                f"a helper has one budget: the key {key!r} says {own:g} and budgets[{key!r}] says {budget:g}. Leave "
                "one of them out, or rename the key."
            )
        found[key] = budget
    return found


class _Part:
    """One split: its plan, what was played of it so far, and what comes of it."""

    def __init__(
        self,
        name: str,
        split: SplitPlan,
        helpers: Mapping[str, Helper],
        seed: int,
        traces: int | Sequence[EpisodeSpec],
        num_envs: int,
    ) -> None:
        episodes = split.episodes
        if not isinstance(episodes, Mapping):
            episodes = dict.fromkeys(helpers, check_count("episodes (per task)", episodes, low=0))
        each = {key: episodes[key] for key in helpers}
        self.name, self._seed, self._traces = name, seed, traces
        self.fixed_tasks = name == "collected" if split.fixed_tasks is None else bool(split.fixed_tasks)
        self.plans = {key: evaluation_plan(split.tasks, count, seed=seed) for key, count in each.items()}
        longest = max(self.plans.values(), key=len)
        self.traced = choose_traces(longest, traces)
        self.shards = cut(name, self.plans, longest, num_envs)
        self.left = sum(map(len, self.plans.values()))
        privileged = [key for key, helper in helpers.items() if helper.knows_tasks]
        self._meta = {
            "tasks": len(split.tasks),
            "episodes_per_task": max(each.values()),
            "seed": seed,
            "knows_tasks": privileged,
            "interventions": {
                key: helper.intervention for key, helper in helpers.items() if isinstance(helper.intervention, str)
            },
            "helpers": {HelperKey.parse(key).name: asdict(helper.description) for key, helper in helpers.items()},
        }
        self._played: dict[str, list[Measured]] = {key: [] for key in helpers}
        self._kept: list[tuple[str, Episode]] = []

    def add(self, key: str, measured: Measured, episode: Episode | None) -> None:
        """Count one episode in; ``episode`` if its steps are shown."""
        self._played[key].append(measured)
        self.left -= 1
        if episode is not None:
            self._kept.append((key, episode))

    def evaluation(
        self, budgets: Mapping[str, float | None], expected: Mapping[str, Mapping[str, float]], prm: Any
    ) -> Evaluation:
        """What was found on this split, when all of it was played."""
        table = EpisodeTable.from_measured(
            {key: [(spec.task_index, spec.seed) for spec in plan] for key, plan in self.plans.items()},
            self._played,
            split=self.name,
            fixed_tasks=self.fixed_tasks,
            bootstrap_seed=self._seed,
        )
        return Evaluation(
            {self.name: table},
            budgets={key: budget for key, budget in budgets.items() if budget is not None},
            expected={self.name: {key: dict(value) for key, value in expected.items()}},
            traces=trace_records(self._kept, self.name, list(self.plans), self._traces, prm),
            meta={self.name: self._meta},
        )


def _promises(helpers: Mapping[str, Helper], fixed_tasks: bool) -> dict[str, dict[str, float]]:
    """The usage and success that the helpers expect, by key.

    A solver's expectation holds for the tasks of its data only; what a calibration measured is given on every split.
    """
    promised: dict[str, dict[str, float]] = {}
    for key, helper in helpers.items():
        said: dict[str, float] = {}
        expected = {"usage": helper.expected_usage, "success": helper.expected_success} if fixed_tasks else {}
        said |= {name: float(value) for name, value in expected.items() if value is not None}
        if helper.calibration:
            said["calibrated_usage"] = float(helper.calibration["usage"])
            if helper.calibration.get("success") is not None:
                said["calibrated_success"] = float(helper.calibration["success"])
        if said:
            promised[key] = said
    return promised


@contextmanager
def _progress(progress: bool | Callable[[int, int], None], total: int, splits: str) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each episode: it moves a bar, or calls ``progress(done, total)``."""
    done = 0
    with progress_bar(f"evaluate {splits}", total, shown=progress is True) as update:

        def advance() -> None:
            nonlocal done
            done += 1
            update(done)
            if callable(progress):
                progress(done, total)

        yield advance
