"""Hand-written episodes and small models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from selfreg_gym.transitions import Rows, TransitionModel
from selfreg_gym.types import Episode, Transition


def make_step(t, state, action, *, feature=None, left=None, done=False, truncated=False, cost=None) -> Transition:
    cost = float(action) if cost is None else cost
    return Transition(
        t=t, observation=f"you see {state}", admissible_actions=None, state_key=state, feature_key=feature,
        steps_left=left, action=action, action_text="x", cost=cost, reward=0.0, terminated=done, truncated=truncated,
        invalid=False,
    )  # fmt: skip


def make_episode(steps, success=False, *, error=None, number=0) -> Episode:
    usage = (sum(s.cost for s in steps),)
    return Episode(number, 0, f"task-{number}", "", 0.5, success, usage, tuple(steps), error)


def make_chain(**changes) -> TransitionModel:
    """hall -> kitchen -> end; help at either ends in success with 0.9."""
    move = np.array([[0.0, 0.5], [0.0, 0.0]])
    arguments = {
        "P": [move, np.zeros((2, 2))],
        "success": [[0.0, 0.3], [0.9, 0.9]],
        "start": [1.0, 0.0],
        "keys": ["hall", "kitchen"],
    }
    return TransitionModel(**{**arguments, **changes})


def make_levelled(rng: np.random.Generator, nodes: int, levels: int, **options) -> TransitionModel:
    """Random nodes with drops of 0, 1 or 2, so that levels have cycles."""
    rows = []
    success, last = rng.random((2, nodes)) * 0.2, rng.random((2, nodes)) * 0.5
    for _ in range(2):
        head = rng.integers(nodes, size=(nodes, 4)).astype(np.int32)
        weight = rng.dirichlet(np.ones(5), size=nodes)[:, :4] * 0.6
        drop = rng.choice([0, 1, 1, 2], size=(nodes, 4)).astype(np.int32)
        rows.append(Rows(np.arange(0, 4 * nodes + 1, 4), head.ravel(), weight.ravel(), drop.ravel()))
    start = rng.dirichlet(np.ones(nodes * levels))
    return TransitionModel.levelled(rows, levels, success * 0.5, start, last_success=last * 0.5, **options)


def play_model(model: TransitionModel, count: int, rng, *, tasks: int = 1, horizon: int | None = None) -> list[Episode]:
    """Episodes of a flat model with random help; the feature is state % 3."""
    P = [matrix.toarray() for matrix in model.P]
    episodes = []
    for i in range(count):
        p = (i % 11) / 10
        state, steps, success = int(rng.choice(model.n, p=model.start)), [], False
        for t in range(horizon or 10_000):
            action = int(rng.random() < p) if i % 11 else 0
            row = np.append(P[action][state], model.success[action, state])
            to = int(rng.choice(len(row) + 1, p=np.append(row, max(1 - row.sum(), 0)) / max(row.sum(), 1)))
            last_step = horizon is not None and t == horizon - 1
            success = to == model.n
            left = None if horizon is None else horizon - t
            truncated = last_step and to < model.n
            steps.append(
                make_step(
                    t, f"s{state}", action, feature=f"f{state % 3}", left=left, done=to >= model.n, truncated=truncated
                )
            )
            if to >= model.n or last_step:
                break
            state = to
        episodes.append(make_episode(steps, success, number=i % tasks))
    return episodes


def make_truth(seed: int, n: int = 12) -> TransitionModel:
    """A cyclic problem in which help succeeds more often, with transitions similar to those of nohelp."""
    rng = np.random.default_rng(seed)
    P, success = [], np.zeros((2, n))
    common = rng.random((n, n)) * (rng.random((n, n)) < 0.25)
    for a in range(2):
        matrix = common * rng.random((n, n))
        matrix *= 0.8 / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)
        success[a] = (1 - matrix.sum(axis=1)) * rng.random(n) * (0.4 + 0.6 * a)
        P.append(matrix)
    return TransitionModel(P, success, np.full(n, 1 / n))


@pytest.fixture(scope="session")
def step() -> Callable[..., Transition]:
    return make_step


@pytest.fixture(scope="session")
def episode() -> Callable[..., Episode]:
    return make_episode


@pytest.fixture(scope="session")
def chain() -> Callable[..., TransitionModel]:
    return make_chain


@pytest.fixture(scope="session")
def levelled() -> Callable[..., TransitionModel]:
    return make_levelled


@pytest.fixture(scope="session")
def play() -> Callable[..., list[Episode]]:
    return play_model


@pytest.fixture(scope="session")
def truth() -> Callable[..., TransitionModel]:
    return make_truth
