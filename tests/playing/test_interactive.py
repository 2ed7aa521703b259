"""A person in the terminal, in each of the three roles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.playing.interactive import play_episode

COIN = "selfreg/Coin-v0"


def typed(answers: Iterable[str]) -> Callable[[str], str]:
    left = iter(answers)
    return lambda question: next(left)


def endless(answer: str) -> Callable[[str], str]:
    return lambda question: answer


def test_as_actor() -> None:
    shown: list[str] = []
    info = play_episode(COIN, role="actor", episode=0, seed=1, read=endless("heads"), write=shown.append)
    text = "\n".join(shown)
    assert "coin-0. You are the actor" in text
    assert "1  heads" in text
    assert "the actor -> heads" in text
    assert ("success" if info["success"] else "failure") in shown[-1]
    assert f" after {info['step']} step{'' if info['step'] == 1 else 's'}." in shown[-1]


def test_as_helper_each_step_is_a_decision() -> None:
    """The expert always wins: asking at every step must succeed, with one unit of usage per step."""
    shown: list[str] = []
    info = play_episode(COIN, role="helper", actor="human", episode=1, read=typed("91111"), write=shown.append)
    text = "\n".join(shown)
    assert "a decision is a number from 0 to 1, received '9'" in text
    assert "1  help: ask expert" in text
    assert info["success"]
    assert info["usage"].tolist() == [3.0]
    assert "help used: expert 3" in shown[-1]


def test_as_helper_nohelp_lets_the_actor_act() -> None:
    """``human`` as actor without a terminal fails; the message says so, instead of a wrong outcome."""
    with pytest.raises(InvalidArgumentError, match="needs a terminal"):
        play_episode(COIN, role="helper", actor="human", read=typed(["0"]), write=lambda text: None)


def test_as_intervention_the_person_is_asked() -> None:
    shown: list[str] = []
    info = play_episode(
        COIN, role="intervention", actor="human", help_probability=1.0, read=endless("heads"), write=shown.append
    )
    assert info["intervention"] == "human"
    assert "your help is requested" in "\n".join(shown)
    assert info["usage"].sum() >= 1


@pytest.mark.parametrize("role", ["actor", "helper"])
def test_q_quits(role: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        play_episode(COIN, role=role, actor="human", read=endless("q"), write=lambda text: None)


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("actor", "10 invalid answers in a row; the last one: a number must be from 1 to 2, received 77"),
        ("helper", "from 0 to 1, and 10 invalid answers were received, the last one '77'"),
    ],
)
def test_a_question_is_not_repeated_forever(role: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        play_episode(COIN, role=role, read=endless("77"), write=lambda text: None)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'helper'"):
        play_episode(COIN, role="helpr")
    with pytest.raises(UnknownNameError, match=r"unknown task.*Did you mean 'selfreg/Coin-v0'"):
        play_episode("selfreg/Coins-v0", role="actor")


def test_the_same_seed_is_the_same_episode() -> None:
    def run() -> list[str]:
        shown: list[str] = []
        play_episode(COIN, role="actor", episode=3, seed=5, read=endless("heads"), write=shown.append)
        return shown

    assert run() == run()


def test_costs_usage_and_loading_are_shown() -> None:
    answers, shown = iter(["1", "0", "0", "0", "0"]), []
    play_episode(
        "selfreg/Coin-v0", role="helper", task_kwargs={"heads": 0.999, "max_episode_steps": 2}, episode=3,
        read=lambda prompt: next(answers), write=shown.append,
    )  # fmt: skip
    text = "\n".join(shown)
    assert "Loading task 'selfreg/Coin-v0', actor 'scripted', intervention 'expert' ..." in shown[0]
    assert "ask expert (a call costs 1 cost unit; used so far: 0)" in text
    assert "ask expert (a call costs 1 cost unit; used so far: 1)" in text
    assert "(cost 1, 1 cost unit so far)" in text
    assert "after 2 steps; help used: expert 1 cost unit" in text


def test_control_characters_of_a_task_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfreg_gym.envs.coin import Coin

    monkeypatch.setattr(Coin, "_page", lambda self: "\x1b[2J", raising=False)
    shown: list[str] = []
    play_episode("selfreg/Coin-v0", role="actor", read=typed(["heads"] * 20), write=shown.append)
    assert not any("\x1b" in line for line in shown)


def test_a_help_probability_outside_its_range() -> None:
    with pytest.raises(InvalidArgumentError, match="help_probability must be a finite number"):
        play_episode("selfreg/Coin-v0", role="intervention", help_probability=2)
