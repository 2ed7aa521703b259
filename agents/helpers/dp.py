"""The optimal policy, read from the table of solved states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.agents.helpers import _rows
from selfreg_gym.agents.helpers._choice import check_costs
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver import Frontier, MixedPolicy, solve_budget
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import HelperPolicy, Intervention
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["DP"]


class DP(HelperPolicy):
    """Follow a solved policy by state key, then by feature key; in an unknown state, choose nohelp.

    It knows the tasks that the model was fitted on (its keys name them), so it is privileged: a yardstick for helpers
    that read text, not a competitor. A mixture's coin is drawn once per episode, also when ``deterministic``, from the
    helper's seed and the episode, and is the same whatever the batch.

    Args:
        policy: a :class:`MixedPolicy`, or a :class:`Frontier` to take one from.
        budget: C, with a ``Frontier``: which point; None is the end of the curve.
        seed: of the coins.

    Attributes:
        knows_tasks: its keys name the collected tasks, so a run calibrates it on those and on no others.
        last_unseen: bool ``(N,)`` after ``predict``: the rows in a state that the model does not know.
    """

    takes_budget = True
    knows_tasks = True

    def __init__(self, policy: MixedPolicy | Frontier, *, budget: float | None = None, seed: int = 0) -> None:
        self.frontier = policy if isinstance(policy, Frontier) else None
        if isinstance(policy, Frontier):
            policy = policy.policy(float(policy.usage[-1]) if budget is None else budget)
        elif not isinstance(policy, MixedPolicy):
            raise InvalidArgumentError(
                f"DP follows a MixedPolicy or a Frontier, received {type(policy).__name__}: see solve_budget."
            )
        elif budget is not None:
            raise InvalidArgumentError("a MixedPolicy has its budget already: pass budget with a Frontier only.")
        self.policy = policy
        self.seed = _rows.checked_seed(seed)
        self.last_unseen = np.zeros(0, bool)
        self._actions = np.stack([solution.policy for solution in policy.policies])
        self._edges = np.cumsum(policy.weights)[:-1]
        self._index: dict[str, int] = {}
        fitted = policy.model.fitted
        self._reads_text = fitted is not None and fitted.settings["key"] == "observation"

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> DP:
        """Follow the frontier in a run's ``transitions.npz`` and ``solution.npz``.

        Raises:
            CheckpointError: a file is missing or damaged, or the two do not belong together.
        """
        model = TransitionModel.load(Path(run) / "transitions.npz")
        return cls(Frontier.load(Path(run) / "solution.npz", model), budget=budget, seed=seed)

    @property
    def knob(self) -> float:
        """The nominal budget."""
        budget = self.policy.budget
        return self.policy.expected_usage if budget is None else float(np.sum(budget))

    @property
    def knob_bounds(self) -> tuple[float, float]:
        """No budget, and the usage above which the model has no use for help."""
        if self.frontier is not None:
            return 0.0, float(self.frontier.usage[-1])
        return 0.0, solve_budget(self.policy.model, budget=float("inf")).expected_usage

    def with_knob(self, x: float) -> DP:
        """The same helper for another nominal budget."""
        low, high = self.knob_bounds
        x = min(max(float(x), low), high)
        if self.frontier is not None:
            helper = DP(self.frontier, budget=x, seed=self.seed)
        else:
            helper = DP(solve_budget(self.policy.model, budget=x), seed=self.seed)
        helper._index = self._index
        return helper

    def for_interventions(self, interventions: Sequence[Intervention]) -> DP:
        """Return itself, if its model has as many interventions as the env.

        Raises:
            InvalidArgumentError: their number differs.
        """
        check_costs(self, self.policy.model.actions - 1, None, interventions)
        return self

    def begin_episodes(self, state: Any, starts: np.ndarray, keys: np.ndarray) -> Any:
        """Set the random streams of the episodes that begin (:class:`selfreg_gym.types.HelperPolicy`)."""
        draws, made = (None, np.zeros(len(starts), int)) if state is None else state
        return EpisodeDraws.begin(draws, starts, keys, seed=self.seed), np.where(starts, 0, made)

    def wrap(self, env: Any) -> Any:
        """The env that shows state key, feature key and steps left, one per line."""
        from selfreg_gym.wrappers import StateKeyObservation

        return env if self._reads_text else StateKeyObservation(env, parts=("state_key", "feature_key", "steps_left"))

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """See :class:`selfreg_gym.types.HelperPolicy`.

        ``state``: (the streams of the rows, decisions made so far in each episode (N,)).
        """
        texts = [observation] if isinstance(observation, str) else observation
        n = len(texts)
        draws, made = (None, np.zeros(n, int)) if state is None else state
        made = np.where(_rows.begins(n, state, episode_start), 0, made)
        draws = EpisodeDraws.at(draws, n, episode_start, seed=self.seed)
        index = np.fromiter(map(self._locate, texts, made.tolist()), np.int64, count=len(texts))
        self.last_unseen = index < 0
        policy = np.searchsorted(self._edges, draws.of_episode(), side="right")
        actions = np.where(self.last_unseen, 0, self._actions[policy, index]).astype(np.int64)
        return (int(actions[0]) if isinstance(observation, str) else actions), (draws, made + 1)

    def _locate(self, text: str, made: int) -> int:
        """Return the state of an observation, remembered.

        Of a task that does not count its steps, a model with a clock of its own (``horizon=T``) is told the time by
        the decisions made.
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
                "dp reads state key, feature key and steps left, one per line: play it in wrap(env). "
                f"Received {text[:80]!r}."
            )
        state_key, feature_key, left = parts
        return self.policy.model.locate(state_key, feature_key or None, int(left) if left else None)

    def __deepcopy__(self, memo: dict[int, Any]) -> DP:
        return self

    def __repr__(self) -> str:
        return f"DP({self.policy!r}, seed={self.seed})"
