"""TextAdapter: a text task of a Gymnasium env."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import FreeText, InterventionEnv, InterventionVectorEnv
from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.intervention_env.snapshots import ReplaySnapshots
from selfreg_gym.tasks import Ending, TextAdapter
from selfreg_gym.testing import check_task
from selfreg_gym.types import optional_member

MOVES = ["left", "down", "right", "up"]


def lake(**options: Any) -> TextAdapter:
    """A slippery frozen lake, with keys and an expert."""
    env = gym.make("FrozenLake-v1", is_slippery=True, disable_env_checker=True)
    return TextAdapter(env, lambda field: f"Field {field}.", MOVES, **{"max_steps": 30, **options})


class Doors(gym.Env[np.ndarray, Any]):
    """Doors with numbers; which of them can be opened depends on the state. It reports no success."""

    def __init__(self, shared: list[int] | None = None) -> None:
        self.observation_space = gym.spaces.Box(0, 9, (2,), np.int64)
        self.action_space = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Discrete(10)))
        self.shared = shared  # not reset, and by `Handle` not copied

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.np_random.integers(0, 5, 2)
        return self.state, {"first": True}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.state[action[0]] = (self.state[action[0]] + action[1] + self.np_random.integers(2)) % 10  # in place
        if self.shared is not None:
            self.shared.append(1)
            self.state[1] = len(self.shared) % 10
        return self.state, float(self.state[0]), bool(self.state[0] == 9), False, {}


class Handle(list[int]):
    """Something outside of the env, of which a copy is the same thing."""

    def __deepcopy__(self, memo: Any) -> Handle:
        return self


def doors(shared: list[int] | None = None, **options: Any) -> TextAdapter:
    def possible(state: np.ndarray) -> dict[str, Any]:
        return {f"turn {i} by {k}": (i, k) for i in range(2) for k in range(1, 3 + int(state[0]) % 3)}

    return TextAdapter(
        Doors(shared), lambda state, info, env: f"{state.tolist()} {'first' in info} {type(env).__name__}", possible,
        **{"max_steps": 12, "num_episodes": 7, **options},
    )  # fmt: skip


@pytest.mark.parametrize("make", [lake, doors])
@pytest.mark.parametrize("snapshots", ["auto", "replay", "copy"])
@pytest.mark.parametrize("start", ["episode", "seed"])
def test_it_meets_the_contract(make: Any, snapshots: str, start: str) -> None:
    check_task(make(snapshots=snapshots, start=start))


def test_all_optional_parts_meet_the_contract() -> None:
    task = lake(
        state_key=str, feature_key=lambda field: f"row {field // 4}", feature_vector=lambda field: [field / 16, 1],
        kind=lambda field: "lake", expert=lambda field: "right" if field % 4 < 3 else "down", first_seed=40,
    )  # fmt: skip
    check_task(task)
    _, info = task.reset(seed=0, options={"episode": 3})
    assert info["state_key"] == "FrozenLake-v1-43 0"
    assert (info["feature_key"], info["kind"], info["steps_left"]) == ("row 0", "lake", 30)
    assert info["feature_vector"].dtype == np.float32
    assert optional_member(task, "expert_action")() == "right"
    assert set(optional_member(task, "action_kinds")) == set(MOVES)
    assert optional_member(lake(), "expert_action") is None


def test_it_plays_what_the_env_plays() -> None:
    """The same fields as the wrapped env that is stepped by hand with the same seeds."""
    task = lake()
    text, _ = task.reset(seed=11, options={"episode": 2})
    env = gym.make("FrozenLake-v1", is_slippery=True).unwrapped
    field, _ = env.reset(seed=2)
    np_random = np.random.default_rng(11)
    np_random.integers(1000)
    env.np_random = np.random.default_rng(int(np_random.integers(2**31)))
    assert text == f"Field {field}.\nPossible actions: left, down, right, up"
    over = False
    while not over:
        text, reward, terminated, truncated, info = task.step("right")
        field, expected, done, _, _ = env.step(2)
        over = terminated or truncated
        assert (text.split("\n")[0], reward, terminated) == (f"Field {field}.", expected, done)
    assert info["success"] is (reward > 0)


def test_the_index_fixes_the_start_and_the_seed_what_follows() -> None:
    task = doors()
    starts = {task.reset(seed=seed, options={"episode": 4})[0] for seed in range(5)}
    assert len(starts) == 1
    ends = set()
    for seed in range(8):
        task.reset(seed=seed, options={"episode": 4})
        ends.add(tuple(task.step("turn 1 by 1")[0] for _ in range(3)))
    assert len(ends) > 1
    one = doors(start="seed")
    assert one.num_episodes == 1
    assert len({one.reset(seed=seed, options={"episode": 0})[0] for seed in range(8)}) > 1


def test_reseeding_draws_other_events() -> None:
    task = doors()
    task.reset(seed=0, options={"episode": 1})
    before = task.snapshot()
    found = set()
    for seed in range(6):
        task.restore(before)
        task.reseed(seed)
        found.add(tuple(task.step("turn 0 by 1")[0] for _ in range(3)))
    assert len(found) > 1


def test_copies_that_are_not_exact_are_not_used() -> None:
    assert doors()._copies
    task = doors(Handle())
    assert not task._copies
    assert isinstance(build_task(task), ReplaySnapshots)
    assert not isinstance(build_task(doors()), ReplaySnapshots)

    class Locked(Doors):
        def __init__(self) -> None:
            super().__init__()
            self.handle = open(__file__)  # noqa: SIM115 - a file cannot be copied

    locked = Locked()
    task = TextAdapter(locked, str, {"a": (0, 1)}, max_steps=5)
    locked.handle.close()
    assert not task._copies
    check_task(task)


def test_a_snapshot_keeps_an_observation_that_the_env_changes_in_place() -> None:
    task = doors()
    first, _ = task.reset(seed=0, options={"episode": 0})
    snapshot = task.snapshot()
    task.step("turn 0 by 2")
    task.restore(snapshot)
    assert task._text_of("describe") == first.split("\n")[0]


def test_an_invalid_action_is_a_step_and_does_not_reach_the_env() -> None:
    task = lake(max_steps=3)
    text, _ = task.reset(seed=0)
    for left in (2, 1):
        shown, reward, terminated, truncated, info = task.step("jump")
        assert (shown, reward, terminated, truncated) == (text, 0.0, False, False)
        assert (info["invalid_action"], info["steps_left"]) == (True, left)
    *_, truncated, info = task.step("")
    assert truncated
    assert info["success"] is False


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(None, False), (1.0, True), (1e6, False), (lambda end: end.truncated and end.steps == 3, True)],
)
def test_success(rule: Any, expected: bool) -> None:
    """Three steps upright in CartPole end by the limit, with a total reward of 3."""
    task = TextAdapter("CartPole-v1", str, ["left", "right"], success=rule, max_steps=3, num_episodes=2)
    task.reset(seed=0)
    task.step("left")
    task.step("right")
    info = task.step("left")[4]
    assert info["success"] is info["is_success"] is expected


def test_success_that_the_env_reports() -> None:
    class Reporting(Doors):
        def step(self, action: Any) -> Any:
            return np.zeros(2, np.int64), 5.0, True, False, {"is_success": np.bool_(False)}

    task = TextAdapter(Reporting(), str, {"a": (0, 1)}, max_steps=5)
    task.reset(seed=0)
    assert task.step("a")[4]["success"] is False


def test_an_env_whose_actions_are_text() -> None:
    class Echo(gym.Env[str, str]):
        observation_space = action_space = FreeText()

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return "say it", {}

        def step(self, action: str) -> Any:
            return action, float(action == "it"), action == "it", False, {}

    free = TextAdapter(Echo(), str, max_steps=4)
    check_task(free)
    assert "admissible_actions" not in free.reset(seed=0)[1]
    assert free.step("it")[4]["success"]
    named = TextAdapter(Echo(), str, lambda obs: ["it", f"not {len(obs)}"], max_steps=4, list_actions=False)
    check_task(named)
    assert named.reset(seed=0)[1]["admissible_actions"] == ("it", "not 6")


def test_single_and_vector_env_play_the_same() -> None:
    def actor(text: str) -> str:
        return MOVES[len(text) % 4]

    env = InterventionEnv(lake, actor, [])
    vector = InterventionVectorEnv(2, lake, actor, [])
    single, batched = [env.reset(seed=5)[0]], [vector.reset(seed=[5, 9])[0][0]]
    over = False
    while not over:
        text, _, terminated, truncated, _ = env.step(0)
        single.append(text)
        batched.append(vector.step([0, 0])[0][0])
        over = terminated or truncated
    assert single == batched


def test_an_ending_has_all_that_success_may_need() -> None:
    found: list[Ending] = []
    task = lake(max_steps=2, success=lambda end: bool(found.append(end)))
    task.reset(seed=0)
    task.step("left")
    task.step("left")
    end = found[-1]
    assert (end.steps, end.truncated, end.total_reward) == (2, True, 0.0)
    assert isinstance(end.env.unwrapped, type(gym.make("FrozenLake-v1").unwrapped))
