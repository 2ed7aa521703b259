"""The examples of each target, and their weights, which remove the selection bias."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.prm import BagOfWords
from selfreg_gym.prm.held_out import held_out_rows
from selfreg_gym.prm.targets import gather, split_tasks
from selfreg_gym.types import Episode, Transition


def episode(actions: str, *, success: bool = True, p: float | None = 0.5, task: str = "a", error: str | None = None):
    steps = tuple(
        Transition(t, f"at {t}", None, "", None, None, int(a), "", 0.0, 0.0, False, False, False)
        for t, a in enumerate(actions)
    )
    return Episode(0, 0, task, "", p, success, (0.0,), steps, error)


def test_a_decision_is_an_example_once_help_has_stopped() -> None:
    found = gather([episode("0100")])
    assert found.observations == ("at 2", "at 3")
    assert found.outcome.tolist() == [1, 1]
    assert found.weight.tolist() == [4, 2]  # (1 - 0.5)^-2 and (1 - 0.5)^-1
    assert gather([episode("0102"), episode("0", success=False)]).observations == ("at 0",)


def test_weights_are_clipped_and_unhelped_episodes_weigh_one() -> None:
    assert gather([episode("0000")], clip=5).weight.tolist() == [5, 5, 4, 2]
    assert gather([episode("000", p=0.0)]).weight.tolist() == [1, 1, 1]
    assert gather([episode("000", p=None)]).weight.tolist() == [1, 1, 1]
    assert gather([episode("0", p=1.0)], clip=5).weight.tolist() == [5]


def test_unhelped_episodes_have_help_probability_0_or_an_unknown_one() -> None:
    found = gather([episode("00", p=0.0), episode("00", p=0.5), episode("00", p=None)])
    assert found.unhelped.tolist() == [True, True, False, False, True, True]


def test_every_decision_is_an_example_of_the_mixture() -> None:
    found = gather([episode("0100", success=False), episode("1", p=1.0)], targets="mixture")
    assert len(found) == 5
    assert found.weight.tolist() == [1] * 5
    assert found.outcome.tolist() == [0, 0, 0, 0, 1]


def test_truncated_episodes_are_excluded() -> None:
    assert len(gather([episode("00"), episode("000", error="time-out")])) == 2
    with pytest.raises(InvalidArgumentError, match="no decision"):
        gather([episode("01")])


def test_the_weights_remove_the_selection_bias() -> None:
    """A chain: each step ends the episode with probability 0.3; short episodes succeed. Help has no effect, so the
    success rate of the first decision is known, and the weighted examples must give it."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(30_000):
        length = int(rng.geometric(0.3))
        actions = "".join("1" if rng.random() < 0.4 else "0" for _ in range(length))
        found.append(episode(actions, success=length <= 2, p=0.4))
    examples = gather(found, clip=1e9)
    start = np.array([text == "at 0" for text in examples.observations])
    truth = 1 - 0.7**2
    plain = examples.outcome[start].mean()
    weighted = np.average(examples.outcome[start], weights=examples.weight[start])
    assert plain > truth + 0.15
    assert abs(weighted - truth) < 0.04


def test_the_weight_is_the_inverse_probability_in_the_whole_collection() -> None:
    found = gather([episode("0000", p=0.0), episode("00", p=0.5), episode("11", p=0.5), episode("1111", p=1.0)])
    shares = [  # of the episodes that reach step t
        {0.0: 1 / 4, 0.5: 2 / 4, 1.0: 1 / 4}, {0.0: 1 / 4, 0.5: 2 / 4, 1.0: 1 / 4},
        {0.0: 1 / 2, 1.0: 1 / 2}, {0.0: 1 / 2, 1.0: 1 / 2},
    ]  # fmt: skip
    passed = [(0, 4), (1, 3), (2, 2), (3, 1), (0, 2), (1, 1)]  # step, decisions left
    expected = [1 / sum(f * (1 - p) ** left for p, f in shares[t].items()) for t, left in passed]
    assert found.weight.tolist() == pytest.approx(expected)
    assert found.weight.max() <= 4  # the inverse share of p = 0
    assert gather([episode("0" * 40, p=0.5)]).weight.max() == 100  # the default clip: no episode has p = 0


def test_the_default_clip_leaves_little_bias() -> None:
    """One state: nohelp fails, succeeds or stays; help stays. Without weights failures are too rare."""
    rng, found = np.random.default_rng(1), []
    for p in np.arange(11) / 10:
        for _ in range(400):
            actions, success = "", None
            while success is None and len(actions) < 200:
                helped = rng.random() < p
                actions += "1" if helped else "0"
                luck = rng.random()
                if not helped and len(actions) > 3:  # late decisions end in success more often
                    success = True if luck < 0.2 else None
                elif not helped:
                    success = False if luck < 0.2 else None
            found.append(episode(actions, success=bool(success), p=float(p)))

    def error(clip: float) -> float:
        examples = gather(found, clip=clip)
        start = np.array([text == "at 0" for text in examples.observations])
        return float(np.average(examples.outcome[start], weights=examples.weight[start])) - 0.8**3

    assert error(1) < -0.05
    assert abs(error(100.0)) < 0.05


def test_a_split_keeps_tasks_whole() -> None:
    tasks = np.array([f"t{i % 10}" for i in range(100)], dtype=object)
    held_out = split_tasks(tasks, share=0.2, seed=3)
    assert held_out.sum() == 20
    assert not set(tasks[held_out]) & set(tasks[~held_out])
    assert (held_out == split_tasks(tasks, share=0.2, seed=3)).all()
    assert split_tasks(np.array(["a", "b"]), share=0.01, seed=0).sum() == 1
    assert split_tasks(np.array(["a", "b"]), share=0.99, seed=0).sum() == 1


def test_held_out_examples_are_those_without_help_if_two_tasks_have_some() -> None:
    two = [episode("00", p=0.0, task="a"), episode("000", p=0.5, task="a"), episode("0000", p=0.0, task="b")]
    one = [episode("00", p=0.0, task="a"), episode("000", p=0.5, task="a"), episode("0000", p=0.5, task="b")]
    for found, count in ((two, 6), (one, 9)):
        examples = gather(found)
        everything = np.ones(len(examples), bool)
        assert len(held_out_rows(examples, everything, targets="nohelp")) == count
        assert len(held_out_rows(examples, everything, targets="mixture")) == 9


def test_the_bag_of_words_is_measured_on_the_decisions_of_the_process_reward_model() -> None:
    """With one held-out task, both are measured on all of its decisions, and not the baseline on those without help."""
    found = [episode("000", p=p, task=task, success=p > 0) for task in "abc" for p in (0.0, 0.5)]
    held_out = BagOfWords.train(found, share=0.2, seed=0).held_out
    assert held_out is not None
    assert held_out["n"] == 6
