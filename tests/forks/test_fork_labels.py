"""Labels of forks: the best measured action, and the optimal one in a corridor that is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from made_forks import made_forks

import selfreg_gym
from selfreg_gym import EpisodeSpec, Labels
from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.helpers.dp import DP
from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.agents.helpers.never import Never
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.forks import choose_rows, fork, fork_labels, stored_states

PRICE = 0.05


def test_labels_in_a_corridor_are_those_of_the_optimal_policy(walkway) -> None:
    env, model, rollouts = walkway
    solution = selfreg_gym.solve(model, help_cost=PRICE)
    mixture = selfreg_gym.solve_budget(model, budget=2.0)
    then = DP(type(mixture)(**{**vars(mixture), "policies": (solution,), "weights": np.ones(1)}))
    states = stored_states(rollouts, choose_rows(rollouts.columns("state_key", "steps_left"), 16, seed=4))
    labels = fork_labels(fork(env, states, then=then, repetitions=50, num_envs=64), price=PRICE, budget=2.0)
    at = model.locate_many([s.state_key for s in states], None, [s.steps_left for s in states])
    exact = solution.advantage[at]
    clear = np.abs(exact) > 0.08
    assert clear.sum() >= 4
    assert (labels.action[clear] == (exact[clear] > 0)).all()
    assert np.corrcoef(labels.advantage, exact)[0, 1] > 0.6


def test_a_label_is_the_best_action_by_success_and_cost(tmp_path) -> None:
    success = np.zeros((4, 2, 10), bool)
    success[0, 1] = success[1, 1, :2] = True
    success[3, 0] = True
    cost = np.zeros(success.shape)
    cost[:, 1] = 1.0
    forks = made_forks(success, cost)
    labels = fork_labels(forks, price=0.3, budget=1.0)
    assert labels.action.tolist() == [1, 0, 0, 0]
    assert labels.advantage == pytest.approx([0.7, -0.1, -0.3, -1.3])
    assert labels.weight.argmax() == 3
    assert [one.observation for one in labels] == [state.observation for state in forks.states]
    labels.save(tmp_path / "labels.jsonl")
    assert list(Labels.load(tmp_path / "labels.jsonl")) == list(labels)
    forks.failed[0] = True
    assert len(fork_labels(forks, price=0.3, budget=1.0)) == 3
    forks.failed[:] = True
    with pytest.raises(InvalidArgumentError, match="no labels"):
        fork_labels(forks, price=0.3, budget=1.0)
    with pytest.raises(InvalidArgumentError, match="price"):
        fork_labels(forks, price=-1, budget=1.0)


@pytest.mark.slow
def test_a_helper_learns_from_labels_of_forks(walkway) -> None:
    """Its S - r M is near the known optimum, and above that of never and of always asking."""
    env, model, rollouts = walkway
    states = stored_states(rollouts, choose_rows(rollouts.columns("state_key", "steps_left"), 40, seed=4))
    labels = fork_labels(fork(env, states, repetitions=60, num_envs=64), price=0.1, budget=2.0)
    helper = LMSFTHelper.train(labels, seed=0, epochs=8, max_labels=1500, costs=[1.0], progress=False).with_budget(2.0)
    optimum = selfreg_gym.solve(model, help_cost=0.1)
    envs = selfreg_gym.InterventionVectorEnv(64, **env, autoreset_mode="Disabled")
    worth = []
    for one in (helper, Never(), Always()):
        played = list(selfreg_gym.run_episodes(envs, [EpisodeSpec(0, seed) for seed in range(800)], one))
        worth.append(np.mean([episode.success - 0.1 * episode.cost for episode in played]))
    assert worth[0] > optimum.expected_success - 0.1 * optimum.expected_usage - 0.06
    assert worth[0] > max(worth[1:]) + 0.02
