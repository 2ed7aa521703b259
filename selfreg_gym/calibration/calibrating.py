"""``calibrate`` and ``calibrate_many``: requests, their distribution over processes, finished results on disk."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper
from selfreg_gym.calibration.mixture import apply_calibration
from selfreg_gym.calibration.search import TOLERANCE, Group, Search
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.planning import evaluation_plan
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.building import check_budget
from selfreg_gym.playing.executor import run_sharded
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.solver.frontier import Frontier
from selfreg_gym.utils.arguments import check_tasks
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps, read_object
from selfreg_gym.utils.random_streams import CALIBRATION_EPISODES

__all__ = ["calibrate", "calibrate_many"]

EXTENDED = 10
"""Default ``max_episodes``, as a multiple of ``episodes``."""


def calibrate(
    helper: Any,
    env: Any,
    *,
    budget: float,
    episodes: int | Sequence[EpisodeSpec] = 400,
    max_episodes: int | None = None,
    tasks: Sequence[int] | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    probes: int = 8,
    num_envs: int = 16,
) -> Any:
    """Return ``helper`` at the knob whose usage on new episodes meets ``budget``.

    Args:
        helper: a helper with a knob (:attr:`selfreg_gym.Helper.knob`), or a ``Frontier``, for which the helper with
            ``follows_policy`` is used. Outside a bracket the search moves by four ``knob_step``, then by steps that
            double.
        env: keyword arguments of ``selfreg/Intervention-v0``, or a ready env (vector: in DISABLED mode).
        budget: C, cost units per episode.
        episodes: number of episodes per probed knob, spread evenly over ``tasks`` with new seeds; or the list of
            episodes.
        max_episodes: upper bound on the episodes at the accepted knob, which are added until the 95 % half-width of its
            usage is at most 5 % of C. None: ten times ``episodes`` (or the listed episodes).
        tasks: training tasks, never test tasks.
        seed: seed of the episodes and of the helper's random numbers.
        tolerance: accepted difference between usage and C, as a share of C.
        probes: number of probed knobs; up to twice as many while the usages on the two sides of C are far apart.
        num_envs: size of the batch; does not affect results.

    Returns:
        The helper at another knob, or a :class:`CoinMixture` of the two sides of a jump. Its ``calibration`` is a dict:

        * ``budget``; ``knob``, or ``knobs`` and ``weight`` of a mixture;
        * ``usage`` (cost units per episode) with ``usage_ci`` (95 %) and ``half_width``, over episodes of these tasks;
        * ``success`` (None if it was not measured);
        * ``met``: the usage is within the tolerance; ``precise``: the half-width is at most 5 % of C; ``reason``: None,
          or why one of the two does not hold;
        * ``episodes`` (of the longest probe), ``tasks``, ``probes``.

    Raises:
        InvalidArgumentError: a helper without a knob, a budget that is not a number of at least 0, or no tasks.
        FailedEpisodesError: an episode ended in an error at every attempt.
    """
    many = calibrate_many(
        {"helper": (helper, budget)},
        env,
        episodes=episodes,
        max_episodes=max_episodes,
        tasks=tasks,
        seed=seed,
        tolerance=tolerance,
        probes=probes,
        num_envs=num_envs,
    )
    return many["helper"]


def calibrate_many(
    requests: Mapping[str, tuple[Any, float]],
    env: Any,
    *,
    episodes: int | Sequence[EpisodeSpec] = 400,
    max_episodes: int | Mapping[str, int | None] | None = None,
    tasks: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    probes: int = 8,
    num_envs: int = 16,
    workers: int = 1,
    resume: str | Path | None = None,
    progress: Any = None,
) -> dict[str, Any]:
    """:func:`calibrate` for many (helper, budget) pairs. Helpers that differ only in their knob share their probes.

    Args:
        requests: by key, ``(helper, budget)``.
        tasks: training tasks, for all or by key.
        max_episodes: for all or by key.
        workers: number of processes (needs ``env`` as keyword arguments). Helpers with a common model stay in one
            process, because the model keeps its scores in memory.
        resume: directory of finished results; a call with the same arguments, helpers and env computes the others.
        progress: called with each key when it is done.
        episodes, seed, tolerance, probes, num_envs: as for :func:`calibrate`.

    Returns:
        The calibrated helpers, by key, as :func:`calibrate` returns them.

    Raises:
        InvalidArgumentError, FailedEpisodesError: as for :func:`calibrate`.
    """
    if workers > 1 and not isinstance(env, Mapping):
        raise InvalidArgumentError("several processes each build the env: pass env as keyword arguments.")
    settings: dict[str, Any] = {"seed": seed, "tolerance": tolerance, "probes": probes}
    helpers: dict[str, Helper] = {}
    groups: dict[tuple[bytes, tuple[EpisodeSpec, ...]], Group] = {}
    for key, (helper, budget) in requests.items():
        try:
            budget = check_budget(budget)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{key}: {error}") from None
        helpers[key] = _with_knob(helper, budget)
        most = max_episodes[key] if isinstance(max_episodes, Mapping) else max_episodes
        plan, first = _plan(episodes, most, tasks[key] if isinstance(tasks, Mapping) else tasks, seed)
        group = groups.setdefault((_identity(helpers[key]), plan), Group(helpers[key], plan, first, {}))
        group.wanted[key] = (float(budget), float(helpers[key].knob))
    found: dict[str, dict[str, Any]] = {}
    todo: list[Group] = []
    for group in groups.values():
        record = _Finished(resume, group, settings)
        known = record.load()
        found |= known
        if not known:
            todo.append(group)
        for key in known if progress is not None else ():
            progress(key)

    def receive(item: tuple[str, dict[str, Any]]) -> None:
        key, calibration = item
        found[key] = calibration
        group = next(group for group in todo if key in group.wanted)
        if group.wanted.keys() <= found.keys():
            _Finished(resume, group, settings).save({key: found[key] for key in group.wanted})
        if progress is not None:
            progress(key)

    run_sharded(Search(env, todo, **settings, num_envs=num_envs), _families(todo), workers=workers, on_result=receive)
    return {key: apply_calibration(helpers[key], found[key]) for key in requests}


def _plan(
    episodes: int | Sequence[EpisodeSpec], most: int | None, tasks: Sequence[int] | None, seed: int
) -> tuple[tuple[EpisodeSpec, ...], int]:
    """All episodes that a probe may play, and how many of them each probe plays first.

    In their order, the first n cover all tasks evenly for every n; more episodes extend the plan.
    """
    if not isinstance(episodes, int | np.integer):
        plan = tuple(episodes)
        if not plan or not all(isinstance(spec, EpisodeSpec) for spec in plan):
            raise InvalidArgumentError(
                "episodes must be a number or a non-empty list of EpisodeSpec(task index, seed); "
                f"received {episodes!r}."
            )
        return plan, len(plan)
    if tasks is not None:
        tasks = tasks if isinstance(tasks, Sequence) and not isinstance(tasks, str) else check_tasks(tasks)
    if tasks is None or len(tasks) == 0:
        raise InvalidArgumentError("calibrate needs the training tasks (tasks=range(60)), or a list of EpisodeSpec.")
    for name, value in (("episodes", episodes), ("max_episodes", most)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise InvalidArgumentError(f"calibrate needs at least one episode, received {name}={value!r}.")
    count = max(episodes, EXTENDED * episodes if most is None else most)
    each = -(-count // len(tasks))
    by_task = evaluation_plan(tasks, each, seed=seed, stream=CALIBRATION_EPISODES)
    ordered = [by_task[task * each + index] for index in range(each) for task in range(len(tasks))]
    return tuple(ordered[:count]), int(episodes)


def _with_knob(helper: Any, budget: float) -> Helper:
    """The helper, which must have a knob; a frontier becomes the helper that follows it."""
    if isinstance(helper, Frontier):
        kind = registry.load("helpers", registry.names("helpers", flag="follows_policy")[0])
        helper = kind(helper, budget=budget)
    helper = as_helper(helper, what="a helper that is calibrated")
    if not helper.has_knob:
        raise InvalidArgumentError(
            f"only a helper with a knob can be calibrated (knob, knob_bounds, with_knob(x)); {helper.type_name} "
            "has none."
        )
    try:
        low, high = helper.knob_bounds
        float(helper.with_knob(float(helper.knob)).knob)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"knob must be a number, knob_bounds (low, high), and with_knob(x) must return a helper; with "
            f"{helper.type_name}: {error}"
        ) from error
    if not low < high:
        raise InvalidArgumentError(
            f"knob_bounds must be (low, high) with low < high; {helper.type_name} has {helper.knob_bounds!r}."
        )
    return helper


def _families(groups: Sequence[Group]) -> list[list[int]]:
    """Indices of groups by shared object, such as a model; the largest families first.

    A family stays in one process, because the model keeps in memory what it has read for one of its helpers.
    """
    held: dict[int, int] = {}
    families: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        parts = [id(part) for part in vars(group.helper).values() if hasattr(part, "__dict__")]
        home = next((held[part] for part in parts if part in held), i)
        held |= dict.fromkeys(parts, home)
        families.setdefault(home, []).append(i)
    return sorted(families.values(), key=lambda family: -sum(len(groups[i].wanted) for i in family))


class _Finished:
    """The file with the results of one group; its name is a hash of the request."""

    def __init__(self, folder: str | Path | None, group: Group, settings: Mapping[str, Any]) -> None:
        plan = [group.first, *((spec.task_index, spec.seed) for spec in group.plan)]
        asked = {"helper": group.helper.type_name, "wanted": group.wanted, "plan": plan, **settings}
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
        self.path = None if folder is None else Path(folder) / f"{name}.json"

    def load(self) -> dict[str, dict[str, Any]]:
        """The earlier results by key; empty if there are none."""
        if self.path is None or not self.path.exists():
            return {}
        return read_object(self.path, what="calibrations by key", remedy="delete it to calibrate again")

    def save(self, found: Mapping[str, Any]) -> None:
        """Write the results atomically."""
        if self.path is not None:
            write_text(self.path, dumps(found))


def _identity(helper: Helper) -> bytes:
    """A hash of the helper apart from its knob: of its pickle at the lower bound, or its id if it has no pickle."""
    try:
        return hashlib.sha256(pickle.dumps(helper.with_knob(helper.knob_bounds[0]))).digest()
    except Exception:  # pickle may raise any error
        return str(id(helper)).encode()
