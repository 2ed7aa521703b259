"""Measures of episodes with calls of several steps, and of aborted ones."""

from __future__ import annotations

import dataclasses

from corridor import played
from stored import episode

from selfreg_gym.evaluation.measures import measure
from selfreg_gym.playing.loop import as_helper


def test_a_call_is_one_decision() -> None:
    made = episode(actions=(1, 1, 1, 0, 2, 2))
    steps = [dataclasses.replace(step, continuation=step.t in (1, 2)) for step in made.steps]
    values = measure(dataclasses.replace(made, steps=tuple(steps))).values
    assert (values["length"], values["decisions"], values["helped"]) == (6, 4, 5)
    assert (values["calls_1"], values["calls_2"]) == (1, 2)
    assert (values["toggles"], values["switches"], values["aborted"]) == (1, 2, 0)


def test_calls_to_the_end_are_one_call_each() -> None:
    for one in played("end", "step", 20, helper=as_helper(lambda text: 1)):
        values = measure(one).values
        assert (values["calls_1"], values["decisions"], values["toggles"]) == (1, 1, 0)
        assert values["usage"] == values["length"] == values["helped"]


def test_aborted_episodes_are_counted() -> None:
    for one in played(1, "call", 10, helper=as_helper(lambda text: 2 if "5 steps" in text else 0)):
        values = measure(one).values
        assert values["aborted"] == float(one.aborted)
        assert not one.aborted or (values["success"], values["usage"], values["length"]) == (0, 0, 3)
