"""`dp-features`: a solved table over feature keys and steps left, on new tasks."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import EpisodeSpec, registry, run_episodes
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.solver import solve_budget, solve_frontier
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode, Transition

DPFeatures = registry.load("helpers", "dp-features")


def _episodes(count: int = 300) -> list[Episode]:
    """Two steps with the feature "f"; help is needed in the second."""
    episodes, rng = [], np.random.default_rng(0)
    for i in range(count):
        actions = [int(rng.random() < (i % 11) / 10) for _ in range(2)]
        steps = tuple(
            Transition(t, "x", None, f"task-{i}-{t}", "f", 2 - t, a, "", float(a), 0.0, t == 1, False, False)
            for t, a in enumerate(actions)
        )
        episodes.append(Episode(i, i, f"task-{i}", "", (i % 11) / 10, bool(actions[1]), (float(sum(actions)),), steps))
    return episodes


@pytest.fixture(scope="module")
def model() -> TransitionModel:
    return TransitionModel.fit(_episodes(), key="feature", backoff=None, prior=0.0, time_buckets=2)


def test_it_decides_by_feature_key_and_steps_left(model) -> None:
    helper = DPFeatures(solve_budget(model, budget=1.0))
    actions, _ = helper.predict(["f\n2", "f\n1", "g\n1"])
    assert actions.tolist() == [0, 1, 0]
    assert helper.last_unseen.tolist() == [False, False, True]
    assert not helper.knows_tasks
    assert helper.description.role == "deployable"
    assert type(helper.with_knob(0.5)) is DPFeatures
    assert all(type(part) is DPFeatures for _, part in DPFeatures(solve_budget(model, budget=0.5)).episode_mixture())


def test_it_does_not_read_the_name_of_the_task() -> None:
    env = gym.make_vec(
        "selfreg/Intervention-v0", num_envs=4, task="selfreg/SIF-v0", task_kwargs={"split": "train"}, actor="scripted",
        interventions=["expert"], autoreset_mode="Disabled",
    )  # fmt: skip
    collected = list(run_episodes(env, [EpisodeSpec(i % 4, i, (i % 11) / 10) for i in range(44)]))
    model = TransitionModel.fit(collected, key="feature", backoff=None, prior=3.0, time_buckets=6)
    helper = DPFeatures(solve_frontier(model), budget=1.0)
    observation, _ = helper.wrap(env).reset(seed=[0] * 4, options={"episode": np.arange(4)})
    assert all(text.count("\n") == 1 and "train/" not in text for text in observation)
    played = list(run_episodes(env, [EpisodeSpec(10 + i, 100 + i) for i in range(8)], helper))
    assert len(played) == 8
    assert np.mean([one.metrics["unseen"] / len(one) for one in played]) < 0.5


def test_it_is_read_from_a_run_if_the_task_has_feature_keys(model, tmp_path) -> None:
    assert not DPFeatures.made_in(tmp_path)
    with pytest.raises(CheckpointError, match="transitions"):
        DPFeatures.from_run(tmp_path, budget=1.0)
    (tmp_path / "features").mkdir()
    model.save(tmp_path / "features" / "transitions.npz")
    solve_frontier(model).save(tmp_path / "features" / "solution.npz")
    assert DPFeatures.made_in(tmp_path)
    assert DPFeatures.from_run(tmp_path, budget=0.5, seed=1).policy.expected_usage == pytest.approx(0.5)


def test_a_model_over_state_keys_is_refused(model) -> None:
    states = TransitionModel.fit(_episodes(), prior=0.0)
    with pytest.raises(InvalidArgumentError, match="received one with key='state'"):
        DPFeatures(solve_budget(states, budget=1.0))
    plain = TransitionModel([np.zeros((1, 1))] * 2, [[0.1], [0.9]], [1.0])
    with pytest.raises(InvalidArgumentError, match="received one from arrays"):
        DPFeatures(solve_budget(plain, budget=1.0))


def test_a_model_in_which_help_is_of_no_use_has_a_knob() -> None:
    """Few episodes can give a frontier of one point, and a run with it must still be calibrated."""
    episodes = [one for one in _episodes() if one.cost == 0]
    frontier = solve_frontier(TransitionModel.fit(episodes, key="feature", backoff=None, prior=0.0))
    assert len(frontier.usage) == 1
    helper = DPFeatures(frontier, budget=1.0)
    low, high = helper.knob_bounds
    assert low < high
    assert [helper.with_knob(x).predict(["f\n1"])[0].tolist() for x in (low, high)] == [[0], [0]]
