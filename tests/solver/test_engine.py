"""The passes: equal results compiled, in NumPy and batched."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym.solver import evaluate_policy, solve, solve_budget
from selfreg_gym.solver.engine import Engine
from selfreg_gym.transitions import TransitionModel

BACKENDS = ("numba", "numpy")
PRICES = st.sampled_from([0.0, 1e-6, 0.03, 0.2, 0.9, 5.0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 60), cyclic=st.booleans(), price=PRICES)
def test_both_backends_give_the_same_values(random_model, seed, n, cyclic, price):
    model = random_model(np.random.default_rng(seed), n, 3, cyclic=cyclic, density=3 / n)
    numba, numpy = (solve(model, help_cost=price, backend=backend) for backend in BACKENDS)
    np.testing.assert_allclose(numba.value, numpy.value, atol=1e-11)
    evaluated = evaluate_policy(model, numba.policy, help_cost=price, backend="numpy")
    np.testing.assert_allclose(evaluated.success, numba.success, atol=1e-11)
    np.testing.assert_allclose(evaluated.usage, numba.usage, atol=1e-9)


def test_a_repeated_solve_is_identical_to_the_bit(random_model):
    first, second = (
        solve(random_model(np.random.default_rng(5), 300, cyclic=True, density=0.01), help_cost=0.1) for _ in range(2)
    )
    for name in ("policy", "success", "usage", "value"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_all_solvers_work_without_numba():
    """In a process in which the import of numba fails."""
    program = """
import sys, warnings
sys.modules["numba"] = None
import numpy as np
from selfreg_gym.solver import solve, solve_budget, solve_frontier
from selfreg_gym.solver.engine import Engine
from selfreg_gym.transitions import TransitionModel
model = TransitionModel([np.array([[0, .5], [0, 0]]), np.zeros((2, 2))], [[0, .3], [.9, .9]], [1, 0])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(solve_budget(model, budget=.5).expected_success, len(solve_frontier(model).usage))
assert "Numba is not installed" in str(caught[0].message), caught
try:
    solve(model, help_cost=0, backend="numba")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    value, message = done.stdout.splitlines()
    move = np.array([[0, 0.5], [0, 0]])
    model = TransitionModel([move, np.zeros((2, 2))], [[0, 0.3], [0.9, 0.9]], [1, 0])
    assert float(value.split()[0]) == pytest.approx(solve_budget(model, budget=0.5).expected_success, abs=1e-12)
    assert "needs Numba" in message


def test_a_component_above_the_dense_limit_is_solved_sparsely(random_model):
    model = random_model(np.random.default_rng(3), 500, cyclic=True, density=0.01)
    assert np.diff(model.condensation.component_start).max() > 200
    numba, numpy = (solve(model, help_cost=0.05, backend=backend) for backend in BACKENDS)
    np.testing.assert_allclose(numba.value, numpy.value, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32), n=st.integers(2, 80), actions=st.integers(2, 4), discount=st.sampled_from([1.0, 0.9])
)
def test_a_pass_at_eight_prices_equals_eight_passes_to_the_bit(random_model, seed, n, actions, discount):
    rng = np.random.default_rng(seed)
    base = random_model(rng, n, actions, density=0.6)
    available = rng.random((actions, n)) < 0.8
    available[0] = True
    model = TransitionModel(base.P, base.success, base.start, base.cost, available=available)
    engine = Engine(model, discount=discount)
    engine.batches = True  # also where the states have too few successors for it to pay
    for count in (8, 3):
        prices = rng.choice([0.0, 0.01, 0.1, 0.3, 2.0], size=count)
        before = engine.passes
        together = engine.run_many(prices)
        assert engine.passes == before + 1
        each = [engine.over_start(engine.run(price).values) for price in prices]
        np.testing.assert_array_equal(together, each)


@pytest.mark.parametrize("cheap", [1, 2])
def test_ties_at_eight_prices_go_to_the_smaller_usage(random_model, cheap):
    """Two interventions with equal effects and different costs tie at price 0."""
    base = random_model(np.random.default_rng(7), 40, density=0.3)
    cost = np.array([0.0, 1.0, 1.0])
    cost[cheap] = 0.25
    P, success = [*base.P, base.P[1]], np.vstack([base.success, base.success[1]])
    engine = Engine(TransitionModel(P, success, base.start, cost))
    assert engine.batches
    together = engine.run_many(np.array([0.0, 1e-3, 0.1]))
    free, policy = engine.run(0.0)
    assert set(policy.tolist()) == {0, cheap}
    np.testing.assert_array_equal(together[0], engine.over_start(free))
    low, high = (engine.over_start(engine.run(0.0, tie=tie).values) for tie in ("low", "high"))
    assert high[0] == pytest.approx(low[0], abs=1e-12)
    assert high[1] > 2 * low[1]


def test_eight_prices_over_steps_left(random_levels):
    engine = Engine(random_levels(np.random.default_rng(1), 30, 6, waits=False))
    assert engine.batches
    prices = np.linspace(0.0, 0.4, 8)
    each = [engine.over_start(engine.run(price).values) for price in prices]
    np.testing.assert_array_equal(engine.run_many(prices), each)


def test_batches_in_several_threads(random_model):
    from concurrent.futures import ThreadPoolExecutor

    model = random_model(np.random.default_rng(2), 300, density=0.2)
    prices = [np.linspace(0.0, top, 8) for top in np.linspace(0.1, 0.8, 16)]
    alone = [Engine(model).run_many(eight) for eight in prices]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda eight: Engine(model).run_many(eight), prices))
    np.testing.assert_array_equal(together, alone)
