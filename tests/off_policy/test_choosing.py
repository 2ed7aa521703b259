"""`choose`: the better helper at a budget."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.off_policy import OffPolicySupportError, choose, evaluate_off_policy
from selfreg_gym.solver import solve, solve_budget


def test_the_solution_is_better_than_random_help(known, probabilities) -> None:
    model = known(9)
    episodes = model.sample(4_000, seed=0)
    solved = [probabilities(episodes, solve(model, help_cost=price).policy) for price in (0.6, 0.3, 0.15, 0.05)]
    n = sum(map(len, episodes))
    random_help = [np.tile([1 - p, p], (n, 1)) for p in (0.1, 0.3, 0.6)]
    choice = choose(episodes, {"random": random_help, "solved": solved}, budget=0.5, by="estimate")
    assert choice.name == "solved"
    best, other = choice.candidates
    assert best.name == "solved"
    assert best.difference.value == 0.0
    assert other.difference.value < 0
    exact = solve_budget(model, budget=0.5).expected_success
    assert best.success.low - 0.02 <= exact <= best.success.high + 0.02
    assert len(best.points) == 4
    assert "solved" in str(choice).splitlines()[0]


def test_a_budget_beyond_every_helper_has_the_success_of_always_asking(known) -> None:
    episodes = known(4).sample(300, seed=1)
    choice = choose(episodes, {"random": Random(0.5)}, budget=100.0, draws=2)
    always = evaluate_off_policy(episodes, Always(), methods=["wdr"])["wdr"]
    assert choice.candidates[0].success.value == pytest.approx(always.success.value)


def test_a_choice_without_support_or_with_bad_arguments_is_an_error(known, tabular) -> None:
    model = known(5)
    episodes = model.sample(200, help_probabilities=[0.0, 1.0], seed=2)
    helper = tabular(solve(model, help_cost=0.2).policy)
    with pytest.raises(OffPolicySupportError, match="support no candidate"):
        choose(episodes, {"solved": helper}, budget=0.5)
    with pytest.raises(InvalidArgumentError, match="at least one candidate"):
        choose(episodes, {}, budget=0.5)
    with pytest.raises(InvalidArgumentError, match="as a dict from names to helpers"):
        choose(episodes, [helper], budget=0.5)
    with pytest.raises(InvalidArgumentError, match="'solved' needs at least one helper"):
        choose(episodes, {"solved": []}, budget=0.5)
    with pytest.raises(UnknownNameError, match="rule of a choice"):
        choose(episodes, {"solved": helper}, budget=0.5, by="upper")
    with pytest.raises(UnknownNameError, match="off-policy method"):
        choose(episodes, {"solved": helper}, budget=0.5, method="dr")
