"""The search for the knob: probes on common episodes, a bracket, regula falsi with bisection as a safeguard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from selfreg_gym.calibration.probes import Probe, Usage, estimate, mixed
from selfreg_gym.errors import FailedEpisodesError
from selfreg_gym.evaluation.playing import make_env, reseeded
from selfreg_gym.helper import Helper
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec

__all__ = ["PRECISION", "TOLERANCE", "Group", "Search"]

TOLERANCE = 0.02
"""An estimated usage within this share of C is accepted."""

PRECISION = 0.05
"""The 95 % half-width of the usage at the accepted knob, as a share of C."""

PATIENCE, NARROW = 3, 0.2
"""After ``PATIENCE`` probes, a bracket is mixed and not narrowed if its usages differ by at most this share of C."""

ATTEMPTS = 3
"""Maximum number of searches; each one starts with all probes of the earlier ones."""

BLOCK = 64
"""Number of episodes after which a probe is tested again."""

RESOLUTION = 1e-5
"""A bracket narrower than this share of the knob's range is a jump."""

FAR = 4.0
"""A usage above ``FAR * C`` or below ``C / FAR`` gives the direction of the next step, but not its length."""


@dataclass
class Group:
    """One helper and its episodes, for one or several budgets.

    Attributes:
        helper: has a knob.
        plan: all episodes that a probe may play.
        first: number of episodes that a probe plays unless its usage clearly misses the budget.
        wanted: (budget, first knob) by key.
    """

    helper: Helper
    plan: tuple[EpisodeSpec, ...]
    first: int
    wanted: dict[str, tuple[float, float]]


class Search:
    """Finds the knobs of helpers for their budgets; pickled once per process, so that models stay shared."""

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
        """Search again while a larger sample moves the result away from the budget."""
        if budget == 0.0:
            floor = Probe(float(group.helper.knob_bounds[0]), [])
            return self._found(group, budget, known, _at(floor), Usage(0.0, 0.0))
        for _ in range(ATTEMPTS):
            found, final = self._attempt(group, budget, start, known)
            if found["met"] or final:
                return found
        # Short samples contradict long ones: mix two of the long ones (or one with the lower bound).
        most = max(probe.played for probe in known.values())
        long = [probe for probe in known.values() if probe.played == most]
        over = [probe for probe in long if probe.mean > budget]
        if not over:
            return found
        under = [Probe(float(group.helper.knob_bounds[0]), []), *(probe for probe in long if probe.mean <= budget)]
        return self._mixture(
            group, budget, known, max(under, key=lambda one: one.mean), min(over, key=lambda one: one.mean)
        )

    def _attempt(
        self, group: Group, budget: float, start: float, known: dict[float, Probe]
    ) -> tuple[dict[str, Any], bool]:
        """Find the root of U(x) = budget. Returns the record, and whether a further attempt cannot improve it."""
        helper = group.helper
        bottom, top = map(float, helper.knob_bounds)
        step = (top - bottom) / 20 if helper.knob_step is None else float(helper.knob_step)
        close = self._tolerance * budget
        floor = Probe(bottom, [])  # usage 0 without episodes
        widths = [np.inf] * 4
        for turn in range(2 * self._probes):
            below, above = _bracket(known, floor, budget)
            if above is None and below.knob >= top:
                break
            if above is not None:
                wide = _usage(above, known).mean - _usage(below, known).mean
                if above.knob - below.knob <= RESOLUTION * (top - bottom):
                    break
                widths.append(wide)
                if turn >= PATIENCE and wide <= NARROW * budget:
                    break
                # A mixture of distant policies is hardly better than random help, so narrow on, unless U jumps here.
                if turn >= self._probes and (wide <= budget or wide >= 0.98 * widths[-4]):
                    break
            knob = _next_knob(below, above, budget, turn, bounds=(bottom, top), step=step, start=start, known=known)
            probe = known.setdefault(knob, Probe(knob, []))
            self._play(group, probe, group.first, budget)
            if probe.played >= group.first and abs(_usage(probe, known).mean - budget) <= close:
                used = self._extend(group, (probe,), budget, partial(_usage, probe, known))
                if abs(used.mean - budget) <= close:
                    return self._found(group, budget, known, _at(probe), used), True
        below, above = _bracket(known, floor, budget)
        ends = tuple(end for end in (below, above) if end is not None and end is not floor)
        for end in ends:  # finish the two probes of the bracket if they ended early
            self._play(group, end, group.first, None)
        if above is None or _usage(above, known).mean <= _usage(below, known).mean:
            used = self._extend(group, (below,), budget, partial(_usage, below, known)) if ends else Usage(0.0, 0.0)
            at_top = below.knob >= top
            return self._found(group, budget, known, _at(below), used, top=at_top), at_top
        self._extend(group, ends, budget, lambda: mixed(below, above, budget)[1])
        return self._mixture(group, budget, known, below, above), False

    def _mixture(
        self, group: Group, budget: float, known: Mapping[float, Probe], below: Probe, above: Probe
    ) -> dict[str, Any]:
        """The result as a mixture of two knobs."""
        weight, used = mixed(below, above, budget)
        mix: dict[str, Any] = {"knobs": [below.knob, above.knob], "weight": weight, "success": None}
        if below.success is not None and above.success is not None:
            mix["success"] = below.success + weight * (above.success - below.success)
        return self._found(group, budget, known, mix, used)

    def _found(
        self,
        group: Group,
        budget: float,
        known: Mapping[float, Probe],
        result: dict[str, Any],
        used: Usage,
        *,
        top: bool = False,
    ) -> dict[str, Any]:
        """The record of a calibration."""
        met = abs(used.mean - budget) <= self._tolerance * budget
        precise = used.half_width <= PRECISION * budget
        return {
            "budget": budget,
            **result,
            "usage": used.mean,
            "usage_ci": [max(0.0, used.mean - used.half_width), used.mean + used.half_width],
            "half_width": used.half_width,
            "met": met,
            "precise": precise,
            "reason": _reason(budget, used, met=met, precise=precise, top=top, most=len(group.plan)),
            "episodes": max((probe.played for probe in known.values()), default=0),
            "tasks": len({spec.task_index for spec in group.plan}),
            "probes": [
                {"knob": p.knob, "usage": p.mean, "success": p.success, "episodes": p.played} for p in known.values()
            ],
        }

    def _play(self, group: Group, probe: Probe, until: int, budget: float | None) -> None:
        """Play up to ``until`` episodes, or (given a budget) until the usage misses it by three standard errors."""
        while probe.played < until:
            if budget is not None and probe.played >= BLOCK // 2:
                off = abs(probe.mean - budget) - self._tolerance * budget
                if off > 3 * max(probe.error, 1e-12):
                    return
            self._play_block(group, probe, until)

    def _play_block(self, group: Group, probe: Probe, until: int) -> None:
        block = group.plan[probe.played : min(probe.played + BLOCK, until)]
        moved = group.helper.with_knob(probe.knob)
        # Draws by episode need one seed for all blocks; draws in batch order need a new one for each.
        moved = reseeded(moved, self._seed, *(() if moved.draws_per_episode else (probe.played,)))
        found: dict[tuple[int, int], tuple[float, bool]] = {}
        for episode in run_episodes(self._env, block, moved, record_steps=False):
            if episode.error is not None:  # without the failed episodes the sample would be biased
                raise FailedEpisodesError(
                    f"calibration needs every planned episode, and task {episode.task_index} (seed {episode.seed}) "
                    f"ended in an error at every attempt: {episode.error}. Repair the cause and calibrate again."
                )
            found[episode.task_index, episode.seed] = episode.cost, bool(episode.success)
        for spec in block:  # in the order of the plan, which does not depend on the batch
            usage, success = found[spec.task_index, spec.seed]
            probe.usages.append(usage)
            probe.successes.append(success)

    def _extend(self, group: Group, probes: Sequence[Probe], budget: float, measured: Callable[[], Usage]) -> Usage:
        """Add episodes to the accepted probe (or both sides of a mixture) until the usage is precise enough."""
        while True:
            used = measured()
            shortest = min(probe.played for probe in probes)
            if used.half_width <= PRECISION * budget or shortest >= len(group.plan):
                return used
            # The number of episodes for the wanted half-width, at most twice the current one.
            wanted = np.ceil(shortest * (used.half_width / (PRECISION * budget)) ** 2)
            until = int(min(len(group.plan), max(shortest + BLOCK, min(wanted, 2 * shortest))))
            for probe in probes:
                self._play(group, probe, until, None)


def _usage(probe: Probe, known: Mapping[float, Probe]) -> Usage:
    return estimate(probe, known.values())


def _at(probe: Probe) -> dict[str, Any]:
    """The result as one knob."""
    return {"knob": probe.knob, "success": probe.success}


def _reason(budget: float, used: Usage, *, met: bool, precise: bool, top: bool, most: int) -> str | None:
    """Why a calibration is not met or not precise; None if it is both."""
    usage = f"{used.mean:.3g} cost units per episode at a budget of {budget:g}"
    if not met and used.mean < budget:
        why = "it is the usage of the highest knob" if top else "no probed knob or mixture uses more"
        return f"under budget: {usage}; {why}"
    if not met:
        return f"over budget: {usage}; no probed knob or mixture uses less"
    if not precise:
        return (
            f"imprecise: after {most} episodes the 95 % half-width of the usage is {used.half_width:.2g} cost units, "
            f"more than {PRECISION:.0%} of the budget {budget:g} (calibrate.max_episodes)"
        )
    return None


def _bracket(known: Mapping[float, Probe], floor: Probe, budget: float) -> tuple[Probe, Probe | None]:
    """The highest probe whose usage is at most the budget, and the lowest probe above it whose usage exceeds it."""
    usage = {knob: _usage(probe, known).mean for knob, probe in known.items()}
    over = [probe for knob, probe in known.items() if usage[knob] > budget]
    above = min(over, key=lambda probe: probe.knob, default=None)
    limit = np.inf if above is None else above.knob
    under = [probe for knob, probe in known.items() if usage[knob] <= budget and knob < limit]
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
    known: Mapping[float, Probe],
) -> float:
    """The next knob: interpolated inside a bracket; outside, at a distance that doubles."""
    bottom, top = bounds
    stride = 4 * step * 2 ** max(0, turn - 2)
    low = _usage(below, known).mean
    if above is None:
        if not below.played:
            return float(np.clip(start, bottom + 1e-3 * (top - bottom), top))
        # On the line from the lower bound through the highest probe, 10 % beyond its crossing.
        reach = (budget / low - 1.0) * (below.knob - bottom) if low > 0 else np.inf
        least = min(1e-2 * (top - bottom), stride)
        return float(min(below.knob + np.clip(1.1 * reach, least, stride), top))
    width = above.knob - below.knob
    if not below.played and width > stride:
        return above.knob - stride  # a line to the distant lower bound is a poor approximation here
    high = _usage(above, known).mean
    # Interpolation from the lower bound is good if it is near (a rate, a nominal budget), but not for a logit.
    informative = high <= FAR * budget and (low >= budget / FAR or not below.played)
    share = (budget - low) / (high - low) if informative and turn % 3 != 2 else 0.5
    return float(below.knob + np.clip(share, 0.1, 0.9) * width)
