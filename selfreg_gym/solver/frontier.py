"""``solve_frontier``: the curve of largest success against usage, with a certified gap.

The curve is concave. A solve at price r gives a point on it and a line of slope r that bounds it from above. Between
two neighbouring points the curve lies above their chord and below both lines, so the height of the intersection of the
lines over the chord bounds the error. A heap keeps the intervals; the worst ones are split by solving at the slopes of
their chords, eight prices in one pass, until the largest gap is at most ``gap``. This is the convex-hull scheme for two
objectives (Aneja and Nair 1979) with batched solves.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError
from selfreg_gym.solver.arguments import check_costs, check_model, checked_number
from selfreg_gym.solver.budget import (
    BUDGET_TOLERANCE,
    CHORD_TOLERANCE,
    POINT_TOLERANCE,
    Point,
    distinct,
    first_prices,
    highest_price,
    is_right_of,
    slack_policy,
    solve_points,
)
from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import WIDTH
from selfreg_gym.solver.prepared import cost_unit
from selfreg_gym.solver.solution import MixedPolicy, Solution
from selfreg_gym.solver.solve import solve
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.utils.files import atomic_path

__all__ = ["Frontier", "solve_frontier"]

FORMAT = "selfreg_gym frontier 1"


@dataclass(frozen=True, eq=False)
class Frontier:
    """The curve of success against usage: its corner points, in order of usage.

    Attributes:
        model: the model that was solved.
        help_cost: ``(B,)`` a price at which each point is optimal, decreasing.
        usage: ``(B,)`` expected cost units.
        success: ``(B,)`` expected success.
        gap: upper bound on the optimal success minus that of the frontier, at equal usage.
        discount: per step.
        passes: number of passes over the model.
    """

    model: TransitionModel
    help_cost: np.ndarray
    usage: np.ndarray
    success: np.ndarray
    gap: float
    discount: float = 1.0
    passes: int = 0

    def policy(self, budget: float) -> MixedPolicy:
        """Return the mixture of two neighbouring points that meets ``budget``; within ``gap`` of the optimum.

        The policies are computed again at the two prices (the last eight are cached), because storing all of them takes
        more memory than the model. ``solve_budget`` returns the exact optimum.

        Raises:
            InvalidArgumentError: a negative budget.
        """
        limit = checked_number("a budget, in cost units per episode,", budget)
        last, tolerance = len(self.usage) - 1, BUDGET_TOLERANCE * cost_unit(self.model)
        if limit >= self.usage[last] - tolerance:
            return slack_policy(self._solution(last), limit, float(self.usage[last]), float(self.help_cost[last]))
        right = int(np.searchsorted(self.usage, limit, side="right"))
        left = max(right - 1, 0)
        if limit <= self.usage[left] + tolerance:
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
        """Plot success against usage, and the mixtures of the two ends.

        Args:
            ax: Matplotlib axes; None: those of a new figure.
            label: text in the legend.
            **style: arguments of ``ax.plot``.

        Returns:
            The axes.
        """
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
        """Write the points to an ``.npz`` file without pickles, atomically; the model is saved separately."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file, format=np.array(FORMAT), fingerprint=np.array(self.model.fingerprint), help_cost=self.help_cost,
                usage=self.usage, success=self.success, gap=np.array(self.gap), discount=np.array(self.discount),
                passes=np.array(self.passes),
            )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path, model: TransitionModel) -> Frontier:
        """Read a file of ``save``, for the model that was solved.

        Raises:
            CheckpointError: the file is missing, damaged, of another format, or belongs to another model.
        """
        from selfreg_gym.transitions.files import DAMAGE, damaged, read_arrays

        read = read_arrays(path, FORMAT, "a frontier (solve_frontier(...).save)")
        try:
            if str(read["fingerprint"]) != model.fingerprint:
                raise CheckpointError(
                    f"{path} has the frontier of another model: solve this model with solve_frontier and save it."
                )
            curves = {name: np.asarray(read[name], np.float64) for name in ("help_cost", "usage", "success")}
            help_cost, usage, success = curves.values()
            if usage.ndim != 1 or not len(usage) or not usage.shape == success.shape == help_cost.shape:
                raise ValueError("help_cost, usage and success must have one number per point")
            if not all(np.isfinite(one).all() and (one >= 0).all() for one in curves.values()):
                raise ValueError("help_cost, usage and success must have finite numbers >= 0")
            if (np.diff(usage) <= 0).any():
                raise ValueError("usage rises from point to point")
            if not (0 < float(read["discount"]) <= 1 and float(read["gap"]) >= 0):
                raise ValueError("the discount must be in (0, 1] and the gap >= 0")
            return cls(
                model, **curves, gap=float(read["gap"]), discount=float(read["discount"]), passes=int(read["passes"])
            )
        except CheckpointError:
            raise
        except DAMAGE as error:
            raise damaged(path, error, "solve_frontier(model).save(path)") from error

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
    """Find the curve of largest success against expected usage.

    Args:
        model: the problem.
        gap: certified bound on the distance of the piecewise linear result below the optimum, in success; 0 finds all
            corners (up to rounding).
        discount, backend: as in :func:`selfreg_gym.solver.solve`.
        progress: called after each pass with the number of points and the current gap.

    Returns:
        The corner points of the curve; ``policy(C)`` is the policy for a budget.

    Raises:
        InvalidArgumentError: a negative gap.
    """
    check_model(model)
    check_costs(model)
    gap = checked_number("gap, the certified distance in success,", gap)
    engine = Engine(model, backend=backend, discount=discount)
    top = highest_price(model)
    points = solve_points(engine, [0.0, top, *first_prices(top)])
    hull = distinct(points)
    width = POINT_TOLERANCE * max(point.usage for point in points)
    heap: list[tuple[float, int, Point, Point]] = []
    done: list[tuple[float, Point, Point]] = []
    counter = count()  # breaks ties in the heap

    def add(left: Point, right: Point) -> None:
        height = _height(left, right)
        if height <= CHORD_TOLERANCE:
            done.append((height, left, right))
        else:
            heapq.heappush(heap, (-height, next(counter), left, right))

    for left, right in pairwise(hull):
        add(left, right)
    while heap and -heap[0][0] > gap:
        worst = [heapq.heappop(heap) for _ in range(min(WIDTH, len(heap)))]
        slopes = [_slope(left, right) for _, _, left, right in worst]
        # More prices on both sides of the slopes fill the pass.
        extra = [(end.price + slope) / 2 for (_, _, *ends), slope in zip(worst, slopes, strict=True) for end in ends]
        found = solve_points(engine, slopes + extra[: WIDTH - len(slopes)])
        for (_, _, left, right), slope, middle in zip(worst, slopes, found, strict=False):
            chord = left.success - slope * left.usage
            own = [p for p in found if left.price >= p.price >= right.price]
            if middle.success - slope * middle.usage - chord <= CHORD_TOLERANCE:
                done.append((0.0, left, right))  # the chord is the curve
                continue
            inner = [p for p in own if is_right_of(left, p, width) and is_right_of(p, right, width)]
            chain = [p for p in distinct(inner) if left.success < p.success <= right.success] if inner else []
            if not chain:  # the points above the chord are its ends, to rounding
                done.append((0.0, left, right))
                continue
            for a, b in pairwise([left, *chain, right]):
                add(a, b)
        if progress is not None:
            progress(len(heap) + len(done) + 1, -heap[0][0] if heap else 0.0)
    edges = done + [(-height, left, right) for height, _, left, right in heap]
    corners = [p for _, a, b in edges for p in (a, b)] or hull[:1]
    ordered = distinct(list(dict.fromkeys(corners)))
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
    """Return the height of the intersection of the two tangents above the chord; never negative."""
    width = right.usage - left.usage
    slope = _slope(left, right)
    rise, fall = left.price - slope, slope - right.price
    return max(width * rise * fall / (rise + fall), 0.0) if rise > 0 and fall > 0 else 0.0
