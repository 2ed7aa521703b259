"""The trees of a batch of searches as arrays: priors, visits and returns of actions, and the states after them.

A node is a state in which the actor decides, an edge one of its actions. Below an edge there is one node for each
outcome that was simulated. Two outcomes are different if their state keys, steps left or admissible actions differ. So
the edge is a chance node, whose outcomes are weighted by how often they occur, and the actions below depend on what the
actor observes (closed loop).

A node is added with the value of its state alone. It gets actions and their prior (it is expanded) when a simulation
passes through it for the first time; most new nodes are never visited again, and the actor is not asked there.

The choice of an action in a simulation is PUCT: the action with the largest ``Q + U``,

    U(s, a) = c * P(s, a) * sqrt(1 + sum_b N(s, b)) / (1 + N(s, a)),

with the prior P, the number of visits N, and the mean return Q; without a visit, Q is the value of the state s.

Source: Silver et al., "Mastering the game of Go without human knowledge", Nature 550 (2017), Methods. There the root of
the tree is visited when it is expanded, which the 1 in the square root counts, and Q of an action without a visit is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Outcome", "Tree", "Trees"]


class Outcome(NamedTuple):
    """The identity of a state after an action: two states are equal if all three fields are equal."""

    state_key: str
    steps_left: int | None
    actions: tuple[str, ...] | None


@dataclass(frozen=True, eq=False)
class Tree:
    """A finished tree, which does not change.

    Attributes:
        step: number of the episode's step at its root, node 0.
        prior, visits, total: ``(nodes, actions)``, prior, visits and sum of returns of each action.
        value: ``(nodes,)`` values of the states.
        actions: the actions of each node; empty before it is expanded.
        outcomes: the outcome of each node.
        depth: number of actions from the root to each node.
        children: ``(node, action, outcome)`` -> node.
    """

    step: int
    prior: np.ndarray
    visits: np.ndarray
    total: np.ndarray
    value: np.ndarray
    actions: tuple[tuple[str, ...], ...]
    outcomes: tuple[Outcome, ...]
    depth: tuple[int, ...]
    children: dict[tuple[int, int, Outcome], int]

    def find(self, step: int, outcome: Outcome) -> int | None:
        """The node of a later step of the episode, or None. Of several, the one with the most visits.

        Equal state keys are equal states, so it does not matter by which actions the episode arrived.
        """
        depth = step - self.step
        found = [i for i, one in enumerate(self.outcomes) if self.depth[i] == depth and one == outcome]
        return max(found, key=lambda i: (int(self.visits[i].sum()), -i), default=None)


class Trees:
    """The trees of B searches, which grow by one node per simulation.

    Attributes:
        prior, total: float64 ``(B, nodes, actions)``; visits: int64, the same shape. Actions beyond those of a node
            have the prior -1.
        value: float64 ``(B, nodes)``.
        actions, outcomes, depth: for each tree, those of its nodes as in :class:`Tree`.
        children: for each tree, ``(node, action, outcome)`` -> node.
    """

    def __init__(self, trees: int) -> None:
        self.prior = np.full((trees, 1, 1), -1.0)
        self.visits = np.zeros((trees, 1, 1), np.int64)
        self.total = np.zeros((trees, 1, 1))
        self.value = np.zeros((trees, 1))
        self.actions: list[list[tuple[str, ...]]] = [[] for _ in range(trees)]
        self.outcomes: list[list[Outcome]] = [[] for _ in range(trees)]
        self.depth: list[list[int]] = [[] for _ in range(trees)]
        self.children: list[dict[tuple[int, int, Outcome], int]] = [{} for _ in range(trees)]

    def add(self, b: int, outcome: Outcome, value: float, parent: tuple[int, int] | None = None) -> int:
        """Add a node to tree b and return its index; ``parent`` is the node and the action before it."""
        node = len(self.actions[b])
        self._reserve(node + 1, 1)
        self.actions[b].append(())
        self.outcomes[b].append(outcome)
        self.depth[b].append(0 if parent is None else self.depth[b][parent[0]] + 1)
        self.value[b, node] = value
        if parent is not None:
            self.children[b][(*parent, outcome)] = node
        return node

    def expand(self, b: int, node: int, actions: tuple[str, ...], prior: np.ndarray) -> None:
        """Give a node of tree b its actions and their prior."""
        self._reserve(node + 1, len(actions))
        self.actions[b][node] = actions
        self.prior[b, node, : len(actions)] = prior

    def select(self, rows: np.ndarray, nodes: np.ndarray, c: float) -> np.ndarray:
        """The actions of the next step of n simulations: the index of the largest Q + U; ties are the first.

        Args:
            rows: ``(n,)`` trees.
            nodes: ``(n,)`` a node of each.
            c: the constant of exploration.

        Returns:
            int64 ``(n,)``.
        """
        prior, visits = self.prior[rows, nodes], self.visits[rows, nodes]
        q = self.total[rows, nodes] / np.maximum(visits, 1)
        q = np.where(visits > 0, q, self.value[rows, nodes][:, None])
        u = c * prior * np.sqrt(1 + visits.sum(axis=1))[:, None] / (1 + visits)
        return np.where(prior < 0, -np.inf, q + u).argmax(axis=1)

    def back_up(self, b: int, path: Sequence[tuple[int, int]], value: float) -> None:
        """Add the return of a simulation to the actions on its path ``[(node, action), ...]``."""
        for node, action in path:
            self.visits[b, node, action] += 1
            self.total[b, node, action] += value

    def extract(self, b: int, step: int) -> Tree:
        """Tree b, whose root is at this step of the episode."""
        n = len(self.actions[b])
        width = max(1, *map(len, self.actions[b]))
        part = (b, slice(n), slice(width))
        return Tree(
            step, self.prior[part].copy(), self.visits[part].copy(), self.total[part].copy(), self.value[b, :n].copy(),
            tuple(self.actions[b]), tuple(self.outcomes[b]), tuple(self.depth[b]), dict(self.children[b]),
        )  # fmt: skip

    def insert(self, b: int, tree: Tree, root: int) -> None:
        """Copy the part of ``tree`` below node ``root`` into the empty tree b."""
        below: dict[int, list[tuple[int, int]]] = {}
        for (above, action, _), child in tree.children.items():
            below.setdefault(above, []).append((action, child))
        waiting: list[tuple[int, tuple[int, int] | None]] = [(root, None)]
        while waiting:
            old, parent = waiting.pop(0)
            actions = tree.actions[old]
            n = len(actions)
            node = self.add(b, tree.outcomes[old], float(tree.value[old]), parent)
            if n:
                self.expand(b, node, actions, tree.prior[old, :n])
            self.visits[b, node, :n] = tree.visits[old, :n]
            self.total[b, node, :n] = tree.total[old, :n]
            waiting += [(child, (node, action)) for action, child in below.get(old, [])]

    def _reserve(self, nodes: int, actions: int) -> None:
        """Enlarge the arrays to at least this many nodes and actions."""
        b, n, a = self.prior.shape
        if nodes <= n and actions <= a:
            return
        n, a = (n if nodes <= n else max(nodes, 2 * n)), max(a, actions)
        fills: dict[str, Any] = {"prior": -1.0, "visits": 0, "total": 0.0}
        for name, fill in fills.items():
            old = getattr(self, name)
            new = np.full((b, n, a), fill, old.dtype)
            new[:, : old.shape[1], : old.shape[2]] = old
            setattr(self, name, new)
        value = np.zeros((b, n))
        value[:, : self.value.shape[1]] = self.value
        self.value = value
