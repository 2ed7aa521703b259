"""``calibrate`` and ``calibrate_many``: what is asked for, how it is shared out, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.calibration.mixture import apply_calibration
from selfreg_gym.calibration.search import TOLERANCE, Group, Search
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.protocol import CALIBRATION_STREAM, plan_episodes
from selfreg_gym.lm.records import read_record
from selfreg_gym.rollout import EpisodeSpec
from selfreg_gym.workers import run_sharded

__all__ = ["calibrate", "calibrate_many"]


def calibrate(
    helper: Any,
    env: Any,
    *,
    budget: float,
    episodes: int | Sequence[EpisodeSpec] = 400,
    tasks: Sequence[int] | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    probes: int = 8,
    num_envs: int = 16,
) -> Any:
    """Return ``helper`` at the knob whose usage on fresh episodes meets ``budget``.

    Args:
        helper: has ``knob``, ``knob_bounds`` and ``with_knob(x)``; usage must not fall as x grows, and at the lower
            bound nobody is asked. ``knob_step`` (optional: one unit of a logit offset whose bounds are far away) is
            a change of x that matters; outside a bracket the search goes by four of them at a time. A ``Frontier``
            is calibrated as the ``dp`` helper that follows it.
        env: keyword arguments of ``selfreg/Intervention-v0``, or a ready env (vector: in DISABLED mode).
        budget: C, cost units per episode.
        episodes: how many in all, spread evenly over ``tasks`` with fresh seeds; or the very episodes to play.
        tasks: training tasks. Never test tasks.
        seed: of the episodes and of the helper's own draws.
        tolerance: accept a usage within this share of C.
        probes: so many knobs are tried; twice as many while the two sides of C are far apart.
        num_envs: episodes played at a time.

    Returns:
        A helper of the same kind, or a :class:`CoinMixture` of the two sides of a jump. Its ``calibration`` says
        what was tried: ``{"budget", "knob" (or "knobs" and "weight"), "usage", "success" (None where it was not
        played), "met", "episodes", "probes"}``.

    Raises:
        InvalidArgumentError: a helper without a knob, a budget below 0, or no tasks.
    """
    many = calibrate_many(
        {"helper": (helper, budget)},
        env,
        episodes=episodes,
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
    tasks: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    probes: int = 8,
    num_envs: int = 16,
    workers: int = 1,
    resume: str | Path | None = None,
    progress: Any = None,
) -> dict[str, Any]:
    """:func:`calibrate` for many (helper, budget) pairs. Helpers that differ in their knob alone share their probes.

    Args:
        requests: by key, ``(helper, budget)``.
        tasks: training tasks, for all or by key.
        workers: processes; each takes whole helpers, and all that hold the same model, because of what it remembers
            (needs ``env`` as keyword arguments).
        resume: directory for what is finished; called again with the same arguments, only the rest is done. Whoever
            passes it vouches that helpers and env are those of the first call.
        progress: called with each key as it is done.

    Returns:
        The calibrated helpers, by key.
    """
    if workers > 1 and not isinstance(env, Mapping):
        raise InvalidArgumentError("several processes each build the env themselves: pass its keyword arguments.")
    settings: dict[str, Any] = {"seed": seed, "tolerance": tolerance, "probes": probes, "num_envs": num_envs}
    helpers: dict[str, Any] = {}
    groups: dict[tuple[bytes, tuple[EpisodeSpec, ...]], Group] = {}
    for key, (helper, budget) in requests.items():
        if not (np.isfinite(budget) and budget >= 0):
            raise InvalidArgumentError(f"a budget is a number of cost units, at least 0; received {budget!r} ({key}).")
        helpers[key] = _with_knob(helper, budget)
        plan = tuple(_plan(episodes, tasks[key] if isinstance(tasks, Mapping) else tasks, seed))
        group = groups.setdefault((_identity(helpers[key]), plan), Group(helpers[key], plan, {}))
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

    run_sharded(Search(env, todo, **settings), _families(todo), workers=workers, on_result=receive)
    return {key: apply_calibration(helpers[key], found[key]) for key in requests}


def _plan(episodes: int | Sequence[EpisodeSpec], tasks: Sequence[int] | None, seed: int) -> list[EpisodeSpec]:
    """The episodes of every probe, ordered so that any first part of them covers all tasks evenly."""
    if not isinstance(episodes, int):
        return list(episodes)
    if tasks is None or len(tasks) == 0:
        raise InvalidArgumentError("calibrate needs the training tasks (tasks=range(60)), or a list of EpisodeSpec.")
    if episodes < 1:
        raise InvalidArgumentError(f"calibrate needs at least one episode, received episodes={episodes!r}.")
    each = -(-episodes // len(tasks))
    plan = plan_episodes(tasks, each, seed=seed, stream=CALIBRATION_STREAM)
    return [plan[task * each + index] for index in range(each) for task in range(len(tasks))][:episodes]


def _with_knob(helper: Any, budget: float) -> Any:
    """Check that there is something to turn; a frontier becomes the helper that follows it."""
    if not hasattr(helper, "predict") and hasattr(helper, "policy"):
        from selfreg_gym import registry

        return registry.load("helpers", "dp")(helper, budget=budget)
    missing = [name for name in ("knob", "knob_bounds", "with_knob") if not hasattr(helper, name)]
    if missing:
        raise InvalidArgumentError(
            f"only a helper with a knob can be calibrated (knob, knob_bounds, with_knob(x)); {type(helper).__name__} "
            f"has no {', '.join(missing)}."
        )
    return helper


def _families(groups: Sequence[Group]) -> list[list[int]]:
    """Indices of groups whose helpers hold a common object, such as a model; the largest families first.

    What a model has read for one helper it remembers for the others, so a family stays in one process.
    """
    held: dict[int, int] = {}
    families: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        parts = [id(part) for part in getattr(group.helper, "__dict__", {}).values() if hasattr(part, "__dict__")]
        home = next((held[part] for part in parts if part in held), i)
        held |= dict.fromkeys(parts, home)
        families.setdefault(home, []).append(i)
    return sorted(families.values(), key=lambda family: -sum(len(groups[i].wanted) for i in family))


class _Finished:
    """The file that says what was found for one group, with what it was asked."""

    def __init__(self, folder: str | Path | None, group: Group, settings: Mapping[str, Any]) -> None:
        plan = [(spec.episode, spec.seed) for spec in group.plan]
        asked = {"helper": type(group.helper).__qualname__, "wanted": group.wanted, "plan": plan, **settings}
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
        self.path = None if folder is None else Path(folder) / f"{name}.json"

    def load(self) -> dict[str, dict[str, Any]]:
        """What was found before, by key; empty if nothing was."""
        if self.path is None or not self.path.exists():
            return {}
        return read_record(self.path, what="calibrations by key", remedy="delete it to calibrate again")

    def save(self, found: Mapping[str, Any]) -> None:
        """Keep it, whole or not at all."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(found), encoding="utf-8")
            partial.replace(self.path)


def _identity(helper: Any) -> bytes:
    """What a helper is apart from its knob: its bytes at the lower bound (or itself, if it cannot be pickled)."""
    try:
        return hashlib.sha256(pickle.dumps(helper.with_knob(helper.knob_bounds[0]))).digest()
    except Exception:  # pickle raises what it likes
        return str(id(helper)).encode()
