"""The optimal policy of the fitted model, looked up by state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import checked_seed
from selfreg_gym.agents.helpers._choice import check_costs
from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.helper import Helper, Role
from selfreg_gym.solver import Frontier, MixedPolicy, solve_budget
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import check_number
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["DP"]

_SUM_ERROR = 1e-6


class DP(Helper):
    """Follow a solved policy by state key, then by feature key; in an unknown state, choose nohelp.

    It knows the tasks that the model was fitted on, by the keys of their states. So it is privileged: a reference for
    helpers that read text, and not a competitor. A mixture draws its policy once per episode, also if
    ``deterministic``, from the helper's seed and the episode, for any batch size.

    Args:
        policy: a :class:`MixedPolicy`, or a :class:`Frontier` to take one from.
        budget: C, the point of a ``Frontier``; None is the end of the curve.
        seed: seed of the draws of a mixture.

    ``last_unseen`` is True for the states of the last decision that the model does not know.
    """

    role: Role = "yardstick"
    label, marker, colour = "DP policy (privileged)", "D", "orange"
    takes_budget = True
    knows_tasks = True
    follows_policy = True
    folder = ""
    """The folder of the model and its solution in a run directory."""
    seed: int

    def __init__(self, policy: MixedPolicy | Frontier, *, budget: float | None = None, seed: int = 0) -> None:
        self.frontier = policy if isinstance(policy, Frontier) else None
        if isinstance(policy, Frontier):
            policy = policy.policy(float(policy.usage[-1]) if budget is None else budget)
        elif not isinstance(policy, MixedPolicy):
            raise InvalidArgumentError(
                f"{self.type_name} needs a MixedPolicy or a Frontier, received {type(policy).__name__}: see "
                "solve_budget."
            )
        elif budget is not None:
            raise InvalidArgumentError("budget needs a Frontier; a MixedPolicy already has a budget.")
        self.policy = policy
        self.seed = checked_seed(seed)
        self.last_unseen = np.zeros(0, bool)
        self._actions = np.stack([solution.policy for solution in policy.policies])
        self._edges = np.cumsum(policy.weights)[:-1]
        self._index: dict[str, int] = {}
        fitted = policy.model.fitted
        each = policy.budget
        self._each = np.asarray(each, float) if each is not None and np.ndim(each) and _total(each) > 0 else None
        self._reads_text = fitted is not None and fitted.settings["key"] == "observation"

    @classmethod
    def from_run(
        cls, run: Path, *, budget: float | None = None, seed: int = 0, shares: Sequence[float] | None = None
    ) -> DP:
        """Follow the frontier in a run's ``transitions.npz`` and ``solution.npz``.

        Args:
            run, budget, seed: see :meth:`selfreg_gym.Helper.from_run`.
            shares: ``(K,)`` the shares of the interventions in the budget, with the sum 1: then each has a budget of
                its own. None: the budget is one for all of them.

        Raises:
            CheckpointError: a file is missing or damaged, or the two do not belong together.
            InvalidArgumentError: other shares.
        """
        folder = Path(run) / cls.folder
        model = TransitionModel.load(folder / "transitions.npz")
        if shares is not None and budget is not None:
            return cls(
                solve_budget(model, budget=[budget * share for share in _checked_shares(shares, model.actions - 1)]),
                seed=seed,
            )
        return cls(Frontier.load(folder / "solution.npz", model), budget=budget, seed=seed)

    @property
    def knob(self) -> float:
        """The nominal budget; with a budget for each intervention, the sum of those that are finite."""
        budget = self.policy.budget
        return self.policy.expected_usage if budget is None else _total(budget)

    @cached_property
    def knob_bounds(self) -> tuple[float, float]:  # type: ignore[override]
        """Budget 0, and the usage above which more help does not raise success in the model.

        In a model in which help is of no use the second is 1e-6, because the bounds must differ. With a budget for each
        intervention, it is the sum of the budgets at which none of them binds.
        """
        if self._each is not None:
            free = solve_budget(self.policy.model, budget=np.where(self._each > 0, np.inf, 0.0).tolist())
            needed = free.expected_usage_by_intervention / np.where(self._each > 0, self._each, np.inf)
            return 0.0, max(float(needed.max()) * _total(self._each), 1e-6)
        if self.frontier is not None:
            return 0.0, max(float(self.frontier.usage[-1]), 1e-6)
        return 0.0, max(solve_budget(self.policy.model, budget=float("inf")).expected_usage, 1e-6)

    def with_knob(self, x: float) -> DP:
        """The same helper for another nominal budget; budgets for each intervention keep their proportions."""
        low, high = self.knob_bounds
        x = min(max(float(x), low), high)
        if self._each is not None:
            scale = x / _total(self._each)
            budgets = np.zeros(len(self._each)) if x == 0 else self._each * scale
            helper = type(self)(solve_budget(self.policy.model, budget=budgets.tolist()), seed=self.seed)
            helper._index, helper._each, helper.knob_bounds = self._index, self._each, self.knob_bounds
            return helper
        if self.frontier is not None:
            helper = type(self)(self.frontier, budget=x, seed=self.seed)
        else:
            helper = type(self)(solve_budget(self.policy.model, budget=x), seed=self.seed)
        helper._index = self._index
        return helper

    @property
    def expected_usage(self) -> float:
        """The policy's usage in the model, cost units per episode."""
        return self.policy.expected_usage

    @property
    def expected_success(self) -> float:
        """The policy's success in the model."""
        return self.policy.expected_success

    def for_interventions(self, interventions: Sequence[Intervention]) -> DP:
        """Return itself, if its model has as many interventions as the env.

        Raises:
            InvalidArgumentError: their number differs.
        """
        check_costs(self, self.policy.model.actions - 1, None, interventions)
        return self

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> Any:
        """Set the random streams of the episodes that begin (:meth:`selfreg_gym.Helper.begin_episodes`)."""
        draws, made = (None, np.zeros(len(starts), int)) if state is None else state
        return EpisodeDraws.begin(draws, starts, keys, seed=self.seed), np.where(starts, 0, made)

    def episode_mixture(self) -> list[tuple[float, Helper]]:
        """The deterministic policies of the mixture with their weights."""
        if len(self.policy.policies) == 1:
            return [(1.0, self)]
        parts: list[tuple[float, Helper]] = []
        for weight, one in zip(self.policy.weights, self.policy.policies, strict=True):
            alone = replace(self.policy, policies=(one,), weights=np.ones(1))
            parts.append((float(weight), type(self)(alone, seed=self.seed)))
        return parts

    def wrap(self, env: Any) -> Any:
        """The env that shows state key, feature key and steps left, one per line."""
        from selfreg_gym.wrappers import StateKeyObservation

        return env if self._reads_text else StateKeyObservation(env, parts=("state_key", "feature_key", "steps_left"))

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Look each state up; ``state`` is (random streams, decisions so far in each episode ``(N,)``)."""
        n = len(start)
        draws, made = (None, np.zeros(n, int)) if state is None else state
        made = np.where(start, 0, made)
        draws = EpisodeDraws.at(draws, n, start, seed=self.seed)
        index = np.fromiter(map(self._locate, observations, made.tolist()), np.int64, count=n)
        self.last_unseen = index < 0
        policy = np.searchsorted(self._edges, draws.of_episode(), side="right")
        return np.where(self.last_unseen, 0, self._actions[policy, index]).astype(np.int64), (draws, made + 1)

    def _locate(self, text: str, made: int) -> int:
        """Return the model's state index of an observation, from the cache if it is there; -1 if it is unknown.

        For a task without ``steps_left``, a model with ``horizon=T`` takes the time from the decisions made.
        """
        levels = self.policy.model.levels
        if levels > 1 and text.endswith("\n"):
            text += str(max(levels - made, 1))
        index = self._index.get(text)
        if index is None:
            index = self._index[text] = self._find(text)
        return index

    def _find(self, text: str) -> int:
        if self._reads_text:
            return self.policy.model.locate(text)
        parts = text.rsplit("\n", 2)
        if len(parts) != 3 or not (parts[2] == "" or parts[2].lstrip("-").isdigit()):
            raise InvalidArgumentError(
                "dp reads state key, feature key and steps left, one per line: use it on wrap(env). "
                f"Received {text[:80]!r}."
            )
        state_key, feature_key, left = parts
        return self.policy.model.locate(state_key, feature_key or None, int(left) if left else None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.policy!r}, seed={self.seed})"


def _total(budget: Any) -> float:
    """The sum of the finite budgets."""
    values = np.atleast_1d(np.asarray(budget, np.float64))
    return float(values[np.isfinite(values)].sum())


def _checked_shares(shares: Any, count: int) -> NDArray[np.float64]:
    """``(K,)`` shares of a budget."""
    try:
        values = np.array([check_number("each share of a budget", share, high=1.0) for share in shares])
    except TypeError:  # not a sequence
        values = np.zeros(0)
    if len(values) != count or abs(float(values.sum()) - 1) > _SUM_ERROR:
        raise InvalidArgumentError(
            f"shares must have one number per intervention ({count}), with the sum 1, received {shown(shares)}."
        )
    return values
