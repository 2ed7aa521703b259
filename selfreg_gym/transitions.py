"""``TransitionModel``: what happens next, for every state and every choice of who acts.

An action is 0 (nohelp) or k (help from the k-th intervention). ``P[a][s, s']`` is the probability to go on to ``s'``,
``success[a, s]`` to end in success at this step; what both leave to 1 ends in failure. A model may be *levelled*: its
states are (node, steps left), its rows are stored once per node together with how far a transition moves the clock
(``drop``), and the time-expanded matrix is never stored. A flat model is the case of a single level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.condensation import Condensation, condense
from selfreg_gym.errors import InvalidArgumentError, ModelError

__all__ = ["Rows", "TransitionModel"]

ROUNDING = 1e-9
"""How far a row may exceed 1 before it is an error and not rounding."""


class Rows(NamedTuple):
    """The rows of one action in CSR form: ``indptr`` (N + 1,), and per entry ``indices``, ``data`` and ``drop``.

    ``drop`` is None in a flat model; else an entry leads from (s, h) to (s', h - drop), and to a failure where
    ``h - drop`` is below the first level.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    drop: np.ndarray | None = None


class TransitionModel:
    """Transition probabilities of an intervention problem, immutable.

    Args:
        P: one ``(n, n)`` matrix per action, SciPy sparse or dense; action 0 is nohelp.
        success: ``(A, n)``, the probability that this step ends the episode in success.
        start: ``(n,)``, where episodes begin; sums to 1.
        cost: ``(A,)`` or ``(A, n)`` expected cost units of one step; 0 for nohelp and 1 for help by default.
        keys: ``n`` hashable state keys without repetition, for ``locate`` and for messages; optional.
        available: ``(A, n)`` bool, which action may be taken where (nohelp everywhere); all by default.
        endless: ``"error"`` refuses a state from which no choice of actions leads to an end; ``"fail"`` takes it for
            what it is, a state from which there is no success, and no cost as long as nobody asks.

    Raises:
        ModelError: the arrays are no model; the message names the first state and action at fault.
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
        endless: str = "error",
    ) -> None:
        rows, n = _matrices(P)
        self._set(rows, n, 1, success, start, cost, keys, available, endless)

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
        endless: str = "error",
    ) -> TransitionModel:
        """Make a model over (node, steps left) without its time-expanded matrix.

        State (node, h), with h from 1 to ``levels``, has the index ``(h - 1) * N + node``. ``success``, ``cost``,
        ``available`` and ``keys`` are per node, N of them; ``start`` is ``(levels * N,)``. ``last_success`` (A, N)
        replaces ``success`` where one step is left, because a task may judge success when its time is up.

        Raises:
            ModelError: as in the constructor, or a negative ``drop``.
        """
        self = cls.__new__(cls)
        if levels < 1:
            raise ModelError(f"a levelled model has at least one level, received levels={levels!r}.")
        n = len(rows[0].indptr) - 1
        for a, row in enumerate(rows):
            if row.drop is None or len(row.drop) != len(row.data):
                raise ModelError(f"every entry of a levelled model has a drop: action {a} lacks them.")
            if len(row.drop) and int(row.drop.min()) < 0:
                node = int(np.searchsorted(row.indptr, int(np.argmin(row.drop)), side="right")) - 1
                raise ModelError(f"steps left never increase: node {node}, action {a} has a negative drop.")
        self._set(tuple(rows), n, int(levels), success, start, cost, keys, available, endless, last_success)
        return self

    def _set(
        self,
        rows: tuple[Rows, ...],
        n: int,
        levels: int,
        success: Any,
        start: Any,
        cost: Any,
        keys: Sequence[Hashable] | None,
        available: Any,
        endless: str,
        last_success: Any = None,
    ) -> None:
        """Check everything and keep it."""
        if endless not in ("error", "fail"):
            raise InvalidArgumentError(f"endless is 'error' or 'fail', received {endless!r}.")
        actions = len(rows)
        self.rows, self.nodes, self.levels = rows, n, levels
        self.keys = _checked_keys(keys, n)
        self.success = _array("success", success, (actions, n), self._name)
        self.last_success = (
            self.success if last_success is None else _array("last_success", last_success, (actions, n), self._name)
        )
        self.available = (
            np.ones((actions, n), bool) if available is None else np.array(np.broadcast_to(available, (actions, n)))
        )
        if self.available.dtype != bool or not self.available[0].all():
            raise ModelError("available is a bool (A, n) array, and nohelp (row 0) is available everywhere.")
        if cost is None:
            cost = np.r_[0.0, np.ones(actions - 1)]
        cost = np.asarray(cost, np.float64)
        if cost.ndim == 1 and len(cost) == actions:
            cost = np.repeat(cost[:, None], n, axis=1)
        self.cost = _array("cost", cost, (actions, n), self._name, highest=np.inf)
        if self.cost[0].any():
            state = self._name(int(np.flatnonzero(self.cost[0])[0]))
            raise ModelError(f"nohelp costs nothing: state {state} has cost {self.cost[0].max():g} under action 0.")
        self.start = _array("start", start, (n * levels,), self._name)
        if abs(float(self.start.sum()) - 1) > 1e-6:
            raise ModelError(f"start is a distribution over states: it sums to {float(self.start.sum()):g}, not to 1.")
        self._check_rows()
        for array in (self.success, self.last_success, self.available, self.cost, self.start):
            array.flags.writeable = False
        self.fitted: Any = None
        self.cache: dict[Hashable, Any] = {}
        if endless == "error":
            self._check_ends()

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of states: nodes times levels."""
        return self.nodes * self.levels

    @property
    def actions(self) -> int:
        """Number of actions A = 1 + K."""
        return len(self.rows)

    @property
    def P(self) -> tuple[Any, ...]:
        """One sparse ``(n, n)`` matrix per action; of a levelled model the time-expanded ones, made on request."""
        from scipy import sparse

        if self.levels == 1 and all(row.drop is None for row in self.rows):
            shape = (self.nodes, self.nodes)
            return tuple(sparse.csr_array((row.data, row.indices, row.indptr), shape=shape) for row in self.rows)
        out = []
        for row in self.rows:
            tails, drop = _tails(row), row.drop if row.drop is not None else np.zeros(len(row.data), np.int64)
            parts = []
            for level in range(self.levels):
                inside = level - drop >= 0
                heads = row.indices[inside] + (level - drop[inside]) * self.nodes
                parts.append((row.data[inside], level * self.nodes + tails[inside], heads))
            data, tail, head = (np.concatenate(column) for column in zip(*parts, strict=True))
            out.append(sparse.csr_array((data, (tail, head)), shape=(self.n, self.n)))
        return tuple(out)

    def flat(self) -> TransitionModel:
        """Return the same model with its steps left written out as states, for other solvers and for checks."""
        success, cost, available = (
            np.tile(array, (1, self.levels)) for array in (self.success, self.cost, self.available)
        )
        success[:, : self.nodes] = self.last_success
        return TransitionModel(self.P, success, self.start, cost, available=available, endless="fail")

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
        return condense(self.nodes, edges)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every number of the model: two models with the same fingerprint have the same solutions."""
        digest = hashlib.sha256(f"{self.nodes} {self.levels}".encode())
        for row in self.rows:
            for array in row:
                if array is not None:
                    digest.update(np.ascontiguousarray(array).astype(np.float64).tobytes())
        for array in (self.success, self.last_success, self.cost, self.start, self.available):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        entries = sum(len(row.data) for row in self.rows)
        levels = f" = {self.nodes} nodes x {self.levels} steps left" if self.levels > 1 else ""
        return f"TransitionModel({self.n} states{levels}, {self.actions} actions, {entries} transitions)"

    # -- from data -----------------------------------------------------------------------------------------------

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
    ) -> TransitionModel:
        """Estimate a model from episodes; see :func:`selfreg_gym.fitting.fit` for the estimate and every argument."""
        from selfreg_gym.fitting import fit

        return fit(episodes, key=key, backoff=backoff, prior=prior, min_visits=min_visits, horizon=horizon)

    @property
    def counts(self) -> np.ndarray:
        """``(A, N)`` visits behind each row of a fitted model.

        Raises:
            ModelError: the model was given, not fitted.
        """
        return self._fit().counts

    def coverage(self) -> dict[str, float]:
        """How well the data behind a fitted model cover it; see :func:`selfreg_gym.coverage.coverage`."""
        return dict(self._fit().coverage)

    def _fit(self) -> Any:
        if self.fitted is None:
            raise ModelError("this model was given, not fitted, so it has no counts: use TransitionModel.fit.")
        return self.fitted

    # -- finding a state -----------------------------------------------------------------------------------------

    @cached_property
    def _index(self) -> tuple[dict[Hashable, int], dict[Hashable, int]]:
        """Node of each state key, and of each feature key."""
        if self.fitted is not None:
            states = {key: i for i, key in enumerate(self.keys or ()) if not self.fitted.is_feature[i]}
            features = {key: i for i, key in enumerate(self.keys or ()) if self.fitted.is_feature[i]}
            return states, features
        return {key: i for i, key in enumerate(self.keys or ())}, {}

    def locate(self, state_key: Hashable, feature_key: Hashable = None, steps_left: int | None = None) -> int:
        """Return the index of a state: by its key, else by its feature key, else -1.

        ``steps_left`` outside the levels of the model goes to the nearest one; None to the highest.
        """
        states, features = self._index
        node = states.get(state_key, -1)
        if node < 0 and feature_key is not None:
            node = features.get(feature_key, -1)
        if node < 0 or self.levels == 1:
            return node
        level = self.levels if steps_left is None else min(max(int(steps_left), 1), self.levels)
        return (level - 1) * self.nodes + node

    def locate_many(
        self,
        state_keys: Iterable[Hashable],
        feature_keys: Iterable[Hashable] | None = None,
        steps_left: Iterable[int | None] | None = None,
    ) -> np.ndarray:
        """Return ``locate`` of N states as ``(N,)`` int64."""
        state_keys = list(state_keys)
        none = [None] * len(state_keys)
        feature_keys = none if feature_keys is None else feature_keys
        steps_left = none if steps_left is None else steps_left
        triples = zip(state_keys, feature_keys, steps_left, strict=True)
        return np.fromiter((self.locate(*triple) for triple in triples), np.int64, count=len(state_keys))

    def describe(self, index: int) -> str:
        """Return a state's name for messages and tables."""
        name = self._name(index % self.nodes)
        return name if self.levels == 1 else f"{name} with {index // self.nodes + 1} steps left"

    def _name(self, node: int) -> str:
        return f"{node} ({self.keys[node]!r})" if self.keys is not None and node < self.nodes else str(node)

    # -- on disk -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the model to one ``.npz`` file without pickles; see :mod:`selfreg_gym.model_files`."""
        from selfreg_gym.model_files import save_model

        save_model(self, path)

    @staticmethod
    def load(path: str | Path) -> TransitionModel:
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: the file is missing, damaged, or something else.
        """
        from selfreg_gym.model_files import load_model

        return load_model(path)

    # -- checks --------------------------------------------------------------------------------------------------

    def _check_rows(self) -> None:
        """Every row of P and success together holds probabilities that sum to at most 1."""
        for a, row in enumerate(self.rows):
            bad = np.flatnonzero(~(np.isfinite(row.data) & (row.data >= 0)))
            if len(bad):
                node = int(np.searchsorted(row.indptr, bad[0], side="right")) - 1
                raise ModelError(
                    f"probabilities are numbers >= 0: state {self._name(node)}, action {a}, goes to state "
                    f"{self._name(int(row.indices[bad[0]]))} with probability {float(row.data[bad[0]])!r}."
                )
            total = _row_sums(row) + self.success[a]
            if row.drop is not None and self.last_success is not self.success:
                stays = row._replace(data=np.where(row.drop == 0, row.data, 0.0))
                total = np.maximum(total, _row_sums(stays) + self.last_success[a])
            worst = int(np.argmax(total)) if len(total) else 0
            if len(total) and total[worst] > 1 + ROUNDING:
                raise ModelError(
                    f"a row of P and its success sum to at most 1 (the rest is failure): state {self._name(worst)}, "
                    f"action {a}, sums to {float(total[worst])!r}."
                )

    def _check_ends(self) -> None:
        """From every state some choice of actions leads to an end; cheap unless the graph has cycles."""
        order = self.condensation
        if order.is_acyclic:
            return
        ends = np.zeros(self.nodes, bool)
        for a, row in enumerate(self.rows):
            leaves = (1 - _row_sums(row) > ROUNDING) | (self.success[a] > 0)
            if row.drop is not None:  # every step of the clock leads towards the end
                leaves |= np.bincount(_tails(row), weights=(row.drop > 0) & (row.data > 0), minlength=self.nodes) > 0
            ends |= leaves & self.available[a]
        from scipy import sparse

        heads = np.concatenate([row.indices for row in self.rows])
        tails = np.concatenate([_tails(row) for row in self.rows])
        usable = np.concatenate([self.available[a][_tails(row)] & (row.data > 0) for a, row in enumerate(self.rows)])
        into = sparse.csr_array(
            (np.ones(int(usable.sum()), np.float32), (heads[usable], tails[usable])), shape=(self.nodes, self.nodes)
        )
        from scipy.sparse.csgraph import breadth_first_order

        extra = sparse.csr_array(ends[None, :].astype(np.float32))
        graph = sparse.csr_array(
            sparse.block_array([[into, None], [extra, sparse.csr_array((1, 1), dtype=np.float32)]])
        )
        reached = np.zeros(self.nodes + 1, bool)
        reached[breadth_first_order(graph, self.nodes, return_predecessors=False)] = True
        if not reached.all():
            state = self._name(int(np.flatnonzero(~reached)[0]))
            raise ModelError(
                f"every state must be able to reach an end: from state {state} no action ever leads to one "
                f"({int((~reached).sum())} such states). Give it an exit, or pass endless='fail'."
            )


def _matrices(P: Sequence[Any]) -> tuple[tuple[Rows, ...], int]:
    """Return the rows of square matrices of one size, without a copy where they are CSR already."""
    from scipy import sparse

    if len(P) < 1:
        raise ModelError("P holds one (n, n) matrix per action, nohelp first; received none.")
    rows = []
    shape = np.shape(P[0])
    for a, matrix in enumerate(P):
        if np.ndim(matrix) != 2 or np.shape(matrix) != shape or shape[0] != shape[1]:
            raise ModelError(
                f"P holds one (n, n) matrix per action: action {a} has shape {np.shape(matrix)}, action 0 has {shape}."
            )
        csr = sparse.csr_array(matrix) if not sparse.issparse(matrix) or matrix.format != "csr" else matrix
        data = np.asarray(csr.data, np.float64)
        if not data.all():
            csr = csr.copy()
            csr.eliminate_zeros()
            data = np.asarray(csr.data, np.float64)
        indices = csr.indices.astype(np.int32, copy=False)
        rows.append(Rows(np.asarray(csr.indptr), indices, data))
    if shape[0] < 1:
        raise ModelError("a model has at least one state, received P of shape (0, 0).")
    return tuple(rows), int(shape[0])


def _array(what: str, value: Any, shape: tuple[int, ...], name: Any, highest: float = 1.0) -> np.ndarray:
    """Return a private float64 copy of ``value``, whose entries must lie between 0 and ``highest``."""
    array = np.array(value, np.float64)
    if array.shape != shape:
        raise ModelError(f"{what} has shape {shape}, received {array.shape}.")
    bad = np.argwhere(~(np.isfinite(array) & (array >= 0) & (array <= highest + ROUNDING)))
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        where = f"state {name(first[-1])}" + (f", action {first[0]}" if len(first) > 1 else "")
        limit = " <= 1" if np.isfinite(highest) else ""
        raise ModelError(f"{what} holds finite numbers >= 0{limit}: {where} has {float(array[first])!r}.")
    return array


def _checked_keys(keys: Sequence[Hashable] | None, n: int) -> tuple[Hashable, ...] | None:
    """Return the keys, which must be ``n`` different ones."""
    if keys is None:
        return None
    keys = tuple(keys)
    if len(keys) != n:
        raise ModelError(f"keys names every state once: {n} states, received {len(keys)} keys.")
    if len(set(keys)) < n:
        seen: dict[Hashable, int] = {}
        for i, key in enumerate(keys):
            if key in seen:
                raise ModelError(f"keys are all different: {key!r} names state {seen[key]} and state {i}.")
            seen[key] = i
    return keys


def _tails(row: Rows) -> np.ndarray:
    """Return the node that each entry starts from."""
    return np.repeat(np.arange(len(row.indptr) - 1), np.diff(row.indptr))


def _row_sums(row: Rows) -> np.ndarray:
    """Return ``(N,)`` sums of each row."""
    return np.bincount(_tails(row), weights=row.data, minlength=len(row.indptr) - 1)
