"""The search for the knob: probes on common episodes, a bracket, regula falsi with bisection as a safeguard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from selfreg_gym.errors import FailedEpisodesError
from selfreg_gym.evaluation.playing import make_env, reseeded
from selfreg_gym.rollout import EpisodeSpec, play

__all__ = ["TOLERANCE", "Group", "Search"]

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


@dataclass
class Group:
    """One helper, the episodes of its probes, and what is wanted of it: (budget, knob to begin at) by key."""

    helper: Any
    plan: tuple[EpisodeSpec, ...]
    wanted: dict[str, tuple[float, float]]


@dataclass
class Probe:
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


class Search:
    """Finds the knobs of helpers for their budgets; sent once to each process, so that shared models stay shared."""

    def __init__(
        self, env: Any, groups: Sequence[Group], *, seed: int, tolerance: float, probes: int, num_envs: int
    ) -> None:
        self._source, self._groups, self._seed = env, groups, seed
        self._tolerance, self._probes, self._num_envs = tolerance, probes, num_envs
        self._env: Any = None

    def __call__(self, family: Sequence[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._env is None:
            self._env = make_env(self._source, self._num_envs)
        for group in (self._groups[i] for i in family):
            known: dict[float, Probe] = {}
            for key, (budget, start) in sorted(group.wanted.items(), key=lambda item: item[1][0]):
                yield key, self._solve(group, budget, start, known)

    def _solve(self, group: Group, budget: float, start: float, known: dict[float, Probe]) -> dict[str, Any]:
        """Root of U(x) = budget."""
        helper, plan = group.helper, group.plan
        bottom, top = map(float, helper.knob_bounds)
        step = float(getattr(helper, "knob_step", (top - bottom) / 20))
        close = self._tolerance * budget
        floor = Probe(bottom, [])  # nobody is asked there; no need to play it
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
            probe = known.setdefault(knob, Probe(knob, []))
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

    def _play(self, group: Group, probe: Probe, budget: float | None) -> None:
        """Play on, block by block, until the plan is done or (given a budget) the probe is plainly off it."""
        while probe.played < len(group.plan):
            if budget is not None and len(probe.usages) >= BLOCK // 2:
                off = abs(probe.mean - budget) - self._tolerance * budget
                if off > 3 * max(probe.error, 1e-12):
                    return
            block = group.plan[probe.played : probe.played + BLOCK]
            mover = group.helper.with_knob(probe.knob)
            # Draws that are keyed by the episode need one seed for all blocks; others go by the order of the rows.
            mover = reseeded(mover, self._seed, *(() if hasattr(mover, "begin_episodes") else (probe.played,)))
            for episode in play(self._env, block, mover, record_steps=False):
                if episode.error is not None:  # those that get through are another sample: they ask more, or less
                    raise FailedEpisodesError(
                        f"calibration plays every planned episode to its end, and task {episode.episode} (seed "
                        f"{episode.seed}) ended in an error each time it was tried: {episode.error}. Repair what "
                        "failed and calibrate again."
                    )
                probe.usages.append(episode.cost)
                probe.successes.append(bool(episode.success))
            probe.played += len(block)


def _at(probe: Probe, *, met: bool) -> dict[str, Any]:
    """The result that is one knob."""
    return {"knob": probe.knob, "usage": probe.mean, "success": probe.success, "met": met}


def _found(group: Group, budget: float, known: dict[float, Probe], result: dict[str, Any]) -> dict[str, Any]:
    """The record of a calibration."""
    probes = [
        {"knob": p.knob, "usage": p.mean, "success": p.success, "episodes": len(p.usages)} for p in known.values()
    ]
    return {"budget": budget, **result, "episodes": len(group.plan), "probes": probes}


def _bracket(known: Mapping[float, Probe], floor: Probe, budget: float) -> tuple[Probe, Probe | None]:
    """The highest knob known to stay at or below the budget, and the lowest above that known to exceed it."""
    over = [probe for probe in known.values() if probe.mean > budget]
    above = min(over, key=lambda probe: probe.knob, default=None)
    limit = np.inf if above is None else above.knob
    under = [probe for probe in known.values() if probe.mean <= budget and probe.knob < limit]
    return max([floor, *under], key=lambda probe: (probe.knob, probe is not floor)), above


def _next_knob(
    below: Probe,
    above: Probe | None,
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
