"""Helpers of the Coin task whose success and usage are known, and their evaluation."""

from __future__ import annotations

import numpy as np

from selfreg_gym.evaluation import evaluate
from selfreg_gym.helper import Helper
from selfreg_gym.types import Intervention

TASKS = range(16)


COINS = np.array([2 + task % 4 for task in TASKS])


class Constant(Helper):
    def __init__(self, action: int) -> None:
        self.action = action

    def decide(self, observations, state, start):
        return np.full(len(start), self.action), state


class LastCoins(Helper):
    """Asks while at most ``n`` coins are left; the optimal policies of this task have this form."""

    def __init__(self, n: int) -> None:
        self.n = n

    def decide(self, observations, state, start):
        left = np.array([int(o.split()[3]) - int(o.split()[1]) + 1 if o[0] == "C" else 9 for o in observations])
        return (left <= self.n).astype(int), state


class Toggler(Helper):
    """Asks at every other step, from the first one on, by memory alone."""

    def decide(self, observations, state, start):
        now = np.where(start, 1, 1 - (np.zeros(len(start), dtype=int) if state is None else state))
        return now, now


class Expert:
    def act(self, decisions):
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]


def heads(observation: str) -> str:
    return "heads"


def coin_env(**more):
    return {"task": "selfreg/Coin-v0", "actor": heads, "interventions": [Intervention(Expert(), name="see")]} | more


HELPERS = {"never": Constant(0), "always": Constant(1), "last@1": LastCoins(1), "last@2": LastCoins(2)}


def run(helpers=None, **more):
    options = {"tasks": TASKS, "episodes": 40, "seed": 3, "split": "collected", "fixed_tasks": True, "progress": False}
    options |= more
    return evaluate(options.pop("env", coin_env()), helpers or HELPERS, **options)


def row(evaluation, key, **where):
    where = {"key": key, "kind": "all"} | where
    (found,) = [r for r in evaluation.rows if all(r[name] == value for name, value in where.items())]
    return found
