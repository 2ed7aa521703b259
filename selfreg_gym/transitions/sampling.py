"""Episodes sampled from a transition model under random help, to test estimators where the true values are known.

The steps of all episodes are drawn together. The outcome of an action comes from one uniform number, by inversion of
the distribution function of its row. Help is drawn as in a collection (:mod:`selfreg_gym.playing.random_help`): with
the episode's probability p at each step, from one of the K interventions. Where the drawn help is not available, the
actor acts. Each step has the probabilities of its actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, ModelError
from selfreg_gym.playing.random_help import RandomHelp, checked_shares
from selfreg_gym.transitions.model import HELP_PROBABILITIES, TransitionModel
from selfreg_gym.types import Episode, Transition
from selfreg_gym.utils.arguments import check_count, check_numbers

__all__ = ["sample"]

LONGEST = 3_000
"""Largest number of steps of an episode without a time limit."""

SUCCESS, FAILURE = -1, -2


def sample(
    model: TransitionModel,
    episodes: int,
    *,
    help_probabilities: Sequence[float] = HELP_PROBABILITIES,
    help_shares: Sequence[float] | None = None,
    seed: int = 0,
    horizon: int | None = None,
) -> list[Episode]:
    """Sample episodes with random help.

    A start state is a task: ``task_index`` is the index of the start state and ``task_id`` its name. ``state_key`` and
    ``observation`` are the key of the node (its number if the model has no keys). A fitted model gives ``feature_key``.
    A model over steps left gives ``steps_left``.

    Args:
        model: the model.
        episodes: number of episodes, at least 1.
        help_probabilities: probabilities p of help at each step; the episodes take them in turn.
        help_shares: ``(K,)`` the share of each intervention in the help; None: equal shares.
        seed: seed of all draws.
        horizon: for a model without steps left: the largest number of steps. Such episodes report ``steps_left``, and
            one that reaches the limit is truncated and fails. None: no limit.

    Raises:
        InvalidArgumentError: an argument out of range, or ``horizon`` for a model over steps left.
        ModelError: an episode without a time limit does not end.
    """
    count, seed = check_count("episodes", episodes), check_count("seed", seed, low=0)
    probabilities = check_numbers("help_probabilities", help_probabilities)
    help = RandomHelp(model.actions - 1, checked_shares(help_shares, model.actions - 1))
    if horizon is not None:
        horizon = check_count("horizon", horizon)
        if model.levels > 1:
            raise InvalidArgumentError(
                f"a model over steps left has a time limit already ({model.levels} steps), received horizon={horizon}: "
                "leave it out."
            )
    rng = np.random.default_rng(seed)
    chance = np.array(probabilities)[np.arange(count) % len(probabilities)]
    start = np.searchsorted(np.cumsum(model.start), rng.random(count) * model.start.sum(), side="right")
    start = np.minimum(start, np.flatnonzero(model.start)[-1])
    steps: list[list[Transition]] = [[] for _ in range(count)]
    wins = np.zeros(count, bool)
    usage = np.zeros((count, model.actions - 1))
    draw, names = _Outcomes(model), _Names(model)
    alive, state = np.arange(count), start
    for t in range(horizon or LONGEST):
        node, level = state % model.nodes, state // model.nodes
        action = _actions(rng, model, help, chance[alive], node)
        following = draw.following(action, node, level, rng.random(len(alive)))
        over = following < 0
        cost = model.cost[action, node]
        cut = following == FAILURE if model.levels > 1 else np.zeros(len(alive), bool)
        cut &= level == 0
        if horizon is not None and t + 1 == horizon:
            cut, over = ~over, np.ones(len(alive), bool)
        left = level + 1 if model.levels > 1 else np.full(len(alive), -1 if horizon is None else horizon - t)
        calling = model.calling[node]
        action = np.where(calling > 0, calling, action)  # the call goes on
        helped = np.flatnonzero(action)
        usage[alive[helped], action[helped] - 1] += cost[helped]
        chances = _propensities(model, help, chance[alive], node)
        for i in np.flatnonzero(calling).tolist():
            chances[i] = tuple(float(a == calling[i]) for a in range(model.actions))
        columns = alive, node, left, action, cost, following == SUCCESS, over & ~cut, cut, calling > 0
        lists = (column.tolist() for column in columns)
        for i, s, h, a, c, won, ended, truncated, continues, p in zip(*lists, chances, strict=True):
            steps[i].append(
                Transition(
                    t=t, observation=names.state[s], admissible_actions=None, state_key=names.state[s],
                    feature_key=names.feature[s], steps_left=None if h < 0 else h, action=a, action_text="", cost=c,
                    reward=float(won), terminated=ended, truncated=truncated, invalid=False,
                    continuation=continues, propensities=p,
                )
            )  # fmt: skip
        wins[alive] = following == SUCCESS
        alive, state = alive[~over], following[~over]
        if not len(alive):
            break
    if len(alive):
        raise ModelError(
            f"every episode must end: {len(alive)} of {count} last longer than {LONGEST} steps; pass horizon=T to cut "
            "episodes after T steps."
        )
    return [
        Episode(
            task_index=first, seed=i, task_id=names.state[first % model.nodes], kind="", help_probability=p,
            success=won, usage=tuple(spent), steps=tuple(steps[i]),
        )
        for i, (first, p, won, spent) in enumerate(
            zip(start.tolist(), chance.tolist(), wins.tolist(), usage.tolist(), strict=True)
        )
    ]  # fmt: skip


class _Names:
    """The state key and the feature key of each node."""

    def __init__(self, model: TransitionModel) -> None:
        keys = range(model.nodes) if model.keys is None else model.keys
        self.state = [str(key) for key in keys]
        self.feature: list[str | None] = [None] * model.nodes
        if model.fitted is not None:
            of, own = model.fitted.feature_of_node.tolist(), model.fitted.is_feature.tolist()
            self.feature = [
                self.state[i] if own[i] else None if of[i] < 0 else self.state[of[i]] for i in range(model.nodes)
            ]


class _Outcomes:
    """The distributions of the next state, as cumulative sums over all rows of an action."""

    def __init__(self, model: TransitionModel) -> None:
        self.model = model
        self.sums = [_sums(row.data) for row in model.rows]
        # With one step left, transitions that take steps end the episode, and success has another probability.
        self.last_sums = [
            sums if row.drop is None else _sums(np.where(row.drop == 0, row.data, 0.0))
            for row, sums in zip(model.rows, self.sums, strict=True)
        ]

    def following(self, action: np.ndarray, node: np.ndarray, level: np.ndarray, u: np.ndarray) -> np.ndarray:
        """``(n,)`` the next state, ``SUCCESS`` or ``FAILURE``; ``level`` is steps left minus 1, ``u`` uniform."""
        out = np.full(len(node), FAILURE, np.int64)
        for a in range(self.model.actions):
            for last in (False, True) if self.model.levels > 1 else (False,):
                mine = np.flatnonzero((action == a) & ((level == 0) == last if self.model.levels > 1 else True))
                if len(mine):
                    out[mine] = self._of_row(a, node[mine], level[mine], u[mine], last)
        return out

    def _of_row(self, a: int, node: np.ndarray, level: np.ndarray, u: np.ndarray, last: bool) -> np.ndarray:
        row, sums = self.model.rows[a], (self.last_sums if last else self.sums)[a]
        wins = (self.model.last_success if last else self.model.success)[a, node]
        begin, end = row.indptr[node], row.indptr[node + 1]
        place = u - wins
        moves = (place >= 0) & (place < sums[end] - sums[begin])
        at = np.searchsorted(sums, sums[begin] + np.maximum(place, 0.0), side="right") - 1
        at = np.minimum(at, np.maximum(end - 1, begin))[moves]
        head = row.indices[at].astype(np.int64)
        if row.drop is not None:
            left = level[moves] - row.drop[at]
            head = np.where(left >= 0, left * self.model.nodes + head, FAILURE)
        out = np.where(place < 0, SUCCESS, FAILURE)
        out[moves] = head
        return out


def _sums(data: np.ndarray) -> np.ndarray:
    return np.concatenate(([0.0], np.cumsum(data)))


def _actions(
    rng: np.random.Generator, model: TransitionModel, help: RandomHelp, chance: np.ndarray, node: np.ndarray
) -> np.ndarray:
    """Draw help with probability ``chance``, from one of the interventions; nohelp where it is not available."""
    whether, whom = rng.random((2, len(node)))
    action = np.zeros(len(node), np.int64)
    if help.interventions:
        chosen = 1 + (whom * help.interventions).astype(np.int64)
        if help.shares is not None:
            edges = np.cumsum(help.shares)
            chosen = 1 + np.searchsorted(edges / edges[-1], whom, side="right")
        action = np.where(whether < chance, chosen, 0)
    return np.where(model.available[action, node], action, 0)


def _propensities(
    model: TransitionModel, help: RandomHelp, chance: np.ndarray, node: np.ndarray
) -> list[tuple[float, ...]]:
    """``(n, 1 + K)`` probabilities of the actions."""
    found: dict[tuple[float, tuple[bool, ...]], tuple[float, ...]] = {}
    rows = []
    for p, allowed in zip(chance.tolist(), model.available[:, node].T.tolist(), strict=True):
        key = p, tuple(allowed)
        if key not in found:
            found[key] = help.propensities(p, None if all(allowed) else allowed)
        rows.append(found[key])
    return rows
