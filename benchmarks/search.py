"""Simulations per second of the tree search: 64 decisions searched together, against one after the other.

    python benchmarks/search.py [--values FOLDER] [--rows 64] [--simulations 16]

Decisions of expert episodes of the household task, one thread, process time. The prior is that of the tiny actor
without its memo, so that both ways compute the same. The leaf value is that of ``--values`` (a folder of fitted
values), or by default a constant. A third pair of rates adds 20 ms per call of an actor that computes nothing, for any
number of decisions, as a model on a server or an accelerator takes it. Goal: together at least 4 times as many
simulations per second with such an actor. The tiny actor on a processor is limited by arithmetic, which a batch does
not reduce: the last line has the decisions per second of the actor alone, whose ratio bounds that of the search.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.intervention_env.snapshots import with_snapshots
from selfreg_gym.search.leaf_values import FittedValue, LeafValue
from selfreg_gym.search.searching import TreeSearch
from selfreg_gym.search.states import TaskState
from selfreg_gym.types import Act, Decision


class Uniform:
    """An actor that gives all actions equal probability, and counts its calls."""

    calls = 0

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """Answer without computing anything."""
        self.calls += 1
        offered = [decision.admissible_actions or () for decision in decisions]
        return [Act(actions[0], logprobs=(-float(np.log(len(actions))),) * len(actions)) for actions in offered]


def constant(states: Sequence[TaskState]) -> np.ndarray:
    """The value 0.5 of every state."""
    return np.full(len(states), 0.5)


def decisions_of(count: int) -> list[Decision]:
    """Decisions in the middle of expert episodes, each with its own task."""
    found = []
    for i in range(count):
        task = with_snapshots(gym.make("selfreg/SIF-v0", split="train", disable_env_checker=True))
        observation, info = task.reset(seed=i, options={"episode": i})
        for _ in range(i % 4):
            observation, _, _, _, info = task.step(task.get_wrapper_attr("expert_action")())
        found.append(Decision(observation, info["admissible_actions"], task, (i, 1), {**info, "step": i % 4}))
    return found


def rates(
    name: str, count: int, together: Callable[[], Any], alone: Callable[[], Any], seconds: Callable[[], float]
) -> None:
    """Print ``count`` divided by the seconds of both ways, and the ratio of these rates."""
    found = []
    for run in (together, alone):
        begun = seconds()
        run()
        found.append(count / (seconds() - begun))
    ratio = found[0] / found[1]
    print(f"{name:32} together {found[0]:8.0f}/s  one by one {found[1]:8.0f}/s  ratio {ratio:5.1f}", flush=True)


def compare(
    name: str, actor: Any, value: LeafValue, decisions: Sequence[Decision], simulations: int, per_call: float = 0.0
) -> None:
    """Print the simulations per second of both ways and their ratio; ``per_call`` seconds are added per actor call."""
    search = TreeSearch(actor, value, simulations=simulations, reuse=False)
    search.run(decisions[:2])  # loads the models

    rates(
        name, len(decisions) * simulations,
        lambda: search.run([decision.renewed() for decision in decisions]),
        lambda: [search.run([decision.renewed()]) for decision in decisions],
        lambda: time.process_time() + per_call * getattr(actor, "calls", 0),
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", default=None, help="a folder of fitted values; default: a constant")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--simulations", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    decisions, n = decisions_of(arguments.rows), arguments.simulations
    actor = LM(memo=0)
    value = constant if arguments.values is None else FittedValue(arguments.values, actor=actor)
    compare("actor that computes nothing", Uniform(), value, decisions, n)
    compare("tiny actor on this processor", actor, value, decisions, n)
    compare("20 ms per call of the actor", Uniform(), value, decisions, n, per_call=0.02)
    rates(
        "tiny actor alone, decisions", len(decisions),
        lambda: actor.act([decision.renewed() for decision in decisions]),
        lambda: [actor.act([decision.renewed()]) for decision in decisions],
        time.process_time,
    )  # fmt: skip


if __name__ == "__main__":
    main()
