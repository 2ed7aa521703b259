"""``TreeSearch``: Monte Carlo tree search on snapshots of text tasks, for a batch of decisions in lockstep.

A simulation begins in the state of the decision, with hidden facts and random events that are drawn anew
(:class:`selfreg_gym.search.simulator.Simulator`). It follows the tree by PUCT (:mod:`selfreg_gym.search.trees`) to a
new state or the end of the episode, and its return is the value of that state, or the success. In each round all
searches make one simulation, with at most one call of the actor and one of the value for all of them.

The nodes are histories of observations, not true states, and each simulation has another sample of the hidden facts.
Source of this treatment of hidden facts: Silver and Veness, "Monte-Carlo planning in large POMDPs", NeurIPS 2010.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.search.leaf_values import LeafValue
from selfreg_gym.search.simulator import Simulator
from selfreg_gym.search.states import TaskState, apart
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
        """The index of the most visited action. Ties: the largest mean return, then the largest prior, the first."""
        values = np.where(self.visits > 0, self.values, -1.0)
        return max(range(len(self.actions)), key=lambda i: (self.visits[i], values[i], self.prior[i], -i))


class TreeSearch:
    """Searches for decisions of an actor.

    Args:
        actor: its log-probabilities are the prior. If it gives none, its answer has the probability 1.
            If any text is admissible, the actions are ``candidates`` answers, and their frequencies the prior.
        value: the value of states.
        simulations: per decision; None with ``seconds``. Simulations of a reused tree are not counted.
        seconds: time for a call with all its decisions, at least one simulation each. Results then depend on the
            machine.
        c_puct: the constant of exploration.
        uniform: the prior is mixed with this share of the uniform distribution.
        candidates: number of answers of the actor where any text is admissible.
        reuse: continue with the tree of the episode's last search.
        privileged: search in the true episode, with its hidden facts and its future random events.

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
                simulators = [stack.enter_context(self._simulator(one)) for one in batch]
                results |= zip(group, _Batch(self, batch, simulators).run(), strict=True)
        return [results[i] for i in range(len(decisions))]

    def _simulator(self, decision: Decision) -> Simulator:
        return Simulator(decision.task, steps_left=decision.info.get("steps_left"), privileged=self.privileged)


@dataclass(frozen=True, slots=True)
class _Visit:
    """A simulation at a node of a tree.

    Attributes:
        tree: number of the tree.
        node: number of the node, -1 for one that is not yet in the tree.
        state: the simulated state.
        parent: the node and the action before it; None for the root.
    """

    tree: int
    node: int
    state: TaskState
    parent: tuple[int, int] | None = None

    @property
    def outcome(self) -> Outcome:
        """The identity of the state among the states after the same action."""
        info = self.state.info
        key = info.get("state_key") or self.state.observation
        return Outcome(key, info.get("steps_left"), info.get("admissible_actions"))


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
        roots, new = [], []
        for b, decision in enumerate(self.decisions):
            info = {**decision.info, "admissible_actions": decision.admissible_actions}
            root = _Visit(b, 0, TaskState(decision.task, decision.observation, info, (self.draw[b],)))
            roots.append(root)
            tree, step = decision.memory, decision.info.get("step")
            if self.search.reuse and isinstance(tree, Tree) and step is not None:
                node = tree.find(step, root.outcome)
                if node is not None:
                    self.trees.insert(b, tree, node)
                    continue
            new.append(root)
        self._add(new)
        self._expand([root for root in roots if not self.trees.actions[root.tree][0]])

    def _simulate(self, rows: Sequence[int], number: int) -> None:
        """One simulation of each search in ``rows``."""
        paths: dict[int, list[tuple[int, int]]] = {b: [] for b in rows}
        at: dict[int, _Visit] = {}
        for b in rows:
            self.simulators[b].begin(self.draw[b], number)
            self.done[b] += 1
            at[b] = _Visit(b, 0, None)  # type: ignore[arg-type]  # roots are expanded
        leaves: list[_Visit] = []
        while at:
            # A simulation ends one step after a node that is expanded now, so there is one call of the actor.
            ready = [b for b, visit in at.items() if self.trees.actions[b][visit.node]]
            if not ready:
                self._expand(list(at.values()))
                continue
            nodes = [at[b].node for b in ready]
            chosen = self.trees.select(np.array(ready), np.array(nodes), self.search.c_puct)
            for b, node, action in zip(ready, nodes, chosen.tolist(), strict=True):
                del at[b]
                observation, over, success, info = self.simulators[b].step(self.trees.actions[b][node][action])
                paths[b].append((node, action))
                if over:
                    self.trees.back_up(b, paths[b], float(success))
                    continue
                state = TaskState(self.decisions[b].task, observation, info, (self.draw[b], number))
                visit = _Visit(b, -1, state, (node, action))
                child = self.trees.children[b].get((node, action, visit.outcome))
                if child is None:
                    leaves.append(visit)
                else:
                    at[b] = replace(visit, node=child)
        for visit, value in zip(leaves, self._add(leaves), strict=True):
            self.trees.back_up(visit.tree, paths[visit.tree], value)

    def _add(self, visits: Sequence[_Visit]) -> list[float]:
        """Add a node for each new state, and return the values of the states."""
        if not visits:
            return []
        answers = self._ask(visits) if getattr(self.search._value, "reads_actor", False) else None
        states = [visit.state for visit in visits]
        if answers is not None:
            states = [replace(state, act=acts[0]) for state, acts in zip(states, answers, strict=True)]
        values = np.asarray(self.search._value(states), np.float64)
        if values.shape != (len(visits),) or not ((values >= 0) & (values <= 1)).all():
            raise TaskContractError(
                f"a leaf value must give one success probability in [0, 1] per state, received {values} for "
                f"{len(visits)} states."
            )
        for number, (visit, value) in enumerate(zip(visits, values.tolist(), strict=True)):
            node = self.trees.add(visit.tree, visit.outcome, value, visit.parent)
            if answers is not None:
                self.trees.expand(visit.tree, node, *self._prior(visit.state, answers[number]))
        return values.tolist()

    def _expand(self, visits: Sequence[_Visit]) -> None:
        """Give nodes their actions, and the prior by the actor."""
        for visit, acts in zip(visits, self._ask(visits), strict=True):
            self.trees.expand(visit.tree, visit.node, *self._prior(visit.state, acts))

    def _ask(self, visits: Sequence[_Visit]) -> list[list[Act]]:
        """The actor's answers in each state: one, or ``candidates`` where any text is admissible."""
        if not visits:
            return []
        states, extra = [visit.state for visit in visits], self.search.candidates - 1
        free = [i for i, state in enumerate(states) if state.info.get("admissible_actions") is None]
        decisions = [state.decision(0) for state in states]
        decisions += [states[i].decision(n) for i in free for n in range(1, 1 + extra)]
        acts = [_checked(act) for act in ask(self.search._actor, decisions)]
        found = [[act] for act in acts[: len(states)]]
        for number, i in enumerate(free):
            first = len(states) + number * extra
            found[i] += acts[first : first + extra]
        for visit, answers in zip(visits, found, strict=True):
            for act in answers:
                known = self.tokens[visit.tree]
                self.tokens[visit.tree] = None if known is None or act.tokens is None else known + act.tokens
        return found

    def _prior(self, state: TaskState, answers: Sequence[Act]) -> tuple[tuple[str, ...], np.ndarray]:
        """The actions of a state and their prior, from the actor's answers (one, unless any text is admissible)."""
        texts = [act.text for act in answers]
        admissible, logprobs = state.info.get("admissible_actions"), answers[0].logprobs
        actions = tuple(dict.fromkeys(texts)) if admissible is None else tuple(admissible)
        if not actions:
            raise TaskContractError("at least one action must be admissible until an episode is over, received none.")
        if admissible is None or logprobs is None:
            prior = np.array([texts.count(action) for action in actions], np.float64)
        else:
            prior = np.exp(np.asarray(logprobs, np.float64))
        total = prior.sum()
        prior = prior / total if total > 0 else np.full(len(actions), 1.0 / len(actions))
        share = self.search.uniform
        return actions, (1.0 - share) * prior + share / len(actions)

    def _result(self, b: int) -> SearchResult:
        actions = self.trees.actions[b][0]
        n = len(actions)
        visits, total = self.trees.visits[b, 0, :n].copy(), self.trees.total[b, 0, :n]
        values = np.where(visits > 0, total / np.maximum(visits, 1), np.nan)
        step = self.decisions[b].info.get("step")
        tree = self.trees.extract(b, step) if self.search.reuse and step is not None else None
        prior = self.trees.prior[b, 0, :n].copy()
        return SearchResult(actions, prior, visits, values, int(self.done[b]), self.tokens[b], tree)


def _checked(act: str | Act) -> Act:
    if isinstance(act, str):
        return Act(act)
    if act.error is not None:
        raise TaskContractError(f"the actor failed in a search: {act.error}")
    return act
