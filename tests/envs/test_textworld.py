"""TextWorld: games that are built once, exact snapshots, the expert, and commands that must not reach the game."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym.envs.textworld import IDS, TextWorld, challenges, games
from selfreg_gym.envs.textworld.engine import Engine, clean
from selfreg_gym.errors import EpisodeOverError, InvalidArgumentError, NotResetError, UnknownNameError

textworld = pytest.importorskip("textworld")

COOKING = "selfreg/TextWorld-Cooking-v0"


def _make(name: str = COOKING, **kwargs: Any) -> TextWorld:
    return gym.make(name, disable_env_checker=True, **kwargs).unwrapped


def _random_steps(task: TextWorld, rng: np.random.Generator, steps: int) -> list[str]:
    """Admissible actions at random, until the episode is over."""
    actions: list[str] = []
    while len(actions) < steps:
        offered = task._info(invalid=False)["admissible_actions"]
        if not offered:
            break
        actions.append(str(rng.choice(offered)))
        task.step(actions[-1])
    return actions


@pytest.mark.parametrize("name", sorted(IDS))
def test_the_expert_wins_from_the_start_and_after_other_commands(name: str) -> None:
    task, rng, wins = _make(name), np.random.default_rng(3), 0
    for steps in (0, 0, 6, 12):
        _, info = task.reset(seed=0, options={"episode": 0})
        _random_steps(task, rng, steps)
        if task._over:  # a wrong object loses a treasure hunt
            continue
        over, progress = False, [task._current().progress]
        while not over:
            action = task.expert_action()
            assert action in task._current().actions
            _, reward, terminated, truncated, info = task.step(action)
            over = terminated or truncated
            progress.append(task._current().progress)
            assert reward == pytest.approx(progress[-1] - progress[-2])
        wins += info["success"]
        assert info["metrics"] == {"progress": 1.0}
    assert wins >= 2
    task.close()


def test_lazy_policy_is_that_of_textworld() -> None:
    task = _make()
    task.reset(seed=0, options={"episode": 0})
    path = task._game.path
    theirs = textworld.start(str(path), textworld.EnvInfos(policy_commands=True, admissible_commands=True))
    ours, rng = Engine(path), np.random.default_rng(5)
    ours.begin()
    state = theirs.reset()
    for step in range(25):
        assert list(ours.state.admissible_commands) == list(state.admissible_commands)
        if step % 3 == 0:  # asked from time to time
            assert ours.policy() == list(state.policy_commands)
        command = str(rng.choice(state.admissible_commands))
        ours.send(command)
        state, _, done = theirs.step(command)
        if done:
            break
    ours.close()
    theirs.close()


def test_valid_actions_are_those_of_the_state_also_where_it_recurs() -> None:
    task, rng = _make(), np.random.default_rng(3)
    task.reset(seed=0, options={"episode": 0})
    engine = Engine(task._game.path)
    for _ in range(3):
        engine.begin()
        for _ in range(12):
            engine.send(str(rng.choice(engine.state.admissible_commands)))
            world = engine._world
            rules = world.game.kb.rules.values(), world.game.kb.types.constants_mapping
            assert sorted(map(str, world.valid_actions)) == sorted(map(str, world.state.all_applicable_actions(*rules)))
            assert engine.facts() == tuple(sorted(map(str, world.state.facts)))
    commands = ["inventory", "look", *(one for one in engine.state.admissible_commands if one.startswith("go"))]
    known = []
    for _ in range(2):
        engine.begin()
        for command in commands:
            engine.send(command)
        known.append(len(engine._known))
    assert known[0] == known[1] > 0
    engine.close()


def _check_snapshots(name: str, checks: int) -> None:
    task, rng = _make(name), np.random.default_rng(11)
    done = 0
    while done < checks:
        task.reset(seed=done, options={"episode": 0})
        _random_steps(task, rng, int(rng.integers(0, 20)))
        if task._over:
            continue
        position = task.snapshot()
        text, expected = task._text(), []
        actions = _random_steps(task, rng, 4)
        task.restore(position)
        assert task._text() == text
        expected = [task.step(action) for action in actions]
        task.reset(seed=0, options={"episode": 0})
        task.restore(position)
        assert [task.step(action) for action in actions] == expected
        done += 1
    task.close()


def test_snapshots_are_exact() -> None:
    _check_snapshots(COOKING, 25)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(IDS))
def test_many_snapshots_are_exact(name: str) -> None:
    _check_snapshots(name, 1_000)


def test_snapshot_of_another_game() -> None:
    task = _make("selfreg/TextWorld-CoinCollector-v0")
    task.reset(seed=0, options={"episode": 0})
    task.step("look")
    position, text = task.snapshot(), task._text()
    task.reset(seed=0, options={"episode": 1})
    assert task._text() != text
    task.restore(position)
    assert task._text() == text
    assert task._info(invalid=False)["task_id"] == "coin_collector/train/0"


def test_commands_of_the_interpreter_have_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = _make()
    task.reset(seed=0, options={"episode": 0})
    machine = task._game.position().machine[0].tobytes()
    for action in (
        "save",
        "restore",
        "restart",
        "quit",
        "undo",
        "script",
        "SCRIPT ON",
        "tw-print state",
        "",
        "\x00",
        "a" * 9_999,
    ):
        observation, reward, terminated, _, info = task.step(action)
        assert info["invalid_action"] is True
        assert (reward, terminated) == (0.0, False)
        assert observation.count("This is not one of the actions.") == 1
    assert task._game.position().machine[0].tobytes() == machine
    assert list(tmp_path.iterdir()) == []
    _, _, _, _, info = task.step("  LOOK ")
    assert info["invalid_action"] is False


def test_invalid_actions_can_end_the_episode() -> None:
    task = _make(invalid_action="terminate")
    task.reset(seed=0, options={"episode": 0})
    _, _, terminated, truncated, info = task.step("sing")
    assert (terminated, truncated, info["success"], info["steps_left"]) == (True, False, False, 0)
    with pytest.raises(EpisodeOverError):
        task.step("look")


def test_the_recipe_stays_in_the_observation_once_it_was_read() -> None:
    task = _make()
    task.reset(seed=0, options={"episode": 0})
    while "examine cookbook" not in task._current().actions:
        task.step(task.expert_action())
    before = task._current().key
    observation = task.step("examine cookbook")[0]
    recipe = observation[observation.index("Gather all following ingredients") :].split("\n")[1].strip()
    assert task._current().key != before
    for _ in range(2):
        observation = task.step("look")[0]
        assert "You have read:" in observation
        assert recipe in observation


def test_a_reply_is_cleaned() -> None:
    task = _make(page=False)
    first, _ = task.reset(seed=0, options={"episode": 0})
    assert "$$" not in first  # the banner
    assert "cookbook" in first  # the goal
    over, observations = False, [first]
    while not over:
        observation, _, terminated, truncated, _ = task.step(task.expert_action())
        observations.append(observation)
        over = terminated or truncated
    assert not any("\n>" in text or "RESTART" in text or "=-0/" in text for text in observations)
    assert clean("\nYou open it.\n\n\n>      -= Kitchen =-0/3") == "You open it."


def test_games_of_the_splits_differ_and_are_equal_for_equal_specifications() -> None:
    seeds = {
        (challenge, split, index): challenges.game_seed(challenge, split, index)
        for challenge in challenges.CHALLENGES
        for split in challenges.SPLITS
        for index in range(300)
    }
    assert len(set(seeds.values())) == len(seeds)
    cooking = challenges.CHALLENGES["cooking"]
    foods = {split: cooking.of_split(cooking.settings, split, 1)["split"] for split in challenges.SPLITS}
    assert foods["train"] == foods["test-seen"] == "train"
    assert (foods["val-unseen"], foods["test-unseen"]) == ("valid", "test")
    coins = challenges.CHALLENGES["coin_collector"]
    assert coins.of_split({"level": 299}, "test-unseen", 1) == {"level": 300}
    path = games.game_file("tw-coin_collector", {"level": 2}, 5, goal_only=True)
    written = path.stat().st_mtime_ns
    assert games.game_file("tw-coin_collector", {"level": 2}, 5, goal_only=True) == path
    assert path.stat().st_mtime_ns == written  # not built again
    assert sorted(file.name for file in path.parent.iterdir()) == ["game.json", "game.z8"]
    assert games.game_file("tw-coin_collector", {"level": 3}, 5, goal_only=True) != path


BUILD = """
import sys, hashlib
from selfreg_gym.envs.textworld.games import game_file
path = game_file("tw-coin_collector", {"level": 4}, 7, goal_only=True)
print(path)
"""


@pytest.mark.slow
def test_processes_that_build_the_same_game_do_not_disturb_each_other(tmp_path: Path) -> None:
    import os

    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", BUILD], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    paths = {process.communicate(timeout=300)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(paths) == 1
    folder = Path(paths.pop()).parent
    assert [found.name for found in folder.parent.iterdir()] == [folder.name]  # nothing is left of the others
    Engine(folder / "game.z8").begin()


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(UnknownNameError, match="challenge of TextWorld"):
        TextWorld(challenge="cookin")
    with pytest.raises(UnknownNameError, match="setting of tw-cooking"):
        _make(settings={"rooms": 6})
    with pytest.raises(InvalidArgumentError, match="go of tw-cooking must be one of 1, 6, 9, 12, received go=7"):
        _make(settings={"go": 7})
    with pytest.raises(InvalidArgumentError, match="open of tw-cooking"):
        _make(settings={"open": 1})
    with pytest.raises(NotResetError):
        _make().step("look")
    with pytest.raises(InvalidArgumentError, match="snapshot of this task"):
        _make().restore(("a", "b"))


def test_a_missing_package_names_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfreg_gym.errors import MissingPackageError

    monkeypatch.setitem(sys.modules, "textworld", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'selfreg-gym\[textworld\]'"):
        gym.make(COOKING, disable_env_checker=True)
