"""The members of a task that planners use: ``check_task`` finds faults of ``reseed`` and ``sample_hidden``."""

import gymnasium as gym
import pytest

from selfreg_gym.errors import TaskContractError
from selfreg_gym.testing import check_task


def _coin_with(name, function):
    coin = gym.make("selfreg/Coin-v0", render_mode="ansi", disable_env_checker=True)
    setattr(coin.unwrapped, name, function.__get__(coin.unwrapped))
    return coin


def reseeds_and_moves(self, seed):
    type(self).reseed(self, seed)
    self._coins += 1


def reseeds_nothing(self, seed):
    pass


def adds_to_the_stream(self, seed):
    self.np_random.random(seed % 5)


def keeps_sometimes(self, rng):
    if rng.random() < 0.5:
        self._coin = {"heads": "tails", "tails": "heads"}[self._coin]


def draws_from_the_task(self, rng):
    self._coin = "heads" if self.np_random.random() < 0.5 else "tails"


@pytest.mark.parametrize(
    ("name", "function", "rule"),
    [
        ("reseed", reseeds_and_moves, "does not change the state"),
        ("reseed", reseeds_nothing, "replaces the random stream"),
        ("reseed", adds_to_the_stream, "depends on the seed alone"),
        ("sample_hidden", keeps_sometimes, "not on the true facts"),
        ("sample_hidden", draws_from_the_task, "leaves the task's random stream"),
    ],
)
def test_faulty_members_of_a_task_are_found(name, function, rule):
    with pytest.raises(TaskContractError, match=rule):
        check_task(_coin_with(name, function))
