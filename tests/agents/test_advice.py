"""Advice in the actor's observation: where it is placed, who advises, who can read it, and its control."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from loopback import Loopback

from selfreg_gym import Decision, EpisodeSpec, InterventionEnv, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.actors.tiny import Tiny
from selfreg_gym.agents.interventions.advice import Advice
from selfreg_gym.errors import InvalidArgumentError, SetupError, UnknownNameError
from selfreg_gym.testing import RandomActor, check_intervention
from selfreg_gym.types import Act

END = "{observation}\nHelp: {advice}"
COIN: dict[str, Any] = {"task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.5}}


class Obedient:
    """Does what the last word of the observation says; without advice it says "edge", which is invalid."""

    def __init__(self) -> None:
        self.batches: list[list[Decision]] = []

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        self.batches.append(list(decisions))
        return [self._act(decision) for decision in decisions]

    @staticmethod
    def _act(decision: Decision) -> Act:
        word = decision.observation.rsplit(maxsplit=1)[-1]
        admissible = decision.admissible_actions or ()
        logprobs = tuple(0.0 if one == word else -50.0 for one in admissible)
        return Act(word if word in admissible else "edge", logprobs=logprobs, tokens=3, cost=0.25)

    def __deepcopy__(self, memo: dict[int, Any]) -> Obedient:
        return self


def played(actor: Any, advice: Advice, *, num_envs: int = 4, episodes: int = 12) -> list[Any]:
    env = InterventionVectorEnv(num_envs, **COIN, actor=actor, interventions=[advice], autoreset_mode="Disabled")
    found = run_episodes(env, [EpisodeSpec(i, 100 + i, 1.0) for i in range(episodes)])
    return sorted(found, key=lambda episode: episode.seed)


def test_the_actor_reads_the_sentence_and_acts() -> None:
    actor = Obedient()
    episodes = played(actor, Advice(template=END))
    assert all(episode.success for episode in episodes)
    assert all(len(batch) <= 4 for batch in actor.batches)
    assert len(actor.batches[0]) == 4, "one call for all decisions of a step"
    first = actor.batches[0][0]
    question, _, last = first.observation.rpartition("\n")
    assert last in ("Help: heads", "Help: tails")
    assert question.endswith("Call it: heads or tails?")
    assert first.admissible_actions == ("heads", "tails")
    step = episodes[0].steps[0]
    assert (step.tokens, step.cost, step.reported_cost) == (3, 1.0, None), "the actor's own cost is never charged"


def test_a_function_or_an_actor_advises() -> None:
    def adviser(observation: str) -> str:
        assert "Coin" in observation
        return "  I would\nsay tails "

    env = InterventionEnv(**COIN, actor=Obedient(), interventions=[Advice(adviser, template="{advice}. {observation}")])
    env.reset(seed=0)
    assert env.step(1)[4]["action_text"] == "edge"
    env = InterventionEnv(**COIN, actor=Obedient(), interventions=[Advice(adviser, template=END)])
    env.reset(seed=0)
    assert env.step(1)[4]["action_text"] == "tails"

    class Counted:
        def act(self, decisions: Sequence[Decision]) -> list[Act]:
            assert all(decision.admissible_actions is None for decision in decisions)
            return [Act("tails", tokens=5, cost=0.125) for _ in decisions]

    env = InterventionEnv(**COIN, actor=Obedient(), interventions=[Advice(Counted(), template=END)])
    env.reset(seed=0)
    info = env.step(1)[4]
    assert (info["action_text"], info["tokens"], info["cost"]) == ("tails", 8, 0.125)


@pytest.mark.parametrize("adviser", [lambda text: "", lambda text: 1 / 0, lambda text: 3])
def test_a_failing_adviser_ends_only_its_episode(adviser: Any) -> None:
    actor = Obedient()
    envs = InterventionVectorEnv(
        2, **COIN, actor=actor, interventions=[Advice(adviser, template=END)], autoreset_mode="Disabled"
    )
    envs.reset(seed=0)
    infos = envs.step([1, 0])[4]
    assert infos["error"][0] is not None
    assert infos["error"][1] is None
    assert len(actor.batches) == 1, "the actor is not asked without advice"


def test_shuffled_advice_is_that_of_another_state_and_does_not_change_the_task() -> None:
    episodes = played(Obedient(), Advice(shuffled=True, template=END), episodes=60)
    calls = sum(len(episode) for episode in episodes)  # an episode ends at its first wrong call
    assert 0.35 < 1 - sum(not episode.success for episode in episodes) / calls < 0.65, "as good as a guess"
    assert episodes == played(Obedient(), Advice(shuffled=True, template=END), episodes=60, num_envs=1)
    texts = [step.action_text for episode in episodes for step in episode]
    assert {"heads", "tails"} == set(texts)

    env = InterventionEnv("selfreg/SIF-v0", RandomActor(), [Advice(shuffled=True), Advice(name="true")])
    env.reset(seed=3, options={"episode": 5})
    for _ in range(3):
        task = env.task
        before = pickle.dumps(task.get_wrapper_attr("snapshot")())
        actor: Any = env.interventions[0].actor
        decision = env.slots[0].decision(1)
        actor.act([decision])
        assert pickle.dumps(task.get_wrapper_attr("snapshot")()) == before
        env.step(0)


def test_every_form_passes_the_contract() -> None:
    for advice in (Advice(), Advice(shuffled=True), Advice(lambda text: "Go to Room 1")):
        check_intervention(advice, task="selfreg/SIF-v0", actor=Tiny())
        check_intervention(advice)
    assert Advice().privileged
    assert not Advice(lambda text: "x").privileged


def test_an_actor_that_cannot_read_the_advice_is_refused() -> None:
    def env(**kwargs: Any) -> InterventionEnv:
        made = InterventionEnv("selfreg/SIF-v0", "tiny", [Advice(**kwargs)])
        made.reset(seed=0, options={"episode": 0})
        return made

    assert env().step(1)[4]["error"] is None
    with pytest.raises(
        SetupError, match=r"at most 1% unknown tokens: \d+ of the \d+ tokens .* unknown to Tiny.*advise"
    ):
        env(template="{observation}\nMy sincere advice, as an expert planner: {advice}").step(1)
    rare = env(adviser=lambda text: "Go to Room 1 quickly")
    assert rare.step(1)[4]["error"] is None, "one rare word is accepted"


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"template": "{observation}"}, InvalidArgumentError, r"\{advice\} once each, received '\{observation\}'"),
        ({"shuffled": 1}, InvalidArgumentError, "True or False, received 1"),
        ({"adviser": str, "adviser_kwargs": {"a": 1}}, InvalidArgumentError, "given by its id"),
        ({"adviser": "endpont"}, UnknownNameError, "Did you mean 'endpoint'"),
        ({"adviser": "human", "adviser_kwargs": {"titel": "x"}}, UnknownNameError, "Did you mean 'title'"),
    ],
)
def test_invalid_arguments_raise(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Advice(**kwargs)


def test_a_server_is_asked_for_a_sentence() -> None:
    server = Loopback(can=("chat",))
    try:
        kwargs = {"base_url": server.url, "model": "rule", "retries": 0}
        env = InterventionEnv(**COIN, actor=Obedient(), interventions=[Advice("endpoint", adviser_kwargs=kwargs)])
        env.reset(seed=0)
        info = env.step(1)[4]
        assert info["error"] is None
        asked = [body["messages"][-1]["content"] for path, body in server.requests if "messages" in body]
        assert any(text.endswith("give the agent advice for its next action.") for text in asked)
        assert info["tokens"] > 3
    finally:
        server.close()


def test_a_person_advises() -> None:
    lines = iter(["tails"])
    person = {"read": lambda prompt: next(lines), "write": lambda text: None}
    env = InterventionEnv(
        **COIN, actor=Obedient(), interventions=[Advice("human", adviser_kwargs=person, template=END)]
    )
    env.reset(seed=0)
    assert env.step(1)[4]["action_text"] == "tails"


def test_a_sentence_may_have_braces() -> None:
    actor = Obedient()
    advice = Advice(lambda text: "{observation} and {advice}", template="Help: {advice}\n{observation}")
    env = InterventionEnv(**COIN, actor=actor, interventions=[advice])
    text, _ = env.reset(seed=0)
    env.step(1)
    assert actor.batches[0][0].observation == f"Help: {{observation}} and {{advice}}\n{text}"
