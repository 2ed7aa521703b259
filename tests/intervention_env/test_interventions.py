"""Interventions under other names, and interventions that call the env's actor."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym import Decision, Intervention, InterventionEnv, InterventionVectorEnv
from selfreg_gym.collection import collect
from selfreg_gym.errors import (
    InvalidArgumentError,
    RegistryError,
    StoreError,
    TaskContractError,
    UnknownNameError,
)
from selfreg_gym.intervention_env.interventions import build_interventions, name_and_id, privileged_names
from selfreg_gym.pipeline.config import differences, load_config
from selfreg_gym.pipeline.validation import validate
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.testing import RandomActor, check_intervention
from selfreg_gym.utils.random_streams import DERIVED_DECISION, stream

TASK: dict[str, Any] = {"task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.5}}


class Opposite(Intervention):
    """Takes the last admissible action that the env's actor would not take."""

    def __init__(self, *, cost: float = 1.0, base: Any = None) -> None:
        super().__init__(_Opposite(base), name="opposite", cost=cost)

    def with_actor(self, actor: Any) -> Opposite:
        bound = copy.copy(self)
        bound.actor = _Opposite(actor)
        return bound


class _Opposite:
    def __init__(self, base: Any) -> None:
        self.base = base

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        texts = self.base.act([decision.derived(0) for decision in decisions])
        return [
            [one for one in d.admissible_actions or () if one != text][-1]
            for d, text in zip(decisions, texts, strict=True)
        ]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Opposite:
        return self


def heads(text: str) -> str:
    return "heads"


def test_an_intervention_is_bound_to_the_actor_of_each_env() -> None:
    opposite = Opposite()
    for actor, expected in ((heads, "tails"), (lambda text: "tails", "heads")):
        env = InterventionEnv(**TASK, actor=actor, interventions=[opposite])
        env.reset(seed=0)
        assert env.step(1)[4]["action_text"] == expected
        assert env.interventions[0] is not opposite
        envs = InterventionVectorEnv(2, **TASK, actor=actor, interventions=[opposite])
        envs.reset(seed=0)
        assert envs.step([1, 0])[4]["action_text"].tolist() == [expected, actor("")]
    assert opposite.actor.base is None  # type: ignore[attr-defined]


def test_bound_interventions_play_the_same_episodes_alone_and_in_batches() -> None:
    specs = [EpisodeSpec(i, 7 + i, 0.6) for i in range(12)]
    played = []
    for n in (1, 5):
        people: dict[str, Any] = {"actor": RandomActor(), "interventions": [Opposite()]}
        env = InterventionVectorEnv(n, **TASK, **people, autoreset_mode="Disabled")
        played.append(list(run_episodes(env, specs)))
    first, second = (sorted(episodes, key=lambda one: one.seed) for episodes in played)
    assert first == second
    assert any(step.action for episode in first for step in episode)


@pytest.mark.parametrize(
    ("with_actor", "message"),
    [
        (lambda actor: None, "must return the intervention .* received None"),
        (lambda actor: Intervention(actor, name="other"), "same name; received one named 'other'"),
        (lambda actor: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_a_wrong_with_actor_raises_and_names_the_intervention(with_actor: Any, message: str) -> None:
    wrong = Intervention(heads, name="wrong")
    wrong.with_actor = with_actor  # type: ignore[attr-defined]
    with pytest.raises(RegistryError, match=rf"with_actor\(actor\) of the intervention 'wrong' .*{message}"):
        InterventionEnv(**TASK, actor=heads, interventions=[wrong])


def test_check_intervention_binds_it_and_finds_a_changed_original() -> None:
    check_intervention(Opposite())
    check_intervention(Opposite(), actor=RandomActor())

    class Changed(Opposite):
        def with_actor(self, actor: Any) -> Changed:
            self.actor = _Opposite(actor)
            return self

    with pytest.raises(TaskContractError, match=r"leaves this one unchanged.*\['actor'\]"):
        check_intervention(Changed())


def test_one_id_several_times_under_different_names() -> None:
    arguments = {"dear": {"cost": 2.0}, "cheap": {"cost": 0.5}}
    built = build_interventions(["dear=expert", "expert", "cheap = expert"], arguments)
    assert [(one.name, one.cost) for one in built] == [("dear", 2.0), ("expert", 1.0), ("cheap", 0.5)]
    with pytest.raises(InvalidArgumentError, match="use one id several times, name each: 'NAME=expert'"):
        build_interventions(["expert", "expert"])
    with pytest.raises(UnknownNameError, match=r"intervention_kwargs: received 'expert'. .*Known: cheap, dear"):
        build_interventions(["dear=expert", "cheap=expert"], {"expert": {"cost": 1.0}})
    with pytest.raises(UnknownNameError, match="unknown intervention: received 'exprt'"):
        build_interventions(["dear=exprt"])
    for invalid in ("=expert", "dear=", "a@b=expert"):
        with pytest.raises(InvalidArgumentError, match="NAME=ID"):
            name_and_id(invalid)


def test_a_store_records_names_ids_and_arguments(tmp_path: Path) -> None:
    env = {**TASK, "actor": RandomActor(), "interventions": ["dear=expert", "expert"]}
    plan: dict[str, Any] = {"tasks": [0, 1], "episodes": 2, "help_probabilities": [0.5, 1.0], "progress": False}
    store = tmp_path / "r.sqlite"
    with collect({**env, "intervention_kwargs": {"dear": {"cost": 2.0}}}, store=store, **plan) as rollouts:
        recorded = rollouts.spec["env"]
        assert recorded["interventions"] == ["dear", "expert"]
        assert recorded["intervention_ids"] == {"dear": "expert"}
        assert recorded["intervention_kwargs"] == {"dear": {"cost": 2.0}}
        costs = {(step.action, step.cost) for episode in rollouts for step in episode}
        assert costs - {(0, 0.0)} == {(1, 2.0), (2, 1.0)}
    with pytest.raises(StoreError, match="intervention_kwargs"):
        collect({**env, "intervention_kwargs": {"dear": {"cost": 3.0}}}, store=store, **plan)


def test_names_in_a_config(tmp_path: Path) -> None:
    ids = 'interventions.ids=["dear=expert", "expert"]'
    config = load_config(preset="smoke", overrides=[ids, "interventions.kwargs.dear.cost=2.0"])
    validate(config)
    assert config.interventions.names == ("dear", "expert")
    assert differences(config, load_config(preset="smoke", overrides=[ids])) == [
        ("interventions.kwargs", {"dear": {"cost": 2.0}}, {})
    ]
    for wrong, message in (
        ("interventions.kwargs.deer.cost=2.0", "Did you mean 'dear'"),
        ("interventions.kwargs.dear.cots=2.0", "Did you mean 'cost'"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            validate(load_config(preset="smoke", overrides=[ids, wrong]))


def test_derived_decisions_have_streams_of_their_own() -> None:
    decision = Decision("text", ("a", "b"), task="task", key=(3, 5, 2, 1))
    derived = [decision.derived(number) for number in range(3)]
    firsts = [one.rng.random() for one in (decision, *derived)]
    assert len(set(firsts)) == 4
    assert firsts[2] == stream(DERIVED_DECISION, 3, 5, 2, 1, 1).random() == derived[1].renewed().rng.random()
    other = decision.derived(0, observation="other")
    assert (other.observation, other.admissible_actions, other.task) == ("other", ("a", "b"), "task")
    assert np.isclose(other.rng.random(), firsts[1])


class Changed(Intervention):
    """An intervention whose attributes are set after its constructor."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(heads, name="changed")
        vars(self).update(attributes)


class Unfinished(Intervention):
    def __init__(self) -> None:
        self.name = "unfinished"


@pytest.mark.parametrize(
    ("intervention", "words"),
    [
        (Changed(cost=float("nan")), "the cost of intervention 'changed'"),
        (Changed(cost=-1.0), "the cost of intervention 'changed'"),
        (Changed(duration=0), "the duration of intervention 'changed'"),
        (Changed(actor=3), "an actor must have act"),
        (Changed(name=""), "needs a name"),
        (Unfinished(), r"the class Unfinished of an intervention must call super\(\).__init__"),
    ],
)
def test_attributes_of_interventions_are_checked_by_the_env(intervention: Intervention, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        InterventionEnv(**TASK, actor=heads, interventions=[intervention])


def test_an_error_of_privileged_on_names_the_intervention() -> None:
    class Unsure(Changed):
        def privileged_on(self, task: Any) -> bool:
            raise ZeroDivisionError("nothing")

    env = InterventionEnv(**TASK, actor=heads, interventions=[Unsure()])
    with pytest.raises(RegistryError, match=r"privileged_on\(task\) of the intervention 'changed'.*ZeroDivisionError"):
        privileged_names(env)
