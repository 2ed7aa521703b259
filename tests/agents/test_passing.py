"""A person with a time limit, and helpers' calls that are passed back to the env's actor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from loopback import Loopback, Rule

from selfreg_gym import Decision, InterventionEnv, InterventionVectorEnv
from selfreg_gym.agents.actors.human import Human
from selfreg_gym.agents.interventions.endpoint import EndpointIntervention
from selfreg_gym.agents.interventions.human import Human as HumanHelp
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.testing import check_intervention
from selfreg_gym.types import Act

COIN: dict[str, Any] = {"task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.5}}
ACTIONS = ("heads", "tails")


def typed(*answers: str) -> Callable[[str], str]:
    left = iter(answers)
    return lambda question: next(left)


def silent(text: str) -> None:
    """Shows nothing."""


class Counting:
    """Says "tails" and counts its calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        self.batches.append(len(decisions))
        return [Act("tails", logprobs=(-9.0, -0.1), tokens=2, cost=0.5) for _ in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Counting:
        return self


class Slow:
    """Reads that wait until ``release`` is called."""

    def __init__(self) -> None:
        self.event, self.answer, self.reads = threading.Event(), "heads", 0

    def __call__(self, prompt: str) -> str:
        self.reads += 1
        assert self.event.wait(30)
        self.event.clear()
        return self.answer

    def release(self, answer: str) -> None:
        self.answer = answer
        self.event.set()


@pytest.mark.parametrize(
    ("answer", "action", "cost"), [("pass", "tails", 0.0), ("1", "heads", 1.0), ("3", "tails", 0.0)]
)
def test_a_person_may_pass(answer: str, action: str, cost: float) -> None:
    shown: list[str] = []
    actor = Counting()
    env = InterventionEnv(**COIN, actor=actor, interventions=[HumanHelp(read=typed(answer), write=shown.append)])
    env.reset(seed=0)
    info = env.step(1)[4]
    assert (info["action_text"], info["cost"], info["intervention"]) == (action, cost, "human")
    assert info["calls"].tolist() == [1]
    assert info["tokens"] == (2 if action == "tails" else -1)
    assert any(text.split() == ["3", "pass"] for text in shown)
    assert len(actor.batches) == (action == "tails")


def test_passed_calls_of_a_batch_are_one_call_of_the_actor() -> None:
    actor = Counting()
    person = HumanHelp(read=typed("pass", "heads", "PASS"), write=silent, pass_cost=0.25, cost=2.0)
    envs = InterventionVectorEnv(3, **COIN, actor=actor, interventions=[person], autoreset_mode="Disabled")
    envs.reset(seed=0)
    infos = envs.step([1, 1, 1])[4]
    assert infos["action_text"].tolist() == ["tails", "heads", "tails"]
    assert infos["cost"].tolist() == [0.25, 2.0, 0.25]
    assert actor.batches == [2]


def test_a_late_person_passes_and_a_late_actor_fails() -> None:
    read = Slow()
    env = InterventionEnv(
        **COIN, actor=Counting(), interventions=[HumanHelp(read=read, write=silent, timeout_s=0.05)]
    )  # fmt: skip
    env.reset(seed=0, options={"episode": 1})
    info = env.step(1)[4]
    assert (info["action_text"], info["cost"], info["error"]) == ("tails", 0.0, None)
    read.release("pass")

    actor = Human(read=(slow := Slow()), write=silent, timeout_s=0.05)
    (act,) = actor.act([Decision("a coin", ACTIONS)])
    assert act.error == "the person gave no answer within 0.05 seconds."
    slow.release("q")


def test_an_answer_that_comes_late_is_discarded_and_the_next_question_is_answered() -> None:
    read, shown = Slow(), []
    actor = Human(read=read, write=shown.append, timeout_s=0.05)
    assert actor.act([Decision("first", ACTIONS)])[0].error
    assert actor.act([Decision("second", ACTIONS)])[0].error
    assert read.reads == 1, "the first read is still waiting"
    assert any("your action" in text for text in shown), "and the question is shown again"
    read.release("heads")  # an answer to nobody
    while actor._timed is not None and actor._timed._lines.empty():
        pass
    actor.timeout_s = 30.0
    threading.Timer(0.05, read.release, ["tails"]).start()
    assert actor.act([Decision("third", ACTIONS)])[0].text == "tails"
    assert read.reads == 2


def test_the_end_of_the_input_ends_a_timed_question_too() -> None:
    def ended(prompt: str) -> str:
        raise EOFError

    with pytest.raises(KeyboardInterrupt):
        Human(read=ended, write=silent, timeout_s=5.0).act([Decision("a coin", ACTIONS)])
    with pytest.raises(KeyboardInterrupt):
        Human(read=typed("q"), write=silent, timeout_s=5.0).act([Decision("a coin", ACTIONS)])


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), "soon"])
def test_an_invalid_time_limit_raises(seconds: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="timeout_s"):
        HumanHelp(timeout_s=seconds)


def test_a_task_with_the_action_pass_cannot_be_passed() -> None:
    actor = HumanHelp(read=typed("pass"), write=silent).with_actor(Counting()).actor
    (act,) = actor.act([Decision("a card game", ("play", "pass"))])
    assert (act.text, act.cost) == ("pass", None)


class Passes(Rule):
    """The model of the server, which passes wherever it may."""

    def write(self, prompt: str, *, sample: Any, max_tokens: int) -> str:
        return " pass" if 'answer "pass"' in prompt else super().write(prompt, sample=sample, max_tokens=max_tokens)


def test_a_model_behind_a_server_may_pass() -> None:
    server = Loopback(can=("chat",), brain=Passes())
    kwargs: dict[str, Any] = {"base_url": server.url, "model": "rule", "retries": 0, "strategy": "text"}
    try:
        asked = EndpointIntervention(**kwargs, may_pass=True)
        check_intervention(asked)
        prices = EndpointIntervention(**kwargs, may_pass=True, token_prices=(1.0, 1.0), name="priced")
        plain = EndpointIntervention(**kwargs, name="plain")
        env = InterventionEnv(**COIN, actor=Counting(), interventions=[asked, prices, plain])
        found = []
        for action in (1, 2, 3):
            env.reset(seed=0, options={"episode": 1})
            found.append(env.step(action)[4])
        assert [info["error"] for info in found] == [None] * 3
        assert [info["action_text"] for info in found[:2]] == ["tails", "tails"]
        assert found[0]["cost"] == 0.0
        assert found[0]["tokens"] > 2, "those of the model and of the actor"
        assert found[1]["cost"] > 0.0, "the tokens of the model are paid in any case"
        assert plain.with_actor(Counting()) is plain
    finally:
        server.close()
