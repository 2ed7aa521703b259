"""``TreeSearch``: Monte Carlo tree search on snapshots of text tasks, for a batch of decisions in lockstep.

A simulation begins in the state of the decision, with hidden facts and random events that are drawn anew
(:class:`selfreg_gym.search.simulator.Simulator`). It follows the tree by PUCT (:mod:`selfreg_gym.search.trees`) to a
new state or the end of the episode, and its return is the value of that state, or the success. In each round all
searches make one simulation, and their new states are evaluated together, by one call of the actor and one of the
value.

Histories of observations, not true states, are the nodes, and each simulation has another sample of the hidden facts.
Source of this treatment of hidden facts: Silver and Veness, "Monte-Carlo planning in large POMDPs", NeurIPS 2010.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.search.leaf_values import LeafValue, TaskState, apart
from selfreg_gym.search.simulator import Simulator
from selfreg_gym.search.trees import Outcome, Tree, Trees
from selfreg_gym.types import Act, Actor, Decision
from selfreg_gym.utils.arguments import check_count, check_number

__all__ = ["SearchResult", "TreeSearch"]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The result of one search.

    Attributes:
        actions: the A actions of the decision.
        prior: float64 ``(A,)``.
        visits: int64 ``(A,)``, the simulations that began with each action, including those of a reused tree.
        values: float64 ``(A,)``, the mean return of each action; NaN without a visit.
        simulations: number of simulations in this search.
        tokens: tokens read and written by the actor, if it counts them.
        tree: the tree, for the next search of the episode.
    """

    actions: tuple[str, ...]
    prior: np.ndarray
    visits: np.ndarray
    values: np.ndarray
    simulations: int
    tokens: int | None
    tree: Tree | None

    def best(self) -> int:
        """The index of the most visited action; of equals that of the largest mean return, then of the first."""
        values = np.where(self.visits > 0, self.values, -1.0)
        return max(range(len(self.actions)), key=lambda i: (self.visits[i], values[i], self.prior[i], -i))


class TreeSearch:
    """Searches for decisions of an actor.

    Args:
        actor: the base actor; its log-probabilities are the prior. If it gives none, its answer has the probability 1.
            If any text is admissible, the actions are ``candidates`` answers, and their frequencies the prior.
        value: the value of states.
        simulations: per decision; None with ``seconds``. Simulations of a reused tree are not counted.
        seconds: time for a call with all its decisions, at least one simulation each. Results then depend on the
            machine.
        c_puct: the constant of exploration.
        uniform: the prior is mixed with this share of the uniform distribution.
        candidates: number of answers of the actor where any text is admissible.
        reuse: continue with the tree of the episode's last search.
        privileged: search in the true episode, with its hidden facts and its random events to come.

    Raises:
        InvalidArgumentError: an argument is out of range, or not exactly one of ``simulations`` and ``seconds``.
    """

    def __init__(
        self,
        actor: Actor,
        value: LeafValue,
        *,
        simulations: int | None = 32,
        seconds: float | None = None,
        c_puct: float = 1.25,
        uniform: float = 0.25,
        candidates: int = 8,
        reuse: bool = True,
        privileged: bool = False,
    ) -> None:
        if (simulations is None) == (seconds is None):
            raise InvalidArgumentError(
                "a search has a budget of either simulations or seconds, received "
                f"simulations={simulations!r}, seconds={seconds!r}."
            )
        self.simulations = None if simulations is None else check_count("simulations, per decision,", simulations)
        self.seconds = None if seconds is None else check_number("seconds, per call,", seconds)
        self.c_puct = check_number("c_puct", c_puct)
        self.uniform = check_number("uniform, a share of the prior,", uniform, high=1.0)
        self.candidates = check_count("candidates", candidates)
        self.reuse, self.privileged = reuse, privileged
        self._actor, self._value = actor, value

    def run(self, decisions: Sequence[Decision]) -> list[SearchResult]:
        """Search for N decisions; each result is that of the decision alone, and the tasks are as before.

        Raises:
            TaskContractError: a decision without a task, a task without snapshots, or a failed act of the actor.
        """
        for decision in decisions:
            if decision.task is None:
                raise TaskContractError(
                    "a search needs the live task, received a decision without a task: create it by "
                    "Decision(..., task=env)."
                )
        results: dict[int, SearchResult] = {}
        for group in apart([decision.task for decision in decisions]):
            with contextlib.ExitStack() as stack:
                batch = [decisions[i] for i in group]
                simulators = [stack.enter_context(Simulator(one.task, privileged=self.privileged)) for one in batch]
                results |= zip(group, _Batch(self, batch, simulators).run(), strict=True)
        return [results[i] for i in range(len(decisions))]


class _Batch:
    """Searches with different tasks, in lockstep."""

    def __init__(self, search: TreeSearch, decisions: Sequence[Decision], simulators: Sequence[Simulator]) -> None:
        self.search, self.decisions, self.simulators = search, decisions, simulators
        self.trees = Trees(len(decisions))
        self.tokens: list[int | None] = [0] * len(decisions)
        self.done = np.zeros(len(decisions), np.int64)
        self.draw = [int(decision.rng.integers(2**63)) for decision in decisions]

    def run(self) -> list[SearchResult]:
        self._plant()
        begun, limit = time.monotonic(), self.search.seconds
        searched = [b for b in range(len(self.decisions)) if len(self.trees.actions[b][0]) > 1]
        number = 0
        while searched and (self.search.simulations is None or number < self.search.simulations):
            self._simulate(searched, number)
            number += 1
            if limit is not None and time.monotonic() - begun >= limit:
                break
        return [self._result(b) for b in range(len(self.decisions))]

    def _plant(self) -> None:
        """Add the roots: those of the episodes' last trees, or new ones."""
        new: list[tuple[int, TaskState]] = []
        for b, decision in enumerate(self.decisions):
            tree, step = decision.memory, decision.info.get("step")
            if self.search.reuse and isinstance(tree, Tree) and step is not None:
                node = tree.find(step, _outcome(decision.observation, decision.admissible_actions, decision.info))
                if node is not None:
                    self.trees.insert(b, tree, node)
                    continue
            info = {**decision.info, "admissible_actions": decision.admissible_actions}
            new.append((b, TaskState(decision.task, decision.observation, info, (self.draw[b],))))
        self._expand([(b, state, None) for b, state in new])

    def _simulate(self, rows: Sequence[int], number: int) -> None:
        """One simulation of each search in ``rows``."""
        paths: dict[int, list[tuple[int, int]]] = {b: [] for b in rows}
        at = dict.fromkeys(rows, 0)
        leaves: list[tuple[int, TaskState, tuple[int, int] | None]] = []
        for b in rows:
            self.simulators[b].begin(self.draw[b], number)
            self.done[b] += 1
        while at:
            moving = np.array(list(at))
            chosen = self.trees.select(moving, np.array(list(at.values())), self.search.c_puct)
            for b, action in zip(moving.tolist(), chosen.tolist(), strict=True):
                node = at[b]
                text = self.trees.actions[b][node][action]
                observation, over, success, info = self.simulators[b].step(text)
                paths[b].append((node, action))
                if over:
                    self.trees.back_up(b, paths[b], float(success))
                    del at[b]
                    continue
                outcome = _outcome(observation, info.get("admissible_actions"), info)
                child = self.trees.children[b].get((node, action, outcome))
                if child is not None:
                    at[b] = child
                    continue
                key = (self.draw[b], number)
                leaves.append((b, TaskState(self.decisions[b].task, observation, info, key), (node, action)))
                del at[b]
        for (b, _, _), value in zip(leaves, self._expand(leaves), strict=True):
            self.trees.back_up(b, paths[b], value)

    def _expand(self, leaves: Sequence[tuple[int, TaskState, tuple[int, int] | None]]) -> list[float]:
        """Add a node for each new state, and return the values of the states."""
        if not leaves:
            return []
        offers = self._ask([state for _, state, _ in leaves])
        states = [replace(state, act=offer[2]) for (_, state, _), offer in zip(leaves, offers, strict=True)]
        values = np.asarray(self.search._value(states), np.float64)
        if values.shape != (len(states),) or not ((values >= 0) & (values <= 1)).all():
            raise TaskContractError(
                f"a leaf value must give one success probability in [0, 1] per state, received {values} for "
                f"{len(states)} states."
            )
        for (b, state, parent), (actions, prior, act), value in zip(leaves, offers, values.tolist(), strict=True):
            outcome = _outcome(state.observation, state.info.get("admissible_actions"), state.info)
            self.trees.add(b, actions, prior, value, outcome, parent)
            known = self.tokens[b]
            self.tokens[b] = None if known is None or act.tokens is None else known + act.tokens
        return values.tolist()

    def _ask(self, states: Sequence[TaskState]) -> list[tuple[tuple[str, ...], np.ndarray, Act]]:
        """The actions of each state, their prior, and the actor's act."""
        free = [i for i, state in enumerate(states) if state.info.get("admissible_actions") is None]
        decisions = [state.decision(0) for state in states]
        more = [states[i].decision(n) for i in free for n in range(1, self.search.candidates)]
        acts = [_checked(act) for act in ask(self.search._actor, [*decisions, *more])]
        samples = {i: [acts[i]] for i in free}
        for number, act in enumerate(acts[len(states) :]):
            samples[free[number // max(1, self.search.candidates - 1)]].append(act)
        found = []
        for i, state in enumerate(states):
            if i in samples:
                texts = [act.text for act in samples[i]]
                actions = tuple(dict.fromkeys(texts))
                prior = np.array([texts.count(action) for action in actions], np.float64)
            else:
                actions = tuple(state.info["admissible_actions"])
                if not actions:
                    raise TaskContractError(
                        "at least one action must be admissible until an episode is over, got none."
                    )
                act = acts[i]
                if act.logprobs is not None:
                    prior = np.exp(np.asarray(act.logprobs, np.float64))
                else:
                    prior = np.array([float(action == act.text) for action in actions])
            total = prior.sum()
            prior = prior / total if total > 0 else np.full(len(actions), 1.0 / len(actions))
            share = self.search.uniform
            found.append((actions, (1.0 - share) * prior + share / len(actions), acts[i]))
        return found

    def _result(self, b: int) -> SearchResult:
        actions = self.trees.actions[b][0]
        n = len(actions)
        visits, total = self.trees.visits[b, 0, :n].copy(), self.trees.total[b, 0, :n]
        values = np.where(visits > 0, total / np.maximum(visits, 1), np.nan)
        step = self.decisions[b].info.get("step")
        tree = self.trees.extract(b, step) if self.search.reuse and step is not None else None
        prior = self.trees.prior[b, 0, :n].copy()
        return SearchResult(actions, prior, visits, values, int(self.done[b]), self.tokens[b], tree)


def _outcome(observation: str, actions: tuple[str, ...] | None, info: Any) -> Outcome:
    return Outcome(info.get("state_key") or observation, info.get("steps_left"), actions)


def _checked(act: str | Act) -> Act:
    if isinstance(act, str):
        return Act(act)
    if act.error is not None:
        raise TaskContractError(f"the base actor failed in a search: {act.error}")
    return act
