"""A person as actor and as intervention, with typed answers from a list."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from selfreg_gym import registry
from selfreg_gym.agents.actors.human import Human, choose
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Decision

ACTIONS = ("go to room 1", "go to room 2", "Done!")


def silent(text: str) -> None:
    """Shows nothing."""


def typed(*answers: str) -> Callable[[str], str]:
    left = iter(answers)
    return lambda question: next(left)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [("2", "go to room 2"), ("done!", "Done!"), ("d", "Done!"), ("GO TO ROOM 1", "go to room 1")],
)
def test_numbers_and_words(answer: str, meaning: str) -> None:
    assert choose(answer, ACTIONS) == meaning


@pytest.mark.parametrize(
    ("answer", "says"),
    [("", "an empty input"), ("0", "from 1 to 3"), ("4", "from 1 to 3"), ("go", "or"), ("fly", "no action has")],
)
def test_invalid_inputs_raise(answer: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        choose(answer, ACTIONS)


def test_free_text() -> None:
    assert choose("fly", ACTIONS, free=True) == "fly"
    assert choose("fly", None) == "fly"


def test_asks_again_until_it_is_an_action() -> None:
    shown: list[str] = []
    human = Human(read=typed("fly", "9", "3"), write=shown.append)
    (act,) = human.act([Decision("a house", ACTIONS)])
    assert act.text == "Done!"
    assert act.error is None
    text = "\n".join(shown)
    assert "a house" in text
    assert "no action has the name 'fly'" in text
    assert "from 1 to 3" in text


@pytest.mark.parametrize(
    ("read", "timeout_s", "says"),
    [
        (lambda question: "fly", None, "'fly'"),
        (lambda question: "fly", 60.0, "'fly'"),
        (lambda question: " ", None, "empty input"),
        (lambda question: None, None, "as a str, received None"),
        (lambda question: 2, 60.0, "as a str, received 2"),
    ],
)
def test_a_question_is_not_repeated_forever(read: Callable[[str], str], timeout_s: float | None, says: str) -> None:
    asked: list[str] = []

    def counted(question: str) -> str:
        asked.append(question)
        return read(question)

    human = Human(read=counted, write=silent, timeout_s=timeout_s)
    (act,) = human.act([Decision("a house", ACTIONS)])
    assert act.error is not None
    assert act.error.startswith("the person gave 10 invalid answers in a row; the last one: ")
    assert says in act.error
    assert len(asked) == 10


def test_invalid_answers_count_from_each_question() -> None:
    human = Human(read=typed(*["fly"] * 9, "1", *["fly"] * 9, "2"), write=silent)
    acts = human.act([Decision("a house", ACTIONS)] * 2)
    assert [act.text for act in acts] == ["go to room 1", "go to room 2"]


@pytest.mark.parametrize("answer", ["q", "quit"])
def test_q_quits(answer: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        Human(read=typed(answer), write=lambda text: None).act([Decision("a house", ACTIONS)])


def test_an_act_without_a_terminal_has_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115  (closed with the test)
    acts = Human().act([Decision("a"), Decision("b")])
    assert all("needs a terminal" in act.error for act in acts)


def test_as_intervention() -> None:
    helper = registry.load("interventions", "human")(read=typed("1"), write=lambda text: None)
    (act,) = helper.actor.act([Decision("a house", ACTIONS)])
    assert (helper.name, helper.cost, act.text) == ("human", 1.0, "go to room 1")
