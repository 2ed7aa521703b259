"""The occupancy of a policy, compared with the values of the solver."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym import TransitionModel, registry, solve, solve_frontier
from selfreg_gym.experiments.occupancy import gain_in_success, node_average, occupancy


def random_model(n: int = 12, seed: int = 0) -> TransitionModel:
    """A model with cycles, in which every step may end the episode."""
    rng = np.random.default_rng(seed)
    P = 0.9 * rng.dirichlet(np.full(n, 0.3), size=(2, n))
    success = rng.random((2, n)) * 0.1
    return TransitionModel(list(P), success, rng.dirichlet(np.ones(n)))


@pytest.mark.parametrize("levelled", [False, True])
def test_usage_and_success_are_sums_over_the_occupancy(levelled: bool) -> None:
    model = random_model()
    if levelled:
        task = registry.load("envs", "selfreg/FrozenLake-v0")(max_steps=12, clock=False)
        model = task.intervention_model([0], noise=0.5)
    frontier = solve_frontier(model)
    for budget in (0.3, 1.0):
        policy = frontier.policy(budget)
        parts = list(zip(policy.weights, policy.policies, strict=True))
        assert len(parts) == 2
        assert float(sum(w * (p.policy > 0) @ occupancy(model, one_policy(p)) for w, p in parts)) == pytest.approx(
            budget
        )
        everything = np.tile(model.success, (1, model.levels))
        everything[:, : model.nodes] = model.last_success
        won = sum(w * everything[p.policy, np.arange(model.n)] @ occupancy(model, one_policy(p)) for w, p in parts)
        assert float(won) == pytest.approx(policy.expected_success)
        total = sum(w * occupancy(model, one_policy(p)) for w, p in parts)
        np.testing.assert_allclose(occupancy(model, policy), total)


def one_policy(solution: object) -> object:
    """A mixture of one policy."""
    from selfreg_gym import MixedPolicy

    return MixedPolicy((solution,), np.ones(1), 0.0)  # type: ignore[arg-type]


def test_gain_in_success_is_that_of_asking_now() -> None:
    model = random_model(seed=1)
    solution = solve(model, help_cost=0.05)
    wanted = [
        model.success[a] + model.P[a] @ solution.success  # one step with action a, then the policy
        for a in range(2)
    ]
    np.testing.assert_allclose(gain_in_success(solution), wanted[1] - wanted[0], atol=1e-12)


def test_averages_over_levels_are_weighted_by_mass() -> None:
    model = registry.load("envs", "selfreg/FrozenLake-v0")(max_steps=3, clock=False).intervention_model([0], noise=0.5)
    levels, nodes = model.n // model.nodes, model.nodes
    values = np.arange(model.n, dtype=float)
    mass = np.zeros(model.n)
    mass[0], mass[nodes] = 1.0, 3.0  # the first node at its first two levels
    mean, total = node_average(model, values, mass)
    assert total[0] == 4.0
    assert mean[0] == pytest.approx((0 + 3 * nodes) / 4)
    assert mean[1] == pytest.approx(1 + nodes * (levels - 1) / 2)  # without mass: the plain mean
