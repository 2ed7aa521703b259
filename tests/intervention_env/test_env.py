"""InterventionEnv: rewards, usage, infos, seeds, failures of actors, snapshots, clear errors."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from selfreg_gym import Act, Decision, Intervention, InterventionEnv
from selfreg_gym.errors import (
    EpisodeOverError,
    InvalidArgumentError,
    MissingPackageError,
    NotResetError,
    SetupError,
)
from selfreg_gym.spaces import FreeText
from selfreg_gym.testing import ExpertActor, RandomActor


def make(actor: Any = lambda text: "heads", *, cost: float = 1.0, **kwargs: Any) -> InterventionEnv:
    kwargs.setdefault("interventions", [Intervention(ExpertActor(), name="expert", cost=cost)])
    return InterventionEnv("selfreg/Coin-v0", actor, **kwargs)


class Says:
    """An actor that answers with whatever the function of the decisions returns."""

    def __init__(self, answer: Callable[[Sequence[Decision]], Any]) -> None:
        self.answer = answer

    def act(self, decisions: Sequence[Decision]) -> Any:
        return self.answer(decisions)

    def __deepcopy__(self, memo: dict[int, Any]) -> Says:
        return self


# --- one step ---------------------------------------------------------------------------------------------------------


def test_the_action_selects_who_acts_and_the_reward_is_success_minus_help_cost() -> None:
    env = make(actor=lambda text: "neither", help_cost=0.1, cost=2.0)
    env.reset(seed=0, options={"episode": 0})
    observation, reward, terminated, truncated, info = env.step(1)
    assert observation == "Coin 2 of 2 lies under the cup. Call it: heads or tails?"
    assert (reward, terminated, truncated) == (-0.2, False, False)
    assert (info["intervention"], info["cost"], info["step"], info["success"]) == ("expert", 2.0, 1, False)
    observation, reward, terminated, truncated, info = env.step(1)
    assert (reward, terminated, info["success"], info["is_success"]) == (0.8, True, True, True)
    np.testing.assert_array_equal(info["usage"], [4.0])

    env.reset(seed=0, options={"episode": 0})
    _, reward, terminated, _, info = env.step(0)
    assert (reward, terminated, info["intervention"], info["action_text"]) == (0.0, True, None, "neither")
    assert info["invalid_action"] is True
    np.testing.assert_array_equal(info["usage"], [0.0])


def test_help_cost_is_not_rounded() -> None:
    rewards = []
    for help_cost in (0.1234567, 0.1234568):
        env = make(help_cost=help_cost)
        env.reset(seed=0, options={"episode": 3})
        rewards.append(env.step(1)[1])
    assert rewards == [-0.1234567, -0.1234568]


def test_usage_is_counted_per_intervention_in_a_new_array_per_info() -> None:
    two = [Intervention(ExpertActor(), name="a"), Intervention(ExpertActor(), name="b", cost=0.5)]
    env = make(interventions=two)
    _, info = env.reset(seed=0, options={"episode": 3})
    seen = [info["usage"]] + [env.step(action)[4]["usage"] for action in (1, 2, 2)]
    assert [usage.tolist() for usage in seen] == [[0, 0], [1, 0], [1, 0.5], [1, 1.0]]
    assert all(usage.dtype == np.float64 for usage in seen)


def test_the_cost_of_an_act_replaces_the_expected_cost_and_the_actor_is_free() -> None:
    said = Says(lambda decisions: [Act(d.task.get_wrapper_attr("expert_action")(), cost=0.25) for d in decisions])
    env = make(actor=said, interventions=[Intervention(said, name="meter", cost=9.0)], help_cost=1.0)
    env.reset(seed=0, options={"episode": 1})
    assert env.step(1)[1] == -0.25
    assert env.step(0)[1] == 0.0
    assert env.step(0)[4]["usage"].tolist() == [0.25]


def test_the_info_of_the_task_is_passed_on() -> None:
    env = make()
    _, info = env.reset(seed=4, options={"episode": 2})
    assert info["admissible_actions"] == ("heads", "tails")
    assert (info["state_key"], info["feature_key"], info["steps_left"]) == ("coin-2/4", "4 left", 4)
    assert (info["task_id"], info["task_seed"], info["kind"], info["error"]) == ("coin-2", 4, "coin", None)
    for _ in range(4):
        info = env.step(1)[4]
    assert info["metrics"] == {"coins": 4.0}


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_a_seed_goes_to_the_task_and_none_is_drawn_from_np_random() -> None:
    env, task = make(), gym.make("selfreg/Coin-v0")
    assert env.reset(seed=9)[1]["task_id"] == task.reset(seed=9)[1]["task_id"]
    drawn = [env.reset()[1]["task_seed"] for _ in range(3)]
    assert len(set(drawn)) == 3
    env.reset(seed=9)
    assert [env.reset()[1]["task_seed"] for _ in range(3)] == drawn
    assert env.np_random_seed == 9


def test_the_lazy_np_random_is_gymnasiums_stream() -> None:
    env = make()
    env.reset(seed=5)
    assert env.np_random.random() == gym.utils.seeding.np_random(5)[0].random()
    env.np_random = np.random.default_rng(1)
    assert env.np_random.random() == np.random.default_rng(1).random()


def test_the_actors_stream_is_not_the_tasks() -> None:
    drawn: list[float] = []

    def answer(decisions: Sequence[Decision]) -> list[str]:
        drawn.extend(decision.rng.random() for decision in decisions)
        return ["heads"] * len(decisions)

    env = make(actor=Says(answer))
    for seed in range(20):
        env.reset(seed=seed, options={"episode": 0})
        env.step(0)
        assert drawn[-1] != gym.utils.seeding.np_random(seed)[0].random()
    assert len(set(drawn)) == 20


def test_earlier_actions_do_not_change_an_actors_draw() -> None:
    said: list[float] = []
    expert = ExpertActor()

    def answer(decisions: Sequence[Decision]) -> list[str]:
        said.extend(decision.rng.random() for decision in decisions)
        return expert.act(decisions)

    for first in (0, 1):
        env = make(actor=Says(answer))
        env.reset(seed=3, options={"episode": 3})
        env.step(first)
        env.step(0)
    # (said at step 0 and 1 of the first run, at step 1 of the second)
    assert said[1] == said[2]


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_an_invalid_seed_raises(seed: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="non-negative integer"):
        make().reset(seed=seed)


# --- failures of actors -----------------------------------------------------------------------------------------------


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda ds: [Act("heads", error="server is down")], "server is down"),
        (lambda ds: _raise(TimeoutError("60 s")), "TimeoutError: 60 s"),
        (lambda ds: [], "received 0 for 1"),
        (lambda ds: ["heads", "heads"], "received 2 for 1"),
        (lambda ds: None, "must return a list of acts, received None"),
        (lambda ds: [3], "an act must be a str or an Act, received 3"),
        (lambda ds: [Act(None)], "an act's text must be a str"),
        (lambda ds: [Act("heads", cost=-1.0)], "cost must be a number from 0"),
        (lambda ds: [Act("heads", cost=float("nan"))], "cost must be a number from 0"),
    ],
)
@pytest.mark.parametrize("who", [0, 1])
def test_a_failing_actor_truncates_the_episode(answer: Callable[..., Any], message: str, who: int) -> None:
    env = make(actor=Says(answer), interventions=[Intervention(Says(answer), name="friend")], help_cost=0.5)
    before, _ = env.reset(seed=0, options={"episode": 0})
    with pytest.warns(UserWarning, match=f"truncated and excluded from statistics: .*{re.escape(message)}"):
        observation, reward, terminated, truncated, info = env.step(who)
    assert (observation, reward, terminated, truncated) == (before, 0.0, False, True)
    assert message in info["error"]
    assert (info["success"], info["cost"], info["action_text"]) == (False, 0.0, None)
    assert info["usage"].tolist() == [0.0]
    assert info["intervention"] == (None, "friend")[who]
    with pytest.raises(EpisodeOverError):
        env.step(0)
    env.reset(seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert env.step(who)[3], "it warns once"


def test_a_keyboard_interrupt_is_not_swallowed() -> None:
    env = make(actor=Says(lambda ds: _raise(KeyboardInterrupt())))
    env.reset(seed=0)
    with pytest.raises(KeyboardInterrupt):
        env.step(0)


@pytest.mark.parametrize("error", [SetupError("no key"), MissingPackageError("no openai")], ids=repr)
@pytest.mark.parametrize("who", [0, 1])
def test_a_setup_error_of_an_actor_propagates(error: Exception, who: int) -> None:
    says = Says(lambda ds: _raise(error))
    env = make(actor=says, interventions=[Intervention(says, name="friend")])
    env.reset(seed=0)
    with pytest.raises(type(error), match=str(error)):
        env.step(who)


def test_a_str_subclass_is_an_act() -> None:
    class Text(str):
        __slots__ = ()

    env = make(actor=Says(lambda ds: [Text("heads")]))
    env.reset(seed=0)
    assert env.step(0)[4]["action_text"] == "heads"


# --- clear errors -----------------------------------------------------------------------------------------------------


def test_step_before_reset_and_after_the_end() -> None:
    env = make(actor=lambda text: "neither")
    for call in (lambda: env.step(0), env.snapshot, env.render):
        with pytest.raises(NotResetError, match=r"call reset\(\) first"):
            call()
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(EpisodeOverError, match=r"call reset\(\) to begin the next"):
        env.step(0)
    env.reset(seed=0)
    env.step(0)


@pytest.mark.parametrize("action", [2, -1, 0.0, "1", None, np.array([1]), np.float32(1)])
def test_a_wrong_action_names_the_range_and_the_interventions(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match=r"integer from 0 to 1 \(0 = nohelp, 1 = help from 'expert'\), rece"):
        env.step(action)
    assert env.slots[0].t == 0


@pytest.mark.parametrize("action", [1, np.int64(1), np.array(1), np.uint8(1), True, np.bool_(True)])
def test_any_integer_is_an_action(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    assert env.step(action)[4]["intervention"] == "expert"


class Plain(gym.Env[str, str]):
    """A task with no optional part: three steps, then success if the constructor says so."""

    def __init__(self, last: dict[str, Any] | None = None) -> None:
        self.observation_space = self.action_space = FreeText()
        self.last = {"success": True} if last is None else last
        self.shared: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return f"{self.np_random.integers(10**9)}", self.shared

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.t += 1
        over = self.t == 3
        return f"{self.np_random.integers(10**9)}", 0.0, over, False, (self.last if over else self.shared)


def test_a_plain_task_gets_defaults_and_its_dicts_are_not_changed() -> None:
    task = Plain()
    env = InterventionEnv(task, str, [])
    observation, info = env.reset(seed=0)
    assert (info["state_key"], info["task_id"], info["invalid_action"]) == (observation, "", False)
    assert "admissible_actions" not in info
    assert [env.step(0)[1] for _ in range(3)] == [0.0, 0.0, 1.0]
    assert task.shared == {}


def test_success_counts_on_the_last_step_only() -> None:
    task = Plain()
    task.shared = {"success": True}
    env = InterventionEnv(task, str, [])
    assert env.reset(seed=0)[1]["success"] is False
    assert [env.step(0)[1] for _ in range(3)] == [0.0, 0.0, 1.0]


def test_a_task_that_ends_without_an_outcome_breaks_the_contract() -> None:
    env = InterventionEnv(Plain(last={"done": 1}), str, [])
    env.reset(seed=0)
    env.step(0)
    env.step(0)
    info = env.step(0)[4]
    assert "info['success']" in info["error"]
    assert not info["success"]


def test_an_episode_truncated_by_a_time_limit_is_a_failure() -> None:
    env = InterventionEnv(gym.wrappers.TimeLimit(Plain(), 2), str, [])
    env.reset(seed=0)
    env.step(0)
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated, info["success"], info["error"]) == (0.0, False, True, False, None)


# --- snapshots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["selfreg/Coin-v0", Plain])
def test_a_snapshot_restores_the_exact_state(task: Any) -> None:
    env = InterventionEnv(task, RandomActor(), [Intervention(lambda text: "heads", name="friend")], help_cost=0.1)
    env.reset(seed=1)
    env.step(1) if task is Plain else None
    snapshot = env.snapshot()

    def rest() -> list[Any]:
        shown = []
        while not env.slots[0].over:
            observation, reward, terminated, _, info = env.step(1 if len(shown) == 0 else 0)
            shown.append((observation, reward, terminated, info["usage"].tolist(), info["state_key"], info["step"]))
        return [*shown, env.reset()[1]["task_seed"]]

    first = rest()
    for _ in range(2):
        env.restore(snapshot)
        assert rest() == first


# --- Gymnasium --------------------------------------------------------------------------------------------------------


def test_passes_gymnasiums_checker_without_a_warning() -> None:
    env = gym.make(
        "selfreg/Intervention-v0",
        task="selfreg/Coin-v0",
        actor=RandomActor(),
        interventions=[Intervention(ExpertActor(), name="expert")],
        help_cost=0.1,
        render_mode="ansi",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_the_spec_of_names_is_json_and_makes_the_env_again() -> None:
    spec = gym.spec("selfreg/Intervention-v0")
    spec = gym.envs.registration.EnvSpec.from_json(spec.to_json())
    spec.kwargs = {"task": "selfreg/Coin-v0", "actor": "human", "interventions": ["human"], "help_cost": 0.1}
    env = gym.make(spec)
    assert env.spec is not None
    written = env.spec.to_json()
    assert json.loads(written)["kwargs"] == spec.kwargs
    again = gym.make(gym.envs.registration.EnvSpec.from_json(written))
    assert again.unwrapped.help_cost == 0.1


def test_reading_the_spec_copies_no_live_actor() -> None:
    actor = RandomActor()
    env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=actor, interventions=[])
    assert env.spec is not None
    assert env.spec.kwargs["actor"] is actor


def test_renders_through_the_task() -> None:
    env = make(render_mode="ansi")
    observation, _ = env.reset(seed=0)
    assert env.render() == observation
    assert "ansi" in env.metadata["render_modes"]


def test_close_closes_the_task() -> None:
    closed = []
    task = Plain()
    task.close = lambda: closed.append(True)  # type: ignore[method-assign]
    InterventionEnv(task, str, []).close()
    assert closed == [True]


def test_a_snapshot_does_not_depend_on_arrays_of_an_info() -> None:
    env = InterventionEnv("selfreg/Coin-v0", lambda text: "heads", ["expert"])
    env.reset(seed=0)
    _, _, _, _, info = env.step(1)
    snapshot = env.snapshot()
    info["calls"][:] = 7
    info["usage"][:] = 7.0
    env.restore(snapshot)
    assert env.slots[0].calls.tolist() == [1]
    assert env.slots[0].usage.tolist() == [1.0]
