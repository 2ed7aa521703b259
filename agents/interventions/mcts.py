"""Tree search as an intervention: test-time compute of the env's actor, on snapshots of the live task."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError, shown
from selfreg_gym.search.leaf_values import KINDS, LeafValue, leaf_value
from selfreg_gym.search.searching import SearchResult, TreeSearch
from selfreg_gym.search.simulator import foresees
from selfreg_gym.types import Act, Actor, CostPer, Decision, Duration, Intervention
from selfreg_gym.utils.arguments import check_flag, check_number

__all__ = ["MCTS"]

_SIMULATIONS = 32


class _Planner:
    """The actor of :class:`MCTS`: searches for all decisions at once.

    Attributes:
        checkpoint_dir: the model that values states, if there is one; a run does not continue with another one.
    """

    checkpoint_dir: Path | None = None

    def __init__(self, *, temperature: float, cost_per_simulation: float | None) -> None:
        self.temperature, self.cost_per_simulation = temperature, cost_per_simulation
        self._search: TreeSearch | None = None

    def bound(self, search: TreeSearch) -> _Planner:
        """The same planner with a search by the env's actor."""
        other = copy.copy(self)
        other._search = search
        return other

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """Search for each decision, and answer with the action that was visited most."""
        if not len(decisions):
            return []
        if self._search is None:
            raise InvalidArgumentError(
                "mcts searches with the actor of its env, received a call without one: use it in an env, or call "
                "with_actor(actor)."
            )
        return [
            self._answer(decision, result)
            for decision, result in zip(decisions, self._search.run(decisions), strict=True)
        ]

    def _answer(self, decision: Decision, result: SearchResult) -> Act:
        chosen = result.best()
        if self.temperature > 0 and result.visits.sum():
            share = result.visits / result.visits.max()
            with np.errstate(over="ignore"):  # with a small temperature, the logarithm is minus infinity
                weights = np.exp(np.log(np.maximum(share, 1e-300)) / self.temperature)
            chosen = int(decision.rng.choice(len(weights), p=weights / weights.sum()))
        cost = None if self.cost_per_simulation is None else self.cost_per_simulation * result.simulations
        return Act(result.actions[chosen], tokens=result.tokens, cost=cost, memory=result.tree)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Planner:
        return self

    def __repr__(self) -> str:
        return "Planner()"


class MCTS(Intervention):
    """Monte Carlo tree search with the probabilities of the env's actor as prior (:mod:`selfreg_gym.search.searching`).

    A call searches from the current state of the task and returns the action that was tried most. The task does not
    change. Simulations do not use what the actor cannot know: random events are drawn anew (the task's ``reseed``), and
    hidden facts are sampled from what was observed (``sample_hidden``). On a task that lacks one of these members the
    search may foresee events or hidden facts, and the intervention is privileged there (:meth:`privileged_on`).

    All decisions of a step of a vector env are searched together, with one call of the actor and one of the value per
    round. Results do not depend on the batch, unless the budget is in seconds. The tree is used again at the next call
    in the same episode.

    Args:
        simulations: per call (default 32, if ``seconds`` is not given).
        seconds: time for all calls of a step of the env, instead of ``simulations``; then results depend on the
            machine.
        value: the value of new states: ``"rollouts"`` of the env's actor, ``"prm"`` or ``"fitted"``
            (:func:`selfreg_gym.search.leaf_values.leaf_value`), or an object that evaluates states.
        folder: of the process reward model (``prm`` of a run), or of the fitted values (``values/teacher``).
        price: of fitted values; None: the success of the actor alone.
        rollouts: number of rollouts per state, for ``"rollouts"``.
        c_puct: the constant of exploration.
        uniform: share of the uniform distribution in the prior.
        temperature: 0 takes the most visited action; T > 0 draws an action in proportion to ``visits ** (1 / T)``.
        candidates: number of the actor's answers that are searched where any text is admissible.
        reuse: continue with the tree of the episode's last call.
        privileged: search in the true episode, with its hidden facts and its random events to come.
        cost: expected cost units of a call; default ``simulations * cost_per_simulation``, or 1.
        cost_per_simulation: cost units of one simulation; a call then costs what it used. None: each call has the
            same cost.
        name: its name in ``info``.
        duration, cost_per: as for every :class:`Intervention`.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument is out of range.
        CheckpointError: the folder does not exist.
    """

    def __init__(
        self,
        *,
        simulations: int | None = None,
        seconds: float | None = None,
        value: str | LeafValue = "rollouts",
        folder: str | Path | None = None,
        price: float | None = None,
        rollouts: int = 1,
        c_puct: float = 1.25,
        uniform: float = 0.25,
        temperature: float = 0.0,
        candidates: int = 8,
        reuse: bool = True,
        privileged: bool = False,
        cost: float | None = None,
        cost_per_simulation: float | None = None,
        name: str = "mcts",
        duration: Duration = 1,
        cost_per: CostPer = "call",
    ) -> None:
        if simulations is None and seconds is None:
            simulations = _SIMULATIONS
        if cost_per_simulation is not None:
            cost_per_simulation = check_number("cost_per_simulation (cost units)", cost_per_simulation, above=True)
        if cost is None:
            cost = 1.0 if cost_per_simulation is None else cost_per_simulation * (simulations or 1)
        temperature = check_number("temperature", temperature)
        planner = _Planner(temperature=temperature, cost_per_simulation=cost_per_simulation)
        super().__init__(planner, name=name, cost=cost, duration=duration, cost_per=cost_per)
        self.privileged = check_flag("privileged", privileged)
        if not isinstance(value, str) and not callable(value):
            raise InvalidArgumentError(
                f"value must be one of {', '.join(map(repr, KINDS))} or a function of states, received {shown(value)}."
            )
        if folder is not None and not Path(folder).is_dir():
            raise CheckpointError(f"the folder of the values of mcts must exist, received {str(folder)!r}.")
        planner.checkpoint_dir = None if folder is None else Path(folder)
        self.value, self.folder, self.price, self.rollouts = value, folder, price, rollouts
        self.search: dict[str, Any] = {
            "simulations": simulations, "seconds": seconds, "c_puct": c_puct, "uniform": uniform,
            "candidates": candidates, "reuse": check_flag("reuse", reuse), "privileged": self.privileged,
        }  # fmt: skip
        self.with_actor(planner)  # checks the arguments

    def with_actor(self, actor: Actor) -> MCTS:
        """The intervention that searches with this actor."""
        other = copy.copy(self)
        value = self.value
        if isinstance(value, str):
            value = leaf_value(value, folder=self.folder, actor=actor, price=self.price, rollouts=self.rollouts)
        planner: Any = self.actor
        other.actor = planner.bound(TreeSearch(actor, value, **self.search))
        return other

    def privileged_on(self, task: Any) -> bool:
        """Whether it is privileged, or the task lacks ``reseed`` or ``sample_hidden``."""
        return self.privileged or foresees(task)
