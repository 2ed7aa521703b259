"""``TransitionModel``: the transition probabilities P(s' | s, a) and the probabilities of success of each step.

Action 0 is nohelp, action k is help from the k-th intervention. For action ``a`` in state ``s``

    P[a][s, s']     probability that the episode continues in s'
    success[a, s]   probability that this step ends the episode in success
    1 - sum over s' of P[a][s, s'] - success[a, s]   probability that it ends in failure

This is a stochastic shortest path problem (Bertsekas, *Dynamic Programming and Optimal Control*, vol. 2, ch. 3) with
two kinds of ends.

A call of several steps is *unrolled*: its first step leads to nodes in which it goes on, and where the only action, 0,
is that the intervention acts again, at its cost. So the choice is that of the semi-Markov problem whose options are the
calls (Sutton, Precup and Singh 1999), and time limits and costs per step are exact.

The states of a *levelled* model are pairs (node, steps left). Its rows are stored once per node, with the number of
steps that each transition takes from the clock (``drop``); the time-expanded matrix is not stored. A flat model has one
level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, ModelError
from selfreg_gym.transitions.condensation import Condensation, condense, shapes
from selfreg_gym.transitions.description import Fitted
from selfreg_gym.transitions.expansion import expanded_matrices
from selfreg_gym.transitions.rows import (
    ROUNDING,
    Rows,
    check_drops,
    check_ends,
    check_rows,
    checked_array,
    checked_calling,
    checked_cost,
    checked_keys,
    checked_start,
    matrices_to_rows,
    rescaled,
    tolerance,
)
from selfreg_gym.transitions.state_index import StateIndex

if TYPE_CHECKING:
    from selfreg_gym.types import Episode

__all__ = ["Fitted", "Rows", "TransitionModel"]

HELP_PROBABILITIES = tuple(i / 10 for i in range(11))
"""Probabilities of random help of sampled episodes, as in a collection."""

_DERIVED = ("condensation", "fingerprint", "index", "cache")


class TransitionModel:
    """Transition probabilities of an intervention problem, immutable.

    Args:
        P: one ``(n, n)`` matrix per action, SciPy sparse or dense; action 0 is nohelp.
        success: ``(A, n)``, the probability that this step ends the episode in success.
        start: ``(n,)``, the distribution of the first state; sums to 1.
        cost: ``(A,)`` or ``(A, n)`` expected cost units of one step; 0 for nohelp and 1 for help by default.
        keys: ``n`` hashable state keys without repetition, for ``locate`` and for messages; optional.
        available: ``(A, n)`` bool, the actions that may be taken in each state (nohelp always); all by default.
        calling: ``(N,)``, k at nodes in which a call of the k-th intervention goes on, else 0; by default 0 everywhere.
        endless: ``"error"`` raises for a state from which no choice of actions leads to an end; ``"fail"`` accepts it
            as a state without success, and without cost as long as no help is asked for.

    Raises:
        ModelError: the arrays do not form a model; the message names the first invalid state and action.
    """

    def __init__(
        self,
        P: Sequence[Any],
        success: Any,
        start: Any,
        cost: Any = None,
        keys: Sequence[Hashable] | None = None,
        *,
        available: Any = None,
        calling: Any = None,
        endless: str = "error",
    ) -> None:
        rows, n, coarse = matrices_to_rows(P)
        self._set(rows, n, 1, success, start, cost, keys, available, endless, coarse=coarse, calling=calling)

    @classmethod
    def levelled(
        cls,
        rows: Sequence[Rows],
        levels: int,
        success: Any,
        start: Any,
        cost: Any = None,
        keys: Sequence[Hashable] | None = None,
        *,
        available: Any = None,
        last_success: Any = None,
        calling: Any = None,
        endless: str = "error",
    ) -> TransitionModel:
        """Make a model over (node, steps left), from rows per node.

        State (node, h), with h from 1 to ``levels``, has the index ``(h - 1) * N + node``. ``success``, ``cost``,
        ``available``, ``calling`` and ``keys`` are per node, N of them; ``start`` is ``(levels * N,)``.
        ``last_success`` (A, N) replaces ``success`` with one step left: a task may determine success at its time limit.

        Raises:
            ModelError: as in the constructor, or a negative ``drop``.
        """
        self = cls.__new__(cls)
        if levels < 1:
            raise ModelError(f"levels must be at least 1, received {levels!r}.")
        n = len(rows[0].indptr) - 1
        check_drops(rows)
        longest = [int(np.diff(row.indptr).max(initial=0)) for row in rows]
        coarse = [tolerance(row.data, entries=most) for row, most in zip(rows, longest, strict=True)]
        rows = [row._replace(data=np.asarray(row.data, np.float64)) for row in rows]
        self._set(
            tuple(rows), n, int(levels), success, start, cost, keys, available, endless, last_success, coarse, calling
        )
        return self

    def _set(
        self, rows: tuple[Rows, ...], n: int, levels: int, success: Any, start: Any, cost: Any,
        keys: Sequence[Hashable] | None, available: Any, endless: str, last_success: Any = None,
        coarse: Sequence[float] = (ROUNDING,), calling: Any = None,
    ) -> None:  # fmt: skip
        """Validate and store the arrays; ``coarse`` has the rounding tolerance of each action's dtype."""
        if endless not in ("error", "fail"):
            raise InvalidArgumentError(f"endless must be 'error' or 'fail', received {endless!r}.")
        actions = len(rows)
        self.nodes, self.levels = n, levels
        self.keys = checked_keys(keys, n)
        self.success = checked_array("success", success, (actions, n), self._name)
        coarse = [max(one, tolerance(success)) for one in coarse] if len(coarse) == actions else [ROUNDING] * actions
        rows, self.success = rescaled(rows, self.success, coarse)
        self.rows = rows
        self.last_success = self.success
        if last_success is not None:
            self.last_success = checked_array("last_success", last_success, (actions, n), self._name)
        self.available = np.array(np.broadcast_to(True if available is None else available, (actions, n)))
        if self.available.dtype != bool or not self.available[0].all():
            raise ModelError("available must be a bool (A, n) array with nohelp (row 0) available everywhere.")
        self.calling = checked_calling(calling, self.available)
        self.cost = checked_cost(cost, self.calling, actions, self._name)
        self.start = checked_start(start, n * levels, self._name)
        check_rows(rows, self.success, self.last_success, self._name, max(coarse))
        for array in (self.success, self.last_success, self.available, self.cost, self.start, self.calling):
            array.flags.writeable = False
        self.fitted: Fitted | None = None
        self.cache: dict[Hashable, Any] = {}
        if endless == "error" and not self.condensation.is_acyclic:
            check_ends(rows, self.success, self.available, self._name)
        self._complete = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "_complete" in self.__dict__:
            raise AttributeError(
                f"a TransitionModel is immutable, and {name!r} was assigned: make another model, or use with_outcomes."
            )
        super().__setattr__(name, value)

    @property
    def n(self) -> int:
        """Number of states: nodes times levels."""
        return self.nodes * self.levels

    @property
    def actions(self) -> int:
        """Number of actions A = 1 + K."""
        return len(self.rows)

    @property
    def charged(self) -> np.ndarray:
        """``(A, N)`` int64, the intervention that the cost of each action counts for; 0 where there is none."""
        helped = np.repeat(np.arange(1, self.actions)[:, None], self.nodes, axis=1)
        return np.concatenate([self.calling[None], helped])

    @property
    def P(self) -> tuple[Any, ...]:
        """One sparse ``(n, n)`` matrix per action; time-expanded, and built on request, for a levelled model."""
        return expanded_matrices(self.rows, self.nodes, self.levels)

    def flat(self) -> TransitionModel:
        """Return the time-expanded model without levels, for other solvers and for tests."""
        outcomes = self.success, self.cost, self.available
        success, cost, available = (np.tile(array, (1, self.levels)) for array in outcomes)
        success[:, : self.nodes] = self.last_success
        more: Any = {"available": available, "calling": np.tile(self.calling, self.levels)}
        return TransitionModel(self.P, success, self.start, cost, **more, endless="fail")

    @cached_property
    def condensation(self) -> Condensation:
        """The order of solution over the nodes of one level."""
        edges = []
        for row in self.rows:
            if row.drop is None:
                edges.append((row.indptr, row.indices))
                continue
            stays = row.drop == 0
            indptr = np.concatenate(([0], np.cumsum(stays)))[row.indptr]
            edges.append((indptr, row.indices[stays]))
        return condense(self.nodes, edges, shape=shapes([np.diff(row.indptr) for row in self.rows]))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all numbers of the model: models with equal fingerprints have equal solutions."""
        digest = hashlib.sha256(f"{self.nodes} {self.levels}".encode())
        for row in self.rows:
            for array in row:
                if array is not None:
                    digest.update(np.ascontiguousarray(array).astype(np.float64).tobytes())
        for array in (self.success, self.last_success, self.cost, self.start, self.available):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(self.calling.tobytes() if self.calling.any() else b"")
        return digest.hexdigest()

    def with_outcomes(
        self, success: np.ndarray, last_success: np.ndarray, cost: np.ndarray, available: np.ndarray
    ) -> TransitionModel:
        """Return a copy with the same transitions and other outcomes of its actions.

        Args:
            success: ``(A, N)`` probability that the step ends in success.
            last_success: ``(A, N)`` the same with one step left.
            cost: ``(A, N)`` cost units.
            available: ``(A, N)`` bool, whether the action is possible.

        Raises:
            ModelError: a row whose probabilities sum to more than 1.
        """
        same = last_success is success or self.last_success is self.success
        last = success if same else last_success
        check_rows(self.rows, success, last, self._name)
        other = self._replaced(success=success, last_success=last, cost=cost, available=available)
        other.__dict__["condensation"] = self.condensation
        return other

    def fitted_to(self, fitted: Fitted, keys: Sequence[Hashable]) -> TransitionModel:
        """Return a copy with the keys of its nodes and a description of the data that it was fitted to."""
        return self._replaced(fitted=fitted, keys=tuple(keys))

    def _replaced(self, **attributes: Any) -> TransitionModel:
        other = TransitionModel.__new__(TransitionModel)
        other.__dict__.update(self.__getstate__() | attributes)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Leave out derived attributes, because models are sent to worker processes."""
        return {name: value for name, value in self.__dict__.items() if name not in _DERIVED} | {"cache": {}}

    def __repr__(self) -> str:
        entries = sum(len(row.data) for row in self.rows)
        levels = f" = {self.nodes} nodes x {self.levels} steps left" if self.levels > 1 else ""
        return f"TransitionModel({self.n} states{levels}, {self.actions} actions, {entries} transitions)"

    @classmethod
    def fit(
        cls,
        episodes: Any,
        *,
        key: str = "state",
        backoff: str | None = "feature",
        prior: float | str = "auto",
        min_visits: int = 3,
        horizon: int | bool | None = True,
        time_buckets: int | None = None,
    ) -> TransitionModel:
        """Estimate a model from episodes; :func:`selfreg_gym.transitions.fitting.fit` documents the arguments."""
        from selfreg_gym.transitions.fitting import fit

        return fit(
            episodes, key=key, backoff=backoff, prior=prior, min_visits=min_visits, horizon=horizon,
            time_buckets=time_buckets,
        )  # fmt: skip

    def sample(
        self, episodes: int, *, help_probabilities: Sequence[float] = HELP_PROBABILITIES,
        help_shares: Sequence[float] | None = None, seed: int = 0,
        horizon: int | None = None,
    ) -> list[Episode]:  # fmt: skip
        """Sample episodes with random help; :func:`selfreg_gym.transitions.sampling.sample` documents the arguments."""
        from selfreg_gym.transitions.sampling import sample

        return sample(
            self, episodes, help_probabilities=help_probabilities, help_shares=help_shares, seed=seed, horizon=horizon
        )

    @property
    def counts(self) -> np.ndarray:
        """``(A, N)`` visits of each row of a fitted model.

        Raises:
            ModelError: the model was built from arrays, not fitted.
        """
        return self._fit().counts

    def coverage(self) -> dict[str, float]:
        """Coverage of a fitted model by its data; see :func:`selfreg_gym.transitions.nodes.coverage`."""
        return dict(self._fit().coverage)

    def _fit(self) -> Fitted:
        if self.fitted is None:
            raise ModelError("a model built from arrays, not fitted, has no counts: use TransitionModel.fit.")
        return self.fitted

    @cached_property
    def index(self) -> StateIndex:
        """The states by their keys."""
        return StateIndex(self.keys or (), self.fitted, self.levels)

    def locate(self, state_key: Hashable, feature_key: Hashable = None, steps_left: int | None = None) -> int:
        """Return the index of a state, by its key, else by its feature key; -1 if both are unknown.

        Args:
            state_key: key of the state.
            feature_key: its feature key, or None.
            steps_left: steps left in the state, or None.

        A flat model can have keys with steps left (:func:`selfreg_gym.transitions.state_index.timed_key`). In others,
        ``steps_left`` outside the levels (or the buckets) of the model is set to the nearest one, None to the highest.
        """
        return self.index.locate(state_key, feature_key, steps_left)

    def locate_many(
        self,
        state_keys: Iterable[Hashable],
        feature_keys: Iterable[Hashable] | None = None,
        steps_left: Iterable[int | None] | None = None,
    ) -> np.ndarray:
        """Return the indices of N states as ``(N,)`` int64; see :meth:`locate`."""
        state_keys = list(state_keys)
        none = [None] * len(state_keys)
        feature_keys = none if feature_keys is None else feature_keys
        triples = zip(state_keys, feature_keys, none if steps_left is None else steps_left, strict=True)
        return np.fromiter((self.locate(*triple) for triple in triples), np.int64, count=len(state_keys))

    def describe(self, index: int) -> str:
        """Return a state's name for messages and tables."""
        name = self._name(index % self.nodes)
        return name if self.levels == 1 else f"{name} with {index // self.nodes + 1} steps left"

    def _name(self, node: int) -> str:
        return f"{node} ({self.keys[node]!r})" if self.keys is not None and node < self.nodes else str(node)

    def save(self, path: str | Path) -> None:
        """Write the model to one ``.npz`` file without pickles; see :mod:`selfreg_gym.transitions.files`."""
        from selfreg_gym.transitions.files import save_model

        save_model(self, path)

    @staticmethod
    def load(path: str | Path) -> TransitionModel:
        """Read a file of ``save``.

        Raises:
            CheckpointError: the file is missing, damaged, or of another format.
        """
        from selfreg_gym.transitions.files import load_model

        return load_model(path)
