"""Decisions sampled from a known intervention model, and the exact values of fitted policies on it."""

from __future__ import annotations

import numpy as np

from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.policy import FittedPolicy
from selfreg_gym.solver import evaluate_policy
from selfreg_gym.transitions import TransitionModel


def state_inputs(model: TransitionModel) -> np.ndarray:
    """``(n, nodes + levels)`` float32: one-hot of the node, and of the steps left if the model has levels."""
    node, level = np.arange(model.n) % model.nodes, np.arange(model.n) // model.nodes
    x = np.zeros((model.n, model.nodes + (model.levels if model.levels > 1 else 0)), np.float32)
    x[np.arange(model.n), node] = 1
    if model.levels > 1:
        x[np.arange(model.n), model.nodes + level] = 1
    return x


def sample_decisions(
    model: TransitionModel, episodes: int, seed: int, *, inputs: np.ndarray | None = None, tasks: int = 1
) -> LoggedDecisions:
    """Episodes with random help, each with its own probability of help; every intervention is equally likely."""
    rng = np.random.default_rng(seed)
    flat = model.flat() if model.levels > 1 else model
    inputs = state_inputs(model) if inputs is None else inputs
    moves = [np.cumsum(np.column_stack([P.toarray(), flat.success[a]]), axis=1) for a, P in enumerate(flat.P)]
    state = rng.choice(model.n, size=episodes, p=model.start)
    probability = np.arange(episodes) % 11 / 10
    live = np.arange(episodes)
    steps = []
    while len(live):
        help_ = rng.random(len(live)) < probability[live]
        action = np.where(help_, rng.integers(1, model.actions, len(live)), 0)
        draw, here = rng.random(len(live)), state[live]
        to = np.empty(len(live), int)
        for a in range(model.actions):
            own = action == a
            to[own] = (moves[a][here[own]] < draw[own, None]).sum(axis=1)
        steps.append((live, here, action, flat.cost[action, here], to >= model.n, to == model.n))
        state[live] = to
        live = live[to < model.n]
    episode, here, action, cost, last, success = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    order = np.argsort(episode, kind="stable")
    task = np.arange(episodes) % tasks
    return LoggedDecisions(
        inputs[here[order]], action[order], cost[order], last[order], success[order], task, actions=model.actions
    )


def true_value(policy: FittedPolicy, model: TransitionModel, inputs: np.ndarray | None = None) -> tuple[float, float]:
    """Exact success and usage of a fitted policy."""
    inputs = state_inputs(model) if inputs is None else inputs
    success = usage = 0.0
    for weight, component in zip(policy.weights, range(len(policy.components)), strict=True):
        value = evaluate_policy(model, policy.action(inputs, component))
        success += weight * value.expected_success
        usage += weight * value.expected_usage
    return success, usage
