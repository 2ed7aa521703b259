"""Tasks of TextArena and GEM objects. Neither package is part of the extra dev."""

from __future__ import annotations

import logging
import random
import re
import sys
from typing import Any

import numpy as np
import pytest

from selfreg_gym import History, InterventionEnv, InterventionVectorEnv
from selfreg_gym.errors import InvalidArgumentError, MissingPackageError
from selfreg_gym.tasks import GEMTask, TextArenaTask
from selfreg_gym.tasks.global_random import GlobalRandom
from selfreg_gym.testing import check_task

RAW = "GuessTheNumber-v0-raw"
EASY = "game:GuessTheNumber-v0-hard"
GUESSES = [f"[{n}]" for n in range(1, 21)]


def arena(game: Any = RAW, **options: Any) -> TextArenaTask:
    pytest.importorskip("textarena")
    return TextArenaTask(game, **options)


def gem(game: Any = EASY, **options: Any) -> GEMTask:
    pytest.importorskip("gem")
    return GEMTask(game, **options)


def global_state() -> Any:
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return random.getstate(), state["state"]["key"].tobytes(), state["state"]["pos"]


def halving(text: str) -> str:
    """Guess the middle of what the dialogue allows, in the format of either package."""
    low, high = 1, int(re.search(r"between 1 and (\d+)", text)[1])  # type: ignore[index]
    for turn in text.split("\n> ")[1:]:
        guess = int(re.search(r"\d+", turn)[0])  # type: ignore[index]
        low, high = (low, guess - 1) if "lower" in turn else (guess + 1, high)
    middle = (low + high) // 2
    return f"[{middle}]" if "square brackets" in text else f"\\boxed{{{middle}}}"


@pytest.mark.parametrize("make", [arena, gem])
@pytest.mark.parametrize("snapshots", ["auto", "replay"])
def test_games_meet_the_contract(make: Any, snapshots: str) -> None:
    """The contract includes the same episode for the same seed, and untouched global generators."""
    check_task(make(snapshots=snapshots), episodes=2)


@pytest.mark.parametrize("make", [arena, gem])
def test_with_a_history_a_writer_can_play(make: Any) -> None:
    env = InterventionEnv(lambda: History(make()), halving, [])
    won = []
    for episode in range(6):
        env.reset(seed=episode, options={"episode": episode})
        over = False
        while not over:
            *_, terminated, truncated, info = env.step(0)
            over = terminated or truncated
        won.append(info["success"])
        assert info["error"] is None
    assert all(won), "halving finds a number in six guesses"


@pytest.mark.parametrize("make", [arena, gem])
def test_the_index_fixes_the_game(make: Any) -> None:
    """The same number is found whatever the seed of the episode, and other indices have others."""

    def number(episode: int, seed: int) -> str:
        env = InterventionEnv(lambda: History(make()), halving, [])
        env.reset(seed=seed, options={"episode": episode})
        info: dict[str, Any] = {}
        while not info.get("success"):
            *_, info = env.step(0)
        return info["action_text"]

    assert len({number(3, seed) for seed in range(3)}) == 1
    assert len({number(episode, 0) for episode in range(6)}) > 2


@pytest.mark.parametrize("make", [arena, gem])
def test_the_programs_generators_are_not_touched_and_do_not_matter(make: Any) -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = global_state()
    task = make()
    first = [task.reset(seed=3, options={"episode": 1})[0], task.step("[7] \\boxed{7}")[0]]
    assert global_state() == before
    random.seed(2)
    assert [task.reset(seed=3, options={"episode": 1})[0], task.step("[7] \\boxed{7}")[0]] == first


def test_two_games_in_one_process_do_not_disturb_each_other() -> None:
    """Games that draw at each step, one alone and two in turn: the same episodes."""
    textarena = pytest.importorskip("textarena")

    class Dice(textarena.Env):  # type: ignore[name-defined, misc]
        def reset(self, num_players: int, seed: int | None = None) -> None:
            self.state = textarena.SinglePlayerState(num_players=num_players, seed=seed, max_turns=6)
            self.state.reset(game_state={}, player_prompt_function=lambda **_: "Roll the dice.")

        def step(self, action: str) -> Any:
            rolled = f"{random.randint(1, 6)} {np.random.randint(1, 7)}"  # noqa: NPY002
            self.state.add_observation(message=rolled, observation_type=textarena.ObservationType.GAME_MESSAGE)
            if self.state.turn >= 5:
                self.state.set_outcome(reward=1.0, reason="enough")
            return self.state.step()

    def play(task: TextArenaTask) -> Any:
        yield task.reset(seed=8, options={"episode": 0})[0]
        for _ in range(5):
            yield task.step("roll")[0]

    alone = list(play(TextArenaTask(Dice)))
    two = list(zip(play(TextArenaTask(Dice)), play(TextArenaTask(Dice())), strict=True))
    assert alone == [one for one, _ in two] == [other for _, other in two]
    assert len(set(alone)) > 4
    check_task(TextArenaTask(Dice))
    task = TextArenaTask(Dice)
    task.reset(seed=8, options={"episode": 0})
    before, found = task.snapshot(), set()
    for seed in range(4):
        task.restore(before)
        task.reseed(seed)
        found.add(task.step("roll")[0])
    assert len(found) > 1


def test_an_object_is_copied_as_it_is_given() -> None:
    textarena = pytest.importorskip("textarena")
    game = textarena.make(RAW)
    task = arena(game)
    assert task.name == RAW
    text = task.reset(seed=0, options={"episode": 2})[0]
    assert text == arena(RAW).reset(seed=0, options={"episode": 2})[0]
    assert not hasattr(game, "state"), "the given object is never played"


def test_names_of_actions_serve_actors_that_choose() -> None:
    task = arena(actions=GUESSES)
    check_task(task, episodes=1)
    _, info = task.reset(seed=0)
    assert info["admissible_actions"] == tuple(GUESSES)
    shown, _, _, _, info = task.step("[99]")
    assert info["invalid_action"]
    assert "between 1 and 20" in shown, "the game was not called"

    def open_guesses(text: str, info: Any, game: Any) -> list[str]:
        return [f"[{n}]" for n in range(1, 21) if n not in game.guessed_numbers]

    task = arena(actions=open_guesses)
    check_task(task, episodes=1)
    task.reset(seed=0, options={"episode": 0})
    info = task.step("[5]")[4]
    assert "[5]" not in info["admissible_actions"]
    assert len(info["admissible_actions"]) == 19


def test_the_game_says_which_actions_were_invalid() -> None:
    task = arena()
    task.reset(seed=0, options={"episode": 0})
    text, _, terminated, _, info = task.step("I do not know")
    assert info["invalid_action"]
    assert "invalid move" in text
    assert not terminated
    text, _, terminated, _, info = task.step("still not")
    assert terminated
    assert info["invalid_action"]
    assert info["success"] is False
    assert "Invalid Move" in text


def test_a_vector_env_plays_the_same() -> None:
    single = InterventionEnv(lambda: History(arena()), halving, [])
    vector = InterventionVectorEnv(3, lambda: History(arena()), halving, [])
    one = [single.reset(seed=2, options={"episode": 1})[0]] + [single.step(0)[0] for _ in range(2)]
    many = [vector.reset(seed=2, options={"episode": [1, 2, 3]})[0][0]] + [vector.step([0] * 3)[0][0] for _ in range(2)]
    assert one == many


def test_wrong_uses() -> None:
    pytest.importorskip("textarena")
    with pytest.raises(InvalidArgumentError, match="one player"):
        arena("TicTacToe-v0-raw")
    with pytest.raises(InvalidArgumentError, match="no game with the id"):
        arena("GuessTheNumbers-v0")
    with pytest.raises(InvalidArgumentError, match="must be an id"):
        arena(3)
    with pytest.raises(InvalidArgumentError, match="must return a textarena"):
        arena(dict)
    with pytest.raises(InvalidArgumentError, match="given by its id"):
        arena(lambda: None, kwargs={"max_turns": 3})
    with pytest.raises(InvalidArgumentError, match="sequence of texts"):
        arena(actions="up")


def test_arguments_of_an_id() -> None:
    task = arena(kwargs={"max_number": 3})
    assert "between 1 and 3" in task.reset(seed=0)[0]


@pytest.mark.parametrize(("kind", "package"), [(TextArenaTask, "textarena"), (GEMTask, "gem-llm")])
def test_without_the_package_the_error_names_it(kind: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package.partition("-")[0], None)
    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        kind("any")


def test_gem_does_not_change_the_logging_of_the_program() -> None:
    before = list(logging.getLogger().handlers), logging.getLogger().level
    gem()
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before


def test_the_states_of_a_game_go_on_where_they_were() -> None:
    generators = GlobalRandom.seeded(2**40 + 7)
    with generators.active():
        first = [random.random(), np.random.rand()]  # noqa: NPY002
    with generators.active():
        second = [random.random(), np.random.rand()]  # noqa: NPY002
    with GlobalRandom.seeded(2**40 + 7).active():
        assert [random.random(), np.random.rand()] == first  # noqa: NPY002
        assert [random.random(), np.random.rand()] == second  # noqa: NPY002
    with pytest.raises(ZeroDivisionError), generators.active():
        raise ZeroDivisionError
