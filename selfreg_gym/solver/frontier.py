"""``solve_frontier``: every budget at once, with a certified gap.

Success against usage over all policies is a concave curve. A solve at price r gives a point on it and a line above it
(slope r through the point). Between two neighbouring points found, the curve lies above their chord and below both
lines, so how far the chord can be below the optimum is known: the height of the lines' intersection over the chord. A
heap keeps the intervals; the worst ones are split by solving at the slopes of their chords, eight prices in one pass,
until the largest gap is small enough. (Convex-hull scheme for two criteria; the batching is ours.)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.solver.budget import GAIN, Point, first_prices, highest_price, solve_points
from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import WIDTH
from selfreg_gym.solver.solution import MixedPolicy, Solution
from selfreg_gym.solver.solve import solve
from selfreg_gym.transitions import TransitionModel

__all__ = ["Frontier", "solve_frontier"]

FORMAT = "selfreg_gym frontier 1"


@dataclass(frozen=True, eq=False)
class Frontier:
    """The curve of success against usage: its corner points, in order of usage.

    Attributes:
        model: the model that was solved.
        help_cost: ``(B,)`` a price at which each point is optimal, falling.
        usage: ``(B,)`` expected cost units.
        success: ``(B,)`` expected success.
        gap: how far, at most, a mixture of neighbouring points is below the optimum for its usage.
        discount: per step.
        passes: passes over the model that it took.
    """

    model: TransitionModel
    help_cost: np.ndarray
    usage: np.ndarray
    success: np.ndarray
    gap: float
    discount: float = 1.0
    passes: int = 0

    def policy(self, budget: float) -> MixedPolicy:
        """Return the mixture of two neighbouring points that meets ``budget``; within ``gap`` of the best.

        Policies are solved again at the two prices (and the last few kept), because storing them would take more room
        than the model. ``solve_budget`` gives the optimum itself.

        Raises:
            InvalidArgumentError: a negative budget.
        """
        limit = float(budget)
        if not limit >= 0:
            raise InvalidArgumentError(f"a budget is a number of cost units >= 0, received {budget!r}.")
        last = len(self.usage) - 1
        if limit >= self.usage[last] - 1e-12:
            message = ""
            if limit > self.usage[last] + 1e-9:
                message = (
                    f"more budget cannot help: the best policy uses {self.usage[last]:.6g} of {limit:g} cost units."
                )
            return MixedPolicy((self._solution(last),), np.ones(1), float(self.help_cost[last]), limit, message, 1)
        right = int(np.searchsorted(self.usage, limit, side="right"))
        left = max(right - 1, 0)
        if limit <= self.usage[left] + 1e-12:
            return MixedPolicy((self._solution(left),), np.ones(1), float(self.help_cost[left]), limit, "", 1)
        run = self.usage[right] - self.usage[left]
        weight = (limit - self.usage[left]) / run
        slope = (self.success[right] - self.success[left]) / run
        pair = (self._solution(left), self._solution(right))
        return MixedPolicy(pair, np.array([1 - weight, weight]), float(slope), limit, "", 2)

    def _solution(self, point: int) -> Solution:
        cache: dict[tuple[float, float], Solution] = self.model.cache.setdefault("solutions", {})
        key = float(self.help_cost[point]), self.discount
        if key not in cache:
            if len(cache) >= 8:
                cache.pop(next(iter(cache)))
            cache[key] = solve(self.model, help_cost=key[0], discount=self.discount)
        return cache[key]

    def success_at(self, budget: Any) -> np.ndarray:
        """Return the expected success at one or more budgets, by interpolation."""
        return np.interp(budget, self.usage, self.success)

    def rows(self) -> list[dict[str, float]]:
        """Return one dict per point: ``help_cost, usage, success``."""
        columns = zip(self.help_cost.tolist(), self.usage.tolist(), self.success.tolist(), strict=True)
        return [{"help_cost": r, "usage": m, "success": s} for r, m, s in columns]

    def plot(self, ax: Any = None, *, label: str | None = "optimal", **style: Any) -> Any:
        """Draw success against usage with the coin between never and always asking; return the Matplotlib axes."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(5, 3.5), layout="constrained").subplots()
        (line,) = ax.plot(self.usage, self.success, label=label, **{"marker": ".", "markersize": 4, **style})
        ends = [0, -1]
        ax.plot(
            self.usage[ends], self.success[ends], "--", linewidth=1, color=line.get_color(), label="coin per episode"
        )
        ax.fill_between(self.usage, self.success, self.success + self.gap, alpha=0.15, color=line.get_color())
        ax.set(xlabel="expected usage E[U] (cost units per episode)", ylabel="expected success")
        ax.legend(frameon=False)
        return ax

    def save(self, path: str | Path) -> None:
        """Write the points to one ``.npz`` file without pickles; the model is saved on its own."""
        with Path(path).open("wb") as file:
            np.savez(
                file, format=np.array(FORMAT), fingerprint=np.array(self.model.fingerprint), help_cost=self.help_cost,
                usage=self.usage, success=self.success, gap=np.array(self.gap), discount=np.array(self.discount),
                passes=np.array(self.passes),
            )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path, model: TransitionModel) -> Frontier:
        """Read what ``save`` wrote, for the model that it was solved for.

        Raises:
            CheckpointError: the file is missing, damaged or something else, or belongs to another model.
        """
        from selfreg_gym.transitions.files import read_arrays

        read = read_arrays(path, FORMAT, "a frontier (solve_frontier(...).save)")
        try:
            if str(read["fingerprint"]) != model.fingerprint:
                raise CheckpointError(
                    f"{path} holds the frontier of another model: solve this model's with solve_frontier and save it."
                )
            curves = {name: np.asarray(read[name], np.float64) for name in ("help_cost", "usage", "success")}
            return cls(
                model, **curves, gap=float(read["gap"]), discount=float(read["discount"]), passes=int(read["passes"])
            )
        except KeyError as error:
            raise CheckpointError(f"{path} is damaged: it lacks {error}.") from error

    def __repr__(self) -> str:
        return (
            f"Frontier({len(self.usage)} points, usage 0..{self.usage[-1]:.4g}, success {self.success[0]:.4f}.."
            f"{self.success[-1]:.4f}, gap {self.gap:.2g}, {self.passes} passes)"
        )


def solve_frontier(
    model: TransitionModel,
    *,
    gap: float = 1e-3,
    discount: float = 1.0,
    backend: str = "auto",
    progress: Callable[[int, float], None] | None = None,
) -> Frontier:
    """Find the whole curve of success against expected usage.

    Args:
        model: the problem.
        gap: certified distance, in success, that the piecewise linear result may be below the optimum; 0 asks for every
            corner (to rounding).
        discount, backend: as in :func:`selfreg_gym.solver.solve`.
        progress: called with (points found, gap so far) after every pass.

    Raises:
        InvalidArgumentError: a negative gap.
    """
    if not gap >= 0:
        raise InvalidArgumentError(f"a gap is a number >= 0, received {gap!r}.")
    engine = Engine(model, backend=backend, discount=discount)
    top = highest_price(model)
    points = solve_points(engine, [0.0, top, *first_prices(top)])
    hull = sorted({(p.usage, p.success): p for p in points[::-1]}.values(), key=lambda p: (p.usage, -p.price))
    heap: list[tuple[float, int, Point, Point]] = []
    done: list[tuple[float, Point, Point]] = []
    counter = 0

    def add(left: Point, right: Point) -> None:
        nonlocal counter
        counter += 1
        height = _height(left, right)
        if height <= GAIN:
            done.append((height, left, right))
        else:
            heapq.heappush(heap, (-height, counter, left, right))

    for left, right in pairwise(hull):
        add(left, right)
    while heap and -heap[0][0] > gap:
        worst = [heapq.heappop(heap) for _ in range(min(WIDTH, len(heap)))]
        slopes = [_slope(left, right) for _, _, left, right in worst]
        extra = _filling([(left, right) for _, _, left, right in worst], slopes, WIDTH - len(slopes))
        found = solve_points(engine, slopes + extra)
        for (_, _, left, right), slope in zip(worst, slopes, strict=True):
            chord = left.success - slope * left.usage
            own = [p for p in found if left.price >= p.price >= right.price]
            middle = next(p for p in own if p.price == slope)
            if middle.success - slope * middle.usage - chord <= GAIN:
                done.append((0.0, left, right))  # the chord itself touches the curve
                continue
            inner = {(p.usage, p.success): p for p in own if left.usage + 1e-12 < p.usage < right.usage - 1e-12}
            chain = [left, *sorted(inner.values(), key=lambda p: p.usage), right]
            for a, b in pairwise(chain):
                add(a, b)
        if progress is not None:
            progress(len(heap) + len(done) + 1, -heap[0][0] if heap else 0.0)
    edges = done + [(-height, left, right) for height, _, left, right in heap]
    corners = {(p.usage, p.success): p for _, a, b in edges for p in (a, b)} or {(0, 0): hull[0]}
    ordered = _strict(sorted(corners.values(), key=lambda p: p.usage))
    return Frontier(
        model=model,
        help_cost=np.array([p.price for p in ordered]),
        usage=np.array([p.usage for p in ordered]),
        success=np.array([p.success for p in ordered]),
        gap=max((height for height, _, _ in edges), default=0.0),
        discount=discount,
        passes=engine.passes,
    )


def _slope(left: Point, right: Point) -> float:
    return max((right.success - left.success) / (right.usage - left.usage), 0.0)


def _height(left: Point, right: Point) -> float:
    """Return how far the intersection of the two touching lines is above the chord; never negative."""
    width = right.usage - left.usage
    slope = _slope(left, right)
    rise, fall = left.price - slope, slope - right.price
    return max(width * rise * fall / (rise + fall), 0.0) if rise > 0 and fall > 0 else 0.0


def _filling(intervals: list[tuple[Point, Point]], slopes: list[float], count: int) -> list[float]:
    """Return up to ``count`` further prices, either side of the slopes, to fill a pass; worst interval first."""
    prices: list[float] = []
    for (left, right), slope in zip(intervals, slopes, strict=True):
        prices += [(left.price + slope) / 2, (right.price + slope) / 2]
    return prices[:count]


def _strict(points: list[Point]) -> list[Point]:
    """Drop points that rounding put on or below the line between their neighbours' prices."""
    kept: list[Point] = []
    for point in points:
        if kept and point.usage - kept[-1].usage <= 1e-12:
            if point.success > kept[-1].success:
                kept[-1] = point
            continue
        kept.append(point)
    return kept
