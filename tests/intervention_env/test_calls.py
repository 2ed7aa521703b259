"""Calls of several steps, and the action that aborts: single and vector env, masks, costs, snapshots, errors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from corridor import CELLS, Corridor, Hasty
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from selfreg_gym import Act, Decision, HelpBudget, Intervention, InterventionEnv, InterventionVectorEnv
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.testing import ExpertActor


class Walks:
    """Walks, and reports a cost where it is told to."""

    def __init__(self, costs: Sequence[float | None] = (), error_at: int = -1) -> None:
        self.costs, self.error_at, self.count = list(costs), error_at, 0

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        acts = []
        for _ in decisions:
            cost = self.costs[self.count] if self.count < len(self.costs) else None
            acts.append(Act("walk", cost=cost, error="down" if self.count == self.error_at else None))
            self.count += 1
        return acts

    def __deepcopy__(self, memo: dict[int, Any]) -> Walks:
        return self


def made(duration: Any = 3, cost_per: Any = "call", *, actor: Any = None, **kwargs: Any) -> InterventionEnv:
    expert = Intervention(Walks() if actor is None else actor, name="expert", duration=duration, cost_per=cost_per)
    other = Intervention(ExpertActor(), name="other", cost=0.5)
    return InterventionEnv(Corridor(), Hasty(), [expert, other], **kwargs)


def forced(env: InterventionEnv, seed: int = 0) -> list[dict[str, Any]]:
    """The infos of an episode that calls the first intervention wherever it can."""
    env.reset(seed=seed)
    infos, over = [], False
    while not over:
        *_, terminated, truncated, info = env.step(1)
        over = terminated or truncated
        infos.append(info)
    return infos


# --- durations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cost_per", "costs"), [("call", [1, 0, 0, 1, 0, 0, 1]), ("step", [1] * 7)])
def test_a_call_of_three_steps(cost_per: str, costs: list[float]) -> None:
    infos = forced(made(3, cost_per), seed=3)
    count = len(infos)
    assert count >= 4
    assert [info["cost"] for info in infos] == costs[:count]
    assert [info["calls"][0] for info in infos] == [1, 1, 1, 2, 2, 2, 3][:count]
    only, free = [0, 1, 0], [1, 1, 1]
    assert [info["action_mask"].tolist() for info in infos[:-1]] == [only, only, free, only, only, free][: count - 1]
    assert infos[-1]["action_mask"].tolist() == free
    assert infos[-1]["action_mask"].dtype == np.int8
    assert infos[-1]["usage"].tolist() == [sum(costs[:count]), 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_a_call_to_the_end_is_one_call(seed: int) -> None:
    infos = forced(made("end"), seed)
    assert [info["calls"].tolist() for info in infos] == [[1, 0]] * len(infos)
    assert infos[-1]["usage"].tolist() == [1.0, 0.0]
    assert all(info["intervention"] == "expert" for info in infos)


@pytest.mark.parametrize("seed", range(5))
def test_a_call_to_the_next_sub_goal_ends_where_its_name_changes(seed: int) -> None:
    env = made("subgoal")
    env.reset(seed=seed)
    before, calls, over = env.task.unwrapped.subgoal(), 0, False
    while not over:
        calls += env.action_masks().all()
        *_, terminated, truncated, info = env.step(1)
        over, now = terminated or truncated, env.task.unwrapped.subgoal()
        assert info["calls"][0] == calls
        assert over or bool(info["action_mask"].all()) == (now != before)
        before = now


def test_another_action_during_a_call_is_an_error_and_changes_nothing() -> None:
    env = made(3)
    env.reset(seed=0)
    env.step(1)
    state = env.snapshot()
    for action in (0, 2):
        with pytest.raises(InvalidArgumentError, match=f"'expert' lasts 3 steps, and 1 of its .* received {action}"):
            env.step(action)
    assert repr(env.snapshot()) == repr(state)
    batch = InterventionVectorEnv(2, Corridor, Hasty(), [Intervention(Walks(), name="e", duration="end")])
    batch.reset(seed=0)
    batch.step([1, 0])
    with pytest.raises(InvalidArgumentError, match="lasts to the end of the episode"):
        batch.step([0, 0])
    assert [slot.t for slot in batch.slots] == [1, 1]
    assert batch.action_masks().tolist() == [[False, True], [True, True]]


def test_reported_costs_replace_the_expected_cost_of_their_step() -> None:
    infos = forced(made(2, actor=Walks([None, 0.25, 3.0, None])), seed=3)
    assert [info["cost"] for info in infos][:4] == [1.0, 0.25, 3.0, 0.0]


def test_an_error_within_a_call_ends_the_episode() -> None:
    env = made(3, actor=Walks(error_at=1))
    env.reset(seed=0)
    env.step(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, terminated, truncated, info = env.step(1)
    assert (terminated, truncated, info["error"], info["calls"].tolist()) == (
        False,
        True,
        "the intervention 'expert': down",
        [1, 0],
    )
    assert info["action_mask"].all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"duration": 0}, "number of steps"),
        ({"duration": 2.0}, "number of steps"),
        ({"duration": True}, "number of steps"),
        ({"duration": "forever"}, "'subgoal' or 'end', received 'forever'"),
        ({"cost_per": "token"}, "'call' or 'step'"),
    ],
)
def test_wrong_durations(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Intervention(Walks(), name="x", **kwargs)


def test_a_sub_goal_needs_a_task_that_has_one() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'x' has the duration 'subgoal'.* CoinGame|Coin.* subgoal\(\)"):
        InterventionEnv("selfreg/Coin-v0", Hasty(), [Intervention(Walks(), name="x", duration="subgoal")])


def test_lasting_is_a_copy_with_another_duration() -> None:
    once = Intervention(Walks(), name="x", cost=2.0)
    longer = once.lasting("end", "step")
    assert (once.duration, longer.duration, longer.cost_per, longer.cost) == (1, "end", "step", 2.0)
    assert longer.actor is once.actor


def test_every_registered_intervention_takes_a_duration() -> None:
    kwargs = {"long": {"duration": "end", "cost_per": "step", "cost": 2.0}, "expert": {"cost_per": "step"}}
    env = InterventionEnv("selfreg/Coin-v0", Hasty(), ["expert", "long=expert"], intervention_kwargs=kwargs)
    found = [(one.name, one.duration, one.cost_per, one.cost) for one in env.interventions]
    assert found == [("expert", 1, "step", 1.0), ("long", "end", "step", 2.0)]
    with pytest.raises(InvalidArgumentError, match="number of steps"):
        InterventionEnv("selfreg/Coin-v0", Hasty(), ["expert"], intervention_kwargs={"expert": {"duration": -1}})


def test_binding_to_the_actor_keeps_the_duration() -> None:
    class Bound(Intervention):
        def with_actor(self, actor: Any) -> Intervention:
            return Intervention(actor, name=self.name)

    env = InterventionEnv("selfreg/Coin-v0", Hasty(), [Bound(Walks(), name="x", duration="end", cost_per="step")])
    assert (env.interventions[0].duration, env.interventions[0].cost_per) == ("end", "step")
    assert env.interventions[0].actor is env.actor


# --- single equals vector ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@settings(max_examples=20, deadline=None)
@given(duration=st.sampled_from([1, 2, 3, "subgoal", "end"]), abort=st.booleans(), seed=st.integers(0, 10**6))
def test_batched_episodes_are_those_of_single_envs(mode: str, duration: Any, abort: bool, seed: int) -> None:
    people = [
        Intervention(ExpertActor(), name="expert", duration=duration, cost_per="step"),
        Intervention(Hasty(), name="other", cost=0.5, duration=2),
    ]
    kwargs: dict[str, Any] = {"actor": Hasty(), "interventions": people, "help_cost": 0.1, "abort": abort}
    batch = InterventionVectorEnv(3, Corridor, autoreset_mode=mode, **kwargs)
    singles = [InterventionEnv(Corridor(), **kwargs) for _ in range(3)]
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, 1000, 3).tolist()
    batch.reset(seed=seeds, options={"episode": np.arange(3)})
    running = np.ones(3, bool)
    for i, env in enumerate(singles):
        env.reset(seed=seeds[i], options={"episode": i})
    for _ in range(8):
        masks = batch.action_masks()
        if rng.random() < 0.3:
            batch.actor_acts()  # asking ahead changes nothing
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        observations, rewards, terminations, truncations, infos = batch.step(actions)
        for i in np.flatnonzero(running):
            text, reward, terminated, truncated, info = singles[i].step(int(actions[i]))
            ended = (terminated or truncated) and mode == "SameStep"
            shown = infos["final_info"] if ended else infos
            assert (text, reward) == ((infos["final_obs"] if ended else observations)[i], rewards[i])
            assert (terminated, truncated) == (terminations[i], truncations[i])
            for key in ("usage", "calls", "action_mask"):
                assert info[key].tolist() == shown[key][i].tolist()
            running[i] = not (terminated or truncated)


def test_a_snapshot_in_the_middle_of_a_call_continues_it() -> None:
    env = made("subgoal", "step")
    for seed in range(20):
        env.reset(seed=seed)
        *_, terminated, truncated, _ = env.step(1)
        if terminated or truncated or not env.slots[0].calling:
            continue
        saved, rest = env.snapshot(), []
        for _ in range(2):
            played, over = [], False
            while not over:
                text, reward, terminated, truncated, info = env.step(1)
                over = terminated or truncated
                played.append((text, reward, info["calls"].tolist(), info["action_mask"].tolist()))
            rest.append(played)
            env.restore(saved)
            assert env.slots[0].calling == 1
        assert rest[0] == rest[1]
        return
    pytest.fail("no call was in progress after one step")


# --- hard caps --------------------------------------------------------------------------------------------------------


def test_a_hard_budget_ends_a_call_that_it_cannot_pay() -> None:
    env: Any = HelpBudget(made("end", "step"), 2.0)
    _, info = env.reset(seed=3)
    assert info["action_mask"].tolist() == [1, 1, 1]
    info = env.step(1)[4]
    assert (info["budget_left"], info["action_mask"].tolist()) == (1.0, [0, 1, 0])
    info = env.step(1)[4]
    assert (info["budget_left"], info["action_mask"].tolist()) == (0.0, [1, 0, 0])
    assert env.action_masks().tolist() == [True, False, False]
    info = env.step(1)[4]
    assert (bool(info["denied"]), info["intervention"], info["usage"].tolist()) == (True, None, [2.0, 0.0])


def test_a_hard_budget_lets_a_paid_call_go_on() -> None:
    env: Any = HelpBudget(made(3, "call"), 1.0)
    env.reset(seed=3)
    masks = [env.step(1)[4]["action_mask"].tolist() for _ in range(3)]
    assert masks == [[0, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_hard_budgets_of_a_vector_env_are_those_of_single_envs() -> None:
    expert = Intervention(ExpertActor(), name="expert", duration="end", cost_per="step")
    batch: Any = HelpBudget(InterventionVectorEnv(3, Corridor, Hasty(), [expert], autoreset_mode="Disabled"), 2.0)
    single: Any = HelpBudget(InterventionEnv(Corridor(), Hasty(), [expert]), 2.0)
    batch.reset(seed=[0, 1, 2])
    masks, running, played = [], np.ones(3, bool), []
    while running.any():
        *_, terminations, truncations, infos = batch.step(np.where(running, 1, 0))
        masks.append((infos["action_mask"].tolist(), infos["denied"].tolist(), running.tolist()))
        running &= ~(terminations | truncations)
    for i in range(3):
        single.reset(seed=i)
        over, t = False, 0
        while not over:
            *_, terminated, truncated, info = single.step(1)
            over = terminated or truncated
            assert (info["action_mask"].tolist(), bool(info["denied"])) == (masks[t][0][i], masks[t][1][i])
            t += 1
        played.append(t)
    assert played == [sum(row[2][i] for row in masks) for i in range(3)]


# --- abort ------------------------------------------------------------------------------------------------------------


def test_abort_ends_the_episode_without_success_and_cost() -> None:
    env = made(3, abort=True)
    assert env.action_space == gym.spaces.Discrete(4)
    text, info = env.reset(seed=0)
    assert (info["aborted"], info["action_mask"].tolist()) == (False, [1, 1, 1, 1])
    env.step(2)
    observation, reward, terminated, truncated, info = env.step(3)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert (info["aborted"], info["success"], info["is_success"], info["step"]) == (True, False, False, 2)
    assert info["usage"].tolist() == [0.0, 0.5]
    assert (info["intervention"], info["action_text"], info["cost"]) == (None, None, 0.0)
    assert observation == env.slots[0].observation
    with pytest.raises(Exception, match="has ended"):
        env.step(0)
    assert env.reset(seed=0)[0] == text


def test_abort_is_no_action_without_the_argument_or_during_a_call() -> None:
    env = made(3)
    env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="from 0 to 2"):
        env.step(3)
    assert "aborted" not in env.reset(seed=0)[1]
    env = made(3, abort=True)
    env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match=r"from 0 to 3 .*3 = abort"):
        env.step(4)
    env.step(1)
    with pytest.raises(InvalidArgumentError, match="the next action must be 1, received 3"):
        env.step(3)
    with pytest.raises(InvalidArgumentError, match="abort must be True or False, received 1"):
        made(3, abort=1)


def test_an_aborted_env_of_a_batch_leaves_the_others() -> None:
    batch = gym.make_vec(
        "selfreg/Intervention-v0", num_envs=3, task=Corridor, actor=Hasty(), abort=True,
        interventions=[Intervention(ExpertActor(), name="e")], vector_kwargs={}, autoreset_mode="SameStep",
    )  # fmt: skip
    batch.reset(seed=5)
    batch.unwrapped.actor_acts()
    _, rewards, terminations, _, infos = batch.step([0, 2, 1])
    assert (bool(terminations[1]), bool(infos["final_info"]["aborted"][1]), rewards[1]) == (True, True, 0.0)
    assert (infos["step"][1], bool(infos["aborted"][1])) == (0, False)
    assert batch.unwrapped.slots[1].extra_actor_calls == 0  # counts of the new episode


def test_gymnasiums_checker_accepts_an_env_with_abort() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(made(1, abort=True), skip_render_check=True)


def test_sampling_with_the_mask_plays_whole_episodes() -> None:
    env = made("subgoal", abort=True)
    env.action_space.seed(0)
    for seed in range(30):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            *_, terminated, truncated, info = env.step(env.action_space.sample(info["action_mask"]))
            over = terminated or truncated
        assert info["step"] <= 7
        assert env.task.unwrapped.cell <= CELLS + 1


@pytest.mark.parametrize(("answer", "words"), [(None, "received None"), (ZeroDivisionError("no"), "it raised ZeroDiv")])
def test_a_sub_goal_that_is_no_text_ends_the_episode(answer: Any, words: str) -> None:
    class Lost(Corridor):
        def subgoal(self) -> str:
            if self.cell and isinstance(answer, Exception):
                raise answer
            return answer if self.cell else "start"

    env = InterventionEnv(Lost(), Hasty(), [Intervention(ExpertActor(), name="expert", duration="subgoal")])
    env.reset(seed=0)
    while not (info := env.step(1)[4])["error"]:
        pass
    assert "subgoal() of a task must return a str" in info["error"]
    assert words in info["error"]
    assert env.slots[0].calling == 0
