"""``calibrate``: move a helper's one knob until fresh rollouts use what the budget allows.

What a helper spends on fresh episodes differs from what was planned (unseen states, an actor that was sampled anew, a
trained policy that under-asks), so a comparison at a budget C starts by making everybody spend C. Usage has one degree
of freedom per helper, so a few hundred rollouts of *training* tasks are enough; test tasks are never touched.

The usage U(x) of a knob x is a non-decreasing step function, measured with noise. All probes play the same episodes
(common random numbers), so that U(x) - U(x') has little noise of its own, and probes of several budgets share their
results. The root of U(x) = C is bracketed and found by regula falsi with bisection as a safeguard (Press et al.,
Numerical Recipes, section 9.2). A probe far from C ends early. Where U jumps over C, as it does when many states share
one score, the two sides of the jump are mixed, one coin per episode, which meets C exactly.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.playing import make_env, reseeded
from selfreg_gym.evaluation.protocol import CALIBRATION_STREAM, plan_episodes
from selfreg_gym.rollout import EpisodeSpec, play
from selfreg_gym.workers import run_sharded

__all__ = ["CoinMixture", "apply_calibration", "calibrate", "calibrate_many"]

TOLERANCE = 0.03
"""Measured usage within this share of C is good enough: 400 episodes know it no better than to 5 %."""

PATIENCE, NARROW = 5, 0.2
"""After so many probes, a bracket whose usages differ by at most this share of C is mixed rather than narrowed."""

BLOCK = 64
"""Episodes between two looks at a probe."""

RESOLUTION = 1e-5
"""A bracket narrower than this share of the knob's range is a jump."""

FAR = 4.0
"""A usage more than this many times C, or less than C over this, says in which direction to go and not how far."""


class CoinMixture:
    """Two helpers and a coin per episode: ``high`` with probability ``weight``, else ``low``.

    Any usage and success on the line between the two is reached, which no fixed threshold can do inside a jump. Both
    see every step, so that a helper with memory is not interrupted.
    """

    def __init__(self, low: Any, high: Any, *, weight: float, seed: int = 0) -> None:
        if not 0.0 <= weight <= 1.0:
            raise InvalidArgumentError(f"the weight of a mixture lies in [0, 1], received {weight!r}.")
        self.low, self.high, self.weight = low, high, float(weight)
        self.last_unseen: np.ndarray | None = None
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Follow each episode's coin; the coin is drawn where an episode begins, also when ``deterministic``."""
        coins, low_state, high_state = (None, None, None) if state is None else state
        low, low_state = self.low.predict(observation, low_state, episode_start, deterministic)
        high, high_state = self.high.predict(observation, high_state, episode_start, deterministic)
        rows = np.atleast_1d(low).shape[0]
        begins = np.ones(rows, bool) if coins is None else np.zeros(rows, bool)
        if episode_start is not None:
            begins |= np.atleast_1d(episode_start).astype(bool)
        coins = np.zeros(rows, bool) if coins is None else coins.copy()
        coins[begins] = self._rng.random(int(begins.sum())) < self.weight
        low_unseen, high_unseen = (getattr(helper, "last_unseen", None) for helper in (self.low, self.high))
        if low_unseen is not None and high_unseen is not None:
            self.last_unseen = np.where(coins, high_unseen, low_unseen)
        actions = np.where(coins, high, low)
        return (actions if np.ndim(low) else int(actions[0])), (coins, low_state, high_state)

    def wrap(self, env: Any) -> Any:
        """Both helpers read the same observations."""
        return self.low.wrap(env) if hasattr(self.low, "wrap") else env

    @property
    def knows_tasks(self) -> bool:
        """Whether its parts are privileged."""
        return bool(getattr(self.low, "knows_tasks", False))

    @property
    def expected_usage(self) -> float | None:
        """What the two parts promise, mixed; None if one of them promises nothing."""
        return self._promise("expected_usage")

    @property
    def expected_success(self) -> float | None:
        """What the two parts promise, mixed; None if one of them promises nothing."""
        return self._promise("expected_success")

    def _promise(self, name: str) -> float | None:
        # A helper that follows a solved policy leaves the promise to the policy.
        low, high = (
            getattr(part, name, getattr(getattr(part, "policy", None), name, None)) for part in (self.low, self.high)
        )
        return None if low is None or high is None else (1 - self.weight) * low + self.weight * high

    def with_seed(self, seed: int) -> CoinMixture:
        """The same mixture, its coins and those of its parts drawn from ``seed``."""
        low, high = (reseeded(helper, seed, i) for i, helper in enumerate((self.low, self.high)))
        return CoinMixture(low, high, weight=self.weight, seed=seed)

    def __repr__(self) -> str:
        return f"CoinMixture({self.low!r}, {self.high!r}, weight={self.weight:.3f})"


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
    settings = {"seed": seed, "tolerance": tolerance, "probes": probes, "num_envs": num_envs}
    helpers: dict[str, Any] = {}
    groups: dict[tuple[bytes, tuple[EpisodeSpec, ...]], _Group] = {}
    for key, (helper, budget) in requests.items():
        if not (np.isfinite(budget) and budget >= 0):
            raise InvalidArgumentError(f"a budget is a number of cost units, at least 0; received {budget!r} ({key}).")
        helpers[key] = _with_knob(helper, budget)
        plan = tuple(_plan(episodes, tasks[key] if isinstance(tasks, Mapping) else tasks, seed))
        group = groups.setdefault((_identity(helpers[key]), plan), _Group(helpers[key], plan, {}))
        group.wanted[key] = (float(budget), float(helpers[key].knob))
    found: dict[str, dict[str, Any]] = {}
    todo: list[_Group] = []
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

    run_sharded(_Search(env, todo, **settings), _families(todo), workers=workers, on_result=receive)
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


def apply_calibration(helper: Any, calibration: Mapping[str, Any]) -> Any:
    """Set a helper to what a calibration of it (``helper.calibration``, ``calibration.json``) found."""
    if "weight" in calibration:
        low, high = (helper.with_knob(x) for x in calibration["knobs"])
        result: Any = CoinMixture(low, high, weight=calibration["weight"])
    else:
        result = helper.with_knob(calibration["knob"])
    result.calibration = dict(calibration)
    return result


@dataclass
class _Group:
    """One helper, the episodes of its probes, and what is wanted of it: (budget, knob to begin at) by key."""

    helper: Any
    plan: tuple[EpisodeSpec, ...]
    wanted: dict[str, tuple[float, float]]


def _families(groups: Sequence[_Group]) -> list[list[int]]:
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

    def __init__(self, folder: str | Path | None, group: _Group, settings: Mapping[str, Any]) -> None:
        plan = [(spec.episode, spec.seed) for spec in group.plan]
        asked = {"helper": type(group.helper).__qualname__, "wanted": group.wanted, "plan": plan, **settings}
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
        self.path = None if folder is None else Path(folder) / f"{name}.json"

    def load(self) -> dict[str, dict[str, Any]]:
        """What was found before, by key; empty if nothing was."""
        if self.path is None or not self.path.exists():
            return {}
        return json.loads(self.path.read_text(encoding="utf-8"))

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


@dataclass
class _Probe:
    """What is known of one knob: usage and success of the first episodes of the plan."""

    knob: float
    usages: list[float]
    successes: list[bool] = field(default_factory=list)
    played: int = 0

    @property
    def mean(self) -> float:
        return float(np.mean(self.usages)) if self.usages else 0.0

    @property
    def success(self) -> float | None:
        return float(np.mean(self.successes)) if self.successes else None

    @property
    def error(self) -> float:
        return float(np.std(self.usages) / np.sqrt(len(self.usages))) if self.usages else 0.0


class _Search:
    """Finds the knobs of helpers for their budgets; sent once to each process, so that shared models stay shared."""

    def __init__(
        self, env: Any, groups: Sequence[_Group], *, seed: int, tolerance: float, probes: int, num_envs: int
    ) -> None:
        self._source, self._groups, self._seed = env, groups, seed
        self._tolerance, self._probes, self._num_envs = tolerance, probes, num_envs
        self._env: Any = None

    def __call__(self, family: Sequence[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._env is None:
            self._env = make_env(self._source, self._num_envs)
        for group in (self._groups[i] for i in family):
            known: dict[float, _Probe] = {}
            for key, (budget, start) in sorted(group.wanted.items(), key=lambda item: item[1][0]):
                yield key, self._solve(group, budget, start, known)

    def _solve(self, group: _Group, budget: float, start: float, known: dict[float, _Probe]) -> dict[str, Any]:
        """Root of U(x) = budget."""
        helper, plan = group.helper, group.plan
        bottom, top = map(float, helper.knob_bounds)
        step = float(getattr(helper, "knob_step", (top - bottom) / 20))
        close = self._tolerance * budget
        floor = _Probe(bottom, [])  # nobody is asked there; no need to play it
        widths = [np.inf] * 4
        for turn in range(2 * self._probes):
            below, above = _bracket(known, floor, budget)
            if above is None and below.knob >= top:
                break
            if above is not None:
                wide = above.mean - below.mean
                if above.knob - below.knob <= RESOLUTION * (top - bottom):
                    break
                widths.append(wide)
                if turn >= PATIENCE and wide <= NARROW * budget:
                    break
                # To mix policies that are far apart is hardly better than a coin; but a jump stays as wide as it is.
                if turn >= self._probes and (wide <= budget or wide >= 0.98 * widths[-4]):
                    break
            knob = _next_knob(below, above, budget, turn, bounds=(bottom, top), step=step, start=start)
            probe = known.setdefault(knob, _Probe(knob, []))
            self._play(group, probe, budget)
            if abs(probe.mean - budget) <= close and probe.played == len(plan):
                return _found(group, budget, known, _at(probe, met=True))
        below, above = _bracket(known, floor, budget)
        for end in (below, above):  # a probe that ended early is a rough guess: finish the two that count
            if end is not None and end is not floor:
                self._play(group, end, None)
        if above is None:
            met = abs(below.mean - budget) <= close
            return _found(group, budget, known, _at(below, met=met))
        low, high = below.mean, above.mean
        if high <= low:  # the full sample tells the two sides apart no more
            return _found(group, budget, known, _at(below, met=abs(low - budget) <= close))
        weight = float(np.clip((budget - low) / (high - low), 0.0, 1.0))
        usage = low + weight * (high - low)
        mix = {"knobs": [below.knob, above.knob], "weight": weight, "usage": usage, "success": None}
        if below.success is not None and above.success is not None:
            mix["success"] = below.success + weight * (above.success - below.success)
        return _found(group, budget, known, mix | {"met": abs(usage - budget) <= close})

    def _play(self, group: _Group, probe: _Probe, budget: float | None) -> None:
        """Play on, block by block, until the plan is done or (given a budget) the probe is plainly off it."""
        while probe.played < len(group.plan):
            if budget is not None and len(probe.usages) >= BLOCK // 2:
                off = abs(probe.mean - budget) - self._tolerance * budget
                if off > 3 * max(probe.error, 1e-12):
                    return
            block = group.plan[probe.played : probe.played + BLOCK]
            mover = reseeded(group.helper.with_knob(probe.knob), self._seed, probe.played)
            for episode in play(self._env, block, mover, record_steps=False):
                if episode.error is None:
                    probe.usages.append(episode.cost)
                    probe.successes.append(bool(episode.success))
            probe.played += len(block)


def _at(probe: _Probe, *, met: bool) -> dict[str, Any]:
    """The result that is one knob."""
    return {"knob": probe.knob, "usage": probe.mean, "success": probe.success, "met": met}


def _found(group: _Group, budget: float, known: dict[float, _Probe], result: dict[str, Any]) -> dict[str, Any]:
    """The record of a calibration."""
    probes = [
        {"knob": p.knob, "usage": p.mean, "success": p.success, "episodes": len(p.usages)} for p in known.values()
    ]
    return {"budget": budget, **result, "episodes": len(group.plan), "probes": probes}


def _bracket(known: Mapping[float, _Probe], floor: _Probe, budget: float) -> tuple[_Probe, _Probe | None]:
    """The highest knob known to stay at or below the budget, and the lowest above that known to exceed it."""
    over = [probe for probe in known.values() if probe.mean > budget]
    above = min(over, key=lambda probe: probe.knob, default=None)
    limit = np.inf if above is None else above.knob
    under = [probe for probe in known.values() if probe.mean <= budget and probe.knob < limit]
    return max([floor, *under], key=lambda probe: (probe.knob, probe is not floor)), above


def _next_knob(
    below: _Probe,
    above: _Probe | None,
    budget: float,
    turn: int,
    *,
    bounds: tuple[float, float],
    step: float,
    start: float,
) -> float:
    """Where to probe next: interpolate inside a bracket, go outwards by limited steps where there is none."""
    bottom, top = bounds
    if above is None:
        if not below.played:
            return float(np.clip(start, bottom + 1e-3 * (top - bottom), top))
        # Along the line from the floor through the highest knob known, and a little over it.
        reach = (budget / below.mean - 1.0) * (below.knob - bottom) if below.mean > 0 else np.inf
        return float(min(below.knob + np.clip(1.1 * reach, 1e-2 * (top - bottom), 4 * step), top))
    width = above.knob - below.knob
    if not below.played and width > 4 * step:
        return above.knob - 4 * step  # the floor is far: the line to it says little about this neighbourhood
    # The floor at 0 is a good end of a line where it is near (a rate, a nominal budget), and none for a logit.
    telling = above.mean <= FAR * budget and (below.mean >= budget / FAR or not below.played)
    share = (budget - below.mean) / (above.mean - below.mean) if telling and turn % 3 != 2 else 0.5
    return float(below.knob + np.clip(share, 0.1, 0.9) * width)
