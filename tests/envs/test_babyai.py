"""BabyAI as text: the same episodes as those of ``minigrid``, exact states, and the expert."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

minigrid_env = pytest.importorskip("minigrid.minigrid_env")

import selfreg_gym  # noqa: E402, F401 - registers the tasks
from selfreg_gym.envs.babyai import IDS, levels, text  # noqa: E402
from selfreg_gym.envs.babyai.env import BabyAI  # noqa: E402
from selfreg_gym.envs.babyai.view import look  # noqa: E402
from selfreg_gym.errors import (  # noqa: E402
    TaskContractError,
)

LARGE = ("GoToLocal", "PickupLoc", "PutNextLocal", "GoToSeqS5R2", "SynthLoc", "BossLevel", "UnlockPickupDist")
"""Levels with all kinds of instructions, one and several rooms, locked doors, boxes and directions."""


def play(env: BabyAI, episode: int, seed: int, *, random: float = 1.0, most: int = 60) -> Any:
    """Play random actions, or the expert's; yield the last result before each step."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed, options={"episode": episode})
    result: tuple[Any, ...] = (observation, 0.0, False, False, info)
    for _ in range(most):
        yield result
        if result[2] or result[3]:
            return
        action = str(rng.choice(text.ACTIONS)) if rng.random() < random else env.expert_action()
        result = env.step(action)


def test_every_id_is_a_level_of_its_name() -> None:
    for name, kwargs in IDS.items():
        if not kwargs:
            assert gym.make(name, disable_env_checker=True).unwrapped.levels == levels.DEFAULT_LEVELS
            continue
        assert levels.level_names()[kwargs["levels"]] == name.removeprefix("selfreg/")
    left_out = set(levels.level_names()) - {kwargs.get("levels") for kwargs in IDS.values()}
    assert left_out == {
        "PutNextS5N2Carrying", "PutNextS6N3Carrying", "PutNextS7N4Carrying", "KeyInBox", "UnlockToUnlock",
        "OpenDoorsOrderN2Debug", "OpenDoorsOrderN4Debug",
    }  # fmt: skip


@pytest.mark.parametrize("level", LARGE)
def test_episodes_are_those_of_minigrid(level: str) -> None:
    """Mission, rewards and ends of random play, and what is seen, equal those of the package's own env."""
    env = BabyAI(levels=level)
    bare: Any = gym.make(levels.level_names()[level], disable_env_checker=True).unwrapped
    for index in range(3):
        image = bare.reset(seed=1_000_000 + index)[0]["image"]
        rng = np.random.default_rng(index)
        observation, info = env.reset(options={"episode": index})
        assert f"Mission: {bare.mission}." in observation.split("\n")
        for _ in range(80):
            assert info["steps_left"] == bare.max_steps - bare.step_count
            assert set(look(env._level).objects) == seen_in(image)
            action = int(rng.integers(len(text.ACTIONS)))
            observed, reward, terminated, truncated, _ = bare.step(action)
            image = observed["image"]
            result = env.step(text.ACTIONS[action])
            assert result[1:4] == (reward, terminated, truncated and not terminated)
            info = result[4]
            if terminated or truncated:
                assert info["success"] is bool(reward > 0)
                assert info["steps_left"] == 0
                break


def seen_in(image: np.ndarray) -> set[tuple[Any, ...]]:
    """The objects in an image of ``minigrid``, with their positions from the agent."""
    from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT

    found = set()
    for (x, y), kind in np.ndenumerate(image[..., 0]):
        if IDX_TO_OBJECT[kind] in ("door", "key", "ball", "box") and (x, y) != (3, 6):
            state = ("open", "closed", "locked")[image[x, y, 2]] if IDX_TO_OBJECT[kind] == "door" else ""
            found.add((IDX_TO_OBJECT[kind], IDX_TO_COLOR[image[x, y, 1]], state, 6 - y, x - 3))
    return found


def test_free_cells_are_those_that_the_agent_can_walk() -> None:
    env = BabyAI(levels="BossLevel")
    for index in range(6):
        for _ in play(env, index, index, most=20):
            n, behind = look(env._level).ahead
            snapshot, walked = env.snapshot(), 0
            while walked < 6:
                before = env._pose()
                if any(env.step("forward")[2:4]) or env._pose() == before:
                    break
                walked += 1
            assert walked == n or (behind == "" and walked > n) or env._over
            env.restore(snapshot)


def drawn_by(env: BabyAI) -> tuple[Any, ...]:
    """The grid as ``minigrid`` encodes it, the agent's place, and what it carries."""
    level, carried = env._level, env._level.carrying
    return level.grid.encode().tolist(), env._pose(), carried and carried.encode()


def check_snapshots(level: str, checks: int, seed: int = 0) -> None:
    """Snapshots in the middle of episodes: what follows is the same, also in another env object."""
    env, other = BabyAI(levels=level, vector=True), BabyAI(levels=level, vector=True)
    rng, done, episode = np.random.default_rng(seed), 0, 0
    while done < checks:
        episode += 1
        for result in play(env, episode, episode, random=0.7, most=int(rng.integers(5, 60))):
            if result[2] or result[3] or rng.random() > 0.25:
                continue
            done += 1
            snapshot = env.snapshot()
            drawn, advice = drawn_by(env), env.expert_action()
            actions = [str(action) for action in rng.choice(text.ACTIONS, size=12)]
            futures = []
            for one in (env, other, env):
                one.restore(snapshot)
                assert drawn_by(one) == drawn
                assert one.snapshot().state == snapshot.state
                assert one.expert_action() == advice
                future = []
                for action in actions:
                    future.append(one.step(action))
                    future[-1][4].setdefault("feature_vector")
                    future[-1][4]["feature_vector"] = future[-1][4]["feature_vector"].tolist()
                    if any(future[-1][2:4]):
                        break
                futures.append(future)
            assert futures[0] == futures[1] == futures[2]
            env.restore(snapshot)


@pytest.mark.parametrize("level", LARGE)
def test_snapshots_are_exact(level: str) -> None:
    check_snapshots(level, 8)


@pytest.mark.slow
@pytest.mark.parametrize("level", LARGE)
def test_a_thousand_snapshots_are_exact(level: str) -> None:
    check_snapshots(level, 1000, seed=1)


@pytest.mark.parametrize("level", ["PutNextLocalS5N3", "GoToSeqS5R2", "UnlockPickup"])
def test_equal_keys_are_equal_states(level: str) -> None:
    """The state key and the whole state without the clock determine each other."""
    env = BabyAI(levels=level)
    states: dict[str, Any] = {}
    keys: dict[Any, str] = {}
    visits = 0
    for seed in range(10):
        for _, _, terminated, truncated, info in play(env, 4, seed, most=70):
            if terminated or truncated:
                continue
            state = env.snapshot().state
            done = tuple(tuple(part == "success" for part in both) for both in state.done)
            noted = tuple((before, tuple(map(frozenset, places))) for before, places in state.checks)
            whole = (state.agent, state.carried, state.cells, state.doors, noted, done)
            visits += 1
            assert states.setdefault(info["state_key"], whole) == whole
            assert keys.setdefault(whole, info["state_key"]) == info["state_key"]
    assert len(states) < visits  # some states occurred again


@pytest.mark.parametrize("level", LARGE)
def test_the_expert_succeeds_from_any_state(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It succeeds alone, and after random actions it has an answer at each step. It changes and prints nothing."""
    env = BabyAI(levels=level)
    *_, (_, _, _, _, info) = play(env, 2, 0, random=0.0, most=3000)
    assert info["success"]
    for random in (0.3, 0.8):
        for _, _, terminated, truncated, _ in play(env, 3, 1, random=random, most=50):
            if not (terminated or truncated):
                before = env.snapshot()
                action = env.expert_action()
                assert action in text.ACTIONS
                assert env.expert_action() == action
                assert env.snapshot() == before
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_the_expert_succeeds_on_every_level(name: str) -> None:
    env: Any = gym.make(name, disable_env_checker=True).unwrapped
    won = []
    for episode in range(12):
        *_, (_, _, _, _, info) = play(env, episode, 0, random=0.0, most=3000)
        won.append(info["success"])
        for _ in play(env, episode, episode, random=0.5, most=80):
            if not env._over:
                env.expert_action()
    assert np.mean(won) > 0.9


def test_the_expert_answers_the_same_whether_it_was_asked_before_or_not() -> None:
    asked, silent = BabyAI(levels="UnlockPickup"), BabyAI(levels="UnlockPickup")
    answers = []
    for _ in play(asked, 5, 3, random=0.6, most=40):
        if not asked._over:
            answers.append(asked.expert_action())
            taken = list(asked._taken)
    silent.reset(options={"episode": 5})
    for number in taken:
        silent.step(text.ACTIONS[number])
    assert silent.expert_action() == answers[-1]


def test_the_expert_finds_objects_behind_doors_that_were_closed_again() -> None:
    env = BabyAI(levels="GoToSeqS5R2", split="actor-train")
    env.reset(options={"episode": 946})  # go to a red door and go to a ball
    for action in ("right", "forward", "toggle", "toggle"):
        result = env.step(action)
    while not (result[2] or result[3]):
        result = env.step(env.expert_action())
    assert result[4]["success"]
    assert result[4]["metrics"]["steps"] < 20


def test_an_expert_without_a_plan_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfreg_gym.envs.babyai import expert

    monkeypatch.setattr(expert, "_MOST_SEARCHES", 0)
    env = BabyAI(levels="GoToLocal")
    env.reset(options={"episode": 1})
    with pytest.raises(TaskContractError, match=r"no plan for the mission 'go to .* more than 0 searches"):
        env.expert_action()


def test_a_mission_whose_object_was_destroyed_has_an_answer() -> None:
    """A box that was opened is gone. The mission is then impossible, so the expert's answer does not matter."""
    env = BabyAI(levels="PickupDist")
    for episode in range(60):
        observation, _ = env.reset(options={"episode": episode})
        if "Mission: pick up the" in observation and observation.count(" box ") == 1 and "box." in observation:
            break
    while env.expert_action() != "pickup":
        env.step(env.expert_action())
    env.step("toggle")
    assert env.expert_action() in text.ACTIONS


def test_levels_whose_generation_does_not_end_get_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = levels.make_level("GoToLocal", 5, None)
    draws: list[int] = []
    generate = levels._generate

    def fails_once(level: Any, seed: int) -> None:
        draws.append(seed)
        if len(draws) == 1:
            raise levels._TooManyDraws
        generate(level, seed)

    monkeypatch.setattr(levels, "_generate", fails_once)
    second = levels.make_level("GoToLocal", 5, None)
    assert draws == [5, 5 + levels._NEXT_ATTEMPT]
    assert first.hash() != second.hash()
    monkeypatch.setattr(levels, "_generate", generate)
    monkeypatch.setattr(levels, "_MOST_DRAWS", 3)
    with pytest.raises(TaskContractError, match="GoToLocal of BabyAI could not be generated"):
        levels.make_level("GoToLocal", 5, None)


def test_generation_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    env = BabyAI(levels="PutNextLocal")
    for episode in range(30):
        env.reset(options={"episode": episode})
    assert capsys.readouterr().out == ""


def test_sequences_say_what_is_done() -> None:
    env = BabyAI(levels="GoToSeqS5R2")
    told = set()
    for episode in range(8):
        for observation, *_ in play(env, episode, 0, random=0.0, most=300):
            told.update(line for line in observation.split("\n") if line.startswith("Done: "))
    assert any(line.startswith("Done: go to ") for line in told)


@pytest.mark.parametrize(("agent", "most"), [("tiny", 1_050_000), ("strong", 1_800_000)])
def test_the_shipped_actors_are_those_of_babyai(agent: str, most: int) -> None:
    """They know every word of the decisions of the levels that they were trained for, and act on each level."""
    from selfreg_gym import InterventionEnv
    from selfreg_gym.agents.actors._shipped import ShippedLM

    task = BabyAI(max_steps=30, split="val")
    actor = ShippedLM(agent).with_task(task)
    assert actor.checkpoint_dir.parts[-2:] == ("babyai", agent)
    assert (actor.checkpoint_dir / "model.safetensors").stat().st_size < most
    results = [result for episode in range(12) for result in play(task, episode, episode, random=0.5, most=30)]
    texts = [observation for observation, _, terminated, truncated, _ in results if not (terminated or truncated)]
    assert actor.unknown_tokens(texts)[0] == 0
    env = InterventionEnv("selfreg/BabyAI-GoToLocal-v0", "tiny", ["strong"])
    env.reset(seed=0, options={"episode": 0})
    env.step(0)
    env.step(1)
    assert env.actor.checkpoint_dir.parts[-2:] == ("babyai", "tiny")
    assert env.interventions[0].actor.checkpoint_dir.parts[-2:] == ("babyai", "strong")
