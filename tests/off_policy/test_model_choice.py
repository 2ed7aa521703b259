"""`choose_model`: held-out values of fitted models against exact ones, and the choice of the keys."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.off_policy import choose_model
from selfreg_gym.solver import solve_budget
from selfreg_gym.types import Episode, Transition


def _clocked(count: int) -> list[Episode]:
    """One feature key throughout three steps; help succeeds in the last step only, nohelp with 0.2."""
    episodes = []
    rng = np.random.default_rng(0)
    for i in range(count):
        p, steps, success = (i % 11) / 10, [], False
        for t in range(3):
            action = int(rng.random() < p)
            success = t == 2 and bool(rng.random() < (0.9 if action else 0.2))
            steps.append(
                Transition(
                    t, "x", None, f"task-{i % 20}", "f", 3 - t, action, "", float(action), 0.0, t == 2, False, False
                )
            )
        usage = (float(sum(step.action for step in steps)),)
        episodes.append(Episode(i % 20, i, f"task-{i % 20}", "", p, success, usage, tuple(steps)))
    return episodes


def test_it_prefers_the_keys_whose_policy_is_better() -> None:
    base = {"key": "feature", "backoff": None, "prior": 1.0}
    seen: list[tuple[int, int]] = []
    choice = choose_model(
        _clocked(1_100),
        {"pooled": {**base, "horizon": None}, "time": {**base, "time_buckets": 3}},
        budgets=[0.5, 1.0],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert choice.name == "time"
    half, one = choice.success["time"]
    assert half.low - 0.05 <= 0.55 <= half.high + 0.05
    assert one.low - 0.05 <= 0.9 <= one.high + 0.05
    assert choice.difference["pooled"].high < 0
    assert choice.rows()[0]["settings"] == "time"
    assert seen[-1] == (8, 8)


def test_its_estimates_are_those_of_the_exact_policy(known) -> None:
    model = known(3)
    choice = choose_model(
        model.sample(3_000, seed=0), {"fit": {"prior": 3.0, "min_visits": 1}}, budgets=[0.3, 0.6], new_tasks=False
    )
    for budget, found in zip(choice.budgets, choice.success["fit"], strict=True):
        exact = solve_budget(model, budget=budget).expected_success
        assert abs(found.value - exact) < 0.06


def test_bad_arguments_are_explained(known) -> None:
    with pytest.raises(InvalidArgumentError, match="at least one set"):
        choose_model(known(0).sample(50), {})
    with pytest.raises(InvalidArgumentError, match="as a dict from names to dicts"):
        choose_model(known(0).sample(50), [{"key": "state"}])
    with pytest.raises(UnknownNameError, match=r"argument of TransitionModel\.fit: received 'min_visit'"):
        choose_model(known(0).sample(50), {"a": {"min_visit": 3}})
    with pytest.raises(InvalidArgumentError, match="4 folds need at least 8 episodes"):
        choose_model(known(0).sample(5), {"a": {}})
