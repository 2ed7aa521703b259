"""The scripted actor: it reads the observation only, and noise lowers its success rate."""

from __future__ import annotations

import copy

import pytest

from selfreg_gym.agents.actors import scripted
from selfreg_gym.agents.actors.scripted import Scripted
from selfreg_gym.envs.sif import SIF
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.testing import check_actor
from selfreg_gym.types import Decision


def rate(actor, kind, episodes=150):
    """Success rate over the first ``episodes`` training tasks."""
    env, won = SIF(kind=kind), 0
    for i in range(episodes):
        observation, info = env.reset(seed=i, options={"episode": i})
        step = 0
        while info["admissible_actions"]:
            action = actor.act([Decision(observation, info["admissible_actions"], key=(i, step, 0))])[0]
            assert action in info["admissible_actions"]
            observation, _, _, _, info = env.step(action)
            step += 1
        won += info["success"]
    return won / episodes


def test_it_passes_check_actor():
    check_actor(Scripted())
    assert scripted.__all__ == ["Scripted"]
    actor = Scripted()
    assert copy.deepcopy(actor) is actor


@pytest.mark.parametrize("kind", ["pnp", "s_obj", "s_hum"])
def test_success_rate_and_noise(kind):
    clean, noisy, wild = (rate(Scripted(noise=noise), kind) for noise in (0.0, 0.3, 1.0))
    assert 0.5 < clean < 0.99
    assert 0.2 < noisy < clean - 0.1
    assert wild < 0.03


def test_noise_does_not_depend_on_the_batch():
    env = SIF()
    observation, info = env.reset(seed=0, options={"episode": 0})
    offers = info["admissible_actions"]
    alone = [Scripted(0.7).act([Decision(observation, offers, key=(0, n, 0))])[0] for n in range(40)]
    together = Scripted(0.7).act([Decision(observation, offers, key=(0, n, 0)) for n in range(40)])
    assert alone == together
    assert len(set(alone)) > 3


def test_it_does_not_read_the_task():
    env = SIF(kind="pnp")
    observation, info = env.reset(seed=0, options={"episode": 0})
    with_task = Scripted(0).act([Decision(observation, info["admissible_actions"], task=env)])
    assert with_task == Scripted(0).act([Decision(observation, info["admissible_actions"])])


def test_other_tasks_get_random_actions():
    offers = ("left", "right", "stop")
    chosen = {Scripted(0).act([Decision("A maze.", offers, key=(n,))])[0] for n in range(30)}
    assert chosen == set(offers)
    assert isinstance(Scripted().act([Decision("A maze.")])[0], str)


@pytest.mark.parametrize("noise", [-0.1, 1.5, float("nan")])
def test_noise_is_a_probability(noise):
    with pytest.raises(InvalidArgumentError, match="noise"):
        Scripted(noise=noise)
