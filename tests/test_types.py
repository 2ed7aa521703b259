"""Decisions and their streams, acts, as_actor, interventions, episodes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import MappingProxyType

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import Act, Actor, Decision, HelperPolicy, Intervention, TextTask, as_actor
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Episode, FunctionActor, Transition, optional_member


def test_a_decisions_stream_depends_on_its_key_alone() -> None:
    first = Decision("a", key=(1, 2, 0)).rng.random(4)
    np.testing.assert_array_equal(first, Decision("b", ("x",), key=(1, 2, 0)).rng.random(4))
    for key in ((1, 2, 1), (1, 3, 0), (2, 2, 0)):
        assert not np.array_equal(first, Decision("a", key=key).rng.random(4))


def test_the_stream_of_a_decision_is_made_when_it_is_used() -> None:
    decision = Decision("a", key=(1,))
    assert decision._rng is None
    assert decision.rng is decision.rng


def test_a_renewed_decision_starts_its_stream_again() -> None:
    decision = Decision("a", ("x", "y"), task="task", key=(5, 6, 7))
    drawn = decision.rng.random()
    again = decision.renewed()
    assert (again.observation, again.admissible_actions, again.task) == ("a", ("x", "y"), "task")
    assert again.rng.random() == drawn


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_decision_can_be_copied_and_sent_to_another_process(copied: Callable[[Decision], Decision]) -> None:
    info = MappingProxyType({"step": 3})
    decision = Decision("a", ("x", "y"), "task", (5, 6, 7), info, memory=[1], actor_memory=2)
    decision.rng.random()
    other = copied(decision)
    assert (other.observation, other.admissible_actions, other.task) == ("a", ("x", "y"), "task")
    assert (other.info, other.memory, other.actor_memory) == (info, [1], 2)
    assert other.rng.random() == decision.rng.random() or copied is copy.copy
    assert other.renewed().rng.random() == decision.renewed().rng.random()


def test_as_actor_adapts_functions_and_keeps_actors() -> None:
    actor = as_actor(lambda text: text.upper())
    assert actor.act([Decision("a"), Decision("b")]) == ["A", "B"]
    assert as_actor(actor) is actor
    assert isinstance(actor, Actor)
    assert copy.deepcopy(actor) is actor
    with pytest.raises(InvalidArgumentError, match="received int"):
        as_actor(3)  # type: ignore[arg-type]


def test_an_intervention_has_a_name_and_a_positive_cost() -> None:
    helper = Intervention(len, name="counter", cost=2)  # type: ignore[arg-type]
    assert (helper.name, helper.cost) == ("counter", 2.0)
    assert isinstance(helper.actor, FunctionActor)
    assert copy.deepcopy(helper) is helper
    for cost in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidArgumentError, match="positive number"):
            Intervention(str, name="x", cost=cost)
    with pytest.raises(InvalidArgumentError, match="needs a name"):
        Intervention(str, name="")


def test_an_act_is_immutable_and_knows_no_error_by_default() -> None:
    act = Act("go", cost=2.0)
    assert act.error is None
    with pytest.raises(AttributeError):
        act.text = "stay"  # type: ignore[misc]


def test_episodes_add_up_their_cost_iterate_and_travel_between_processes() -> None:
    step = Transition(0, "o", None, "s", None, None, 1, "go", 1.5, -0.1, True, False, False)
    episode = Episode(3, 7, "t", "", 0.5, True, (1.5, 2.0), (step,))
    assert episode.cost == 3.5
    assert list(episode) == [step]
    assert len(episode) == 1
    assert pickle.loads(pickle.dumps(episode)) == episode


def test_protocols_recognise_what_has_the_methods() -> None:
    from selfreg_gym.agents.helpers.never import Never

    assert isinstance(Never(), HelperPolicy)
    assert isinstance(Coin(), TextTask)
    assert not isinstance(object(), Actor)


def test_optional_members_are_found_through_wrappers_and_on_classes() -> None:
    task = gym.wrappers.TimeLimit(Coin(), 5)
    assert optional_member(task, "num_episodes") == Coin.num_episodes
    assert callable(optional_member(task, "expert_action"))
    assert optional_member(task, "augment") is None
    assert optional_member(Coin, "num_episodes") == Coin.num_episodes
    assert optional_member(as_actor(str.upper), "checkpoint_dir") is None
