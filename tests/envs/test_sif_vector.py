"""The feature vector of SIF: its entries, and that it has no hidden facts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import EpisodeSpec, Rollouts, TransitionModel, collect, run_episodes
from selfreg_gym.envs.sif import SIF
from selfreg_gym.envs.sif.episodes import make_task
from selfreg_gym.envs.sif.houses import HALL
from selfreg_gym.envs.sif.vector import ENTRIES, vector
from selfreg_gym.envs.sif.world import MAX_DECISIONS, MAX_STEPS, World
from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.testing import check_task

NAMES = list(ENTRIES)


def entries(world: World) -> dict[str, float]:
    return dict(zip(NAMES, vector(world).tolist(), strict=True))


def worlds(kinds: tuple[str, ...] = ("pnp", "s_obj", "s_hum"), episodes: int = 30) -> list[World]:
    """States of episodes with random actions."""
    found = []
    for kind in kinds:
        env = SIF(kind=kind)
        for episode in range(episodes):
            choose = np.random.default_rng(episode)
            _, info = env.reset(seed=episode, options={"episode": episode})
            while actions := info["admissible_actions"]:
                assert env._world is not None
                found.append(env._world.copy())
                follow, draw = "Follow the human", choose.random()
                if follow in actions and draw < 0.5:
                    action = follow
                elif draw < 0.75:
                    action = env.expert_action()
                else:
                    action = str(choose.choice(actions[:-1]))  # without Done!
                _, _, _, _, info = env.step(action)
    return found


def test_the_task_meets_the_contract_with_a_vector_and_without_keys() -> None:
    check_task(SIF(vector=True), episodes=3)
    check_task(SIF(vector=True, keys=False), episodes=2)


def test_entries_are_bounded_numbers() -> None:
    rows = np.array([vector(world) for world in worlds()])
    assert rows.dtype == np.float32
    assert rows.shape[1] == len(ENTRIES) == 41
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() < 8
    constant = [name for name, column in zip(NAMES, rows.T, strict=True) if np.ptp(column) == 0]
    assert not constant


def test_the_vector_has_no_hidden_facts() -> None:
    """Facts that the robot does not know can change without a change of the vector."""
    for world in worlds():
        before = vector(world)
        hidden = world.copy()
        spots = len(hidden.truth)
        hidden.truth = [()] * spots  # where the objects really are
        hidden.walked, hidden.pace = hidden.walked + 3.0, 0.01  # where an unseen human really is
        np.testing.assert_array_equal(vector(hidden), before)


def test_entries_about_positions_and_clocks() -> None:
    world = World(make_task("train", "pnp", 0), lambda: 0.5)
    home = world.house
    room = next(r for r in range(home.rooms) if r != world.room)
    world.go(room, lambda: 0.5)
    found = entries(world)
    assert found["x"] == pytest.approx(home.x[room] / 15)
    assert found["in_hall"] == 0
    assert found["clock_left"] == pytest.approx(1 - world.clock / MAX_STEPS)
    assert found["decisions_left"] == pytest.approx(world.left / MAX_DECISIONS)
    assert found["rooms_entered"] == pytest.approx(world.visited.bit_count() / home.rooms)
    places = [s for s, objects in enumerate(world.belief) if objects and world.task.target in objects]
    assert found["target_known"] == bool(places)
    if places:
        nearest = min(home.steps[room][home.spot_room[s]] for s in places)
        assert found["target_distance"] == pytest.approx(nearest / 100)
    world.room, world.x = HALL, 4.5
    found = entries(world)
    assert (found["in_hall"], found["x"]) == (1, pytest.approx(0.3))


def test_placed_and_fulfilled() -> None:
    for seed in range(40):
        env = SIF(kind="pnp")
        _, info = env.reset(seed=seed, options={"episode": seed})
        while (action := env.expert_action()) != "Done!":
            world = env._world
            assert world is not None
            assert entries(world)["placed"] == 0
            _, _, _, _, info = env.step(action)
            if not info["admissible_actions"]:
                break
        else:
            found = entries(env._world)  # type: ignore[arg-type]
            assert (found["placed"], found["fulfilled"], found["holds_target"]) == (1, 1, 0)
            return
    raise AssertionError("the expert never finished")


def test_the_info_of_the_arguments() -> None:
    env = gym.make("selfreg/SIF-v0", vector=True)
    _, info = env.reset(seed=0, options={"episode": 2})
    assert info["feature_vector"].shape == (41,)
    assert info["state_key"]
    _, info = gym.make("selfreg/SIF-v0", keys=False).reset(seed=0)
    assert not {"state_key", "feature_key", "feature_vector"} & info.keys()
    with pytest.raises(InvalidArgumentError, match="vector must be True or False, received 1"):
        SIF(vector=1)  # type: ignore[arg-type]


def test_vectors_are_in_infos_transitions_and_stores(tmp_path: Any) -> None:
    kwargs: dict[str, Any] = {
        "task": "selfreg/SIF-v0", "actor": "scripted", "interventions": ["expert"],
        "task_kwargs": {"vector": True, "keys": False},
    }  # fmt: skip
    envs = InterventionVectorEnv(2, **kwargs)
    _, infos = envs.reset(seed=0)
    assert (infos["feature_vector"].dtype, infos["feature_vector"].shape) == (np.float32, (2, 41))
    with collect(
        kwargs, store=tmp_path / "r", tasks=range(3), episodes=2, help_probabilities=(0.5,), progress=False
    ) as r:
        assert isinstance(r, Rollouts)
        columns = r.columns("feature_vector", "feature_key", "state_key", "observation", "steps_left")
        assert columns["feature_vector"].shape == (r.transition_count(), 41)
        assert (columns["feature_key"].codes == -1).all()
        assert columns["state_key"].values == columns["observation"].values  # the default
        left = columns["feature_vector"][:, NAMES.index("decisions_left")] * MAX_DECISIONS
        np.testing.assert_allclose(left, columns["steps_left"], atol=1e-5)
        model = TransitionModel.fit(r)  # a state is an observation
        assert model.coverage()["feature_nodes"] == 0
        played = list(run_episodes(InterventionEnv(**kwargs), [EpisodeSpec(0, p.seed, 0.5) for p in r.plan[:1]]))
        assert played[0].steps == next(iter(r)).steps


class Reports(SIF):
    """A task that reports a given vector."""

    def __init__(self, reported: Any) -> None:
        super().__init__()
        self.reported = reported

    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        return observation, {**info, "feature_vector": self.reported}


@pytest.mark.parametrize("reported", ["text", [[1.0]], [float("nan")], [1e300], [None], [[1.0], 2.0]])
def test_an_invalid_vector_breaks_the_contract(reported: Any) -> None:
    env = InterventionEnv(Reports(reported), "scripted", ["expert"])
    with pytest.raises(TaskContractError, match=r"info\['feature_vector'\] of a task must be a float32 array"):
        env.reset(seed=0)


def test_other_numbers_become_float32() -> None:
    env = InterventionEnv(Reports([1, 2.5]), "scripted", ["expert"])
    _, info = env.reset(seed=0)
    assert info["feature_vector"].dtype == np.float32
    assert info["feature_vector"].tolist() == [1.0, 2.5]
    _, info = InterventionEnv(Reports(None), "scripted", ["expert"]).reset(seed=0)
    assert "feature_vector" not in info
