"""What a plug-in does after its call has failed does not reach the next call; each failure belongs to one episode."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from selfreg_gym import EpisodeSpec, Helper, Intervention, InterventionEnv, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.interventions.advice import Advice
from selfreg_gym.agents.interventions.mcts import MCTS
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import TaskContractError, TaskResetError
from selfreg_gym.types import Decision
from selfreg_gym.utils import time_limit


def say_heads(text: str) -> str:
    return "heads"


class Plugin:
    """An actor of a function of decisions."""

    def __init__(self, act: Callable[[Sequence[Decision]], Any]) -> None:
        self.act = act

    def __deepcopy__(self, memo: dict[int, Any]) -> Plugin:
        return self


class Later:
    """A thread that uses a task when it is told to."""

    def __init__(self) -> None:
        self._door = threading.Event()
        self.error: Exception | None = None

    def start(self, task: Any, use: Callable[[Any], Any]) -> None:
        def work() -> None:
            self._door.wait()
            try:
                use(task)
            except Exception as error:
                self.error = error

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._door.set()
        self._thread.join()


USES: dict[str, Callable[[Any], Any]] = {
    "step": lambda task: task.step("tails"),
    "reset": lambda task: task.reset(seed=9),
    "snapshot": lambda task: task.snapshot(),
    "reseed": lambda task: task.reseed(3),
    "another member": lambda task: task.expert_action,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_thread_of_a_failed_call_cannot_use_the_task_of_the_next_call(use: Callable[[Any], Any]) -> None:
    later = Later()

    def act(decisions: Sequence[Decision]) -> list[str]:
        if len(decisions) > 1:
            before = decisions[0].task.snapshot()
            later.start(decisions[0].task, use)
            decisions[0].task.step("heads")
            decisions[0].task.restore(before)
            raise RuntimeError("no battery")
        before = decisions[0].task.snapshot()
        decisions[0].task.step("heads")
        later.finish()
        decisions[0].task.restore(before)
        return ["heads"]

    assert played(act) == played(None)
    assert isinstance(later.error, TaskContractError)
    assert "this task is that of a call that failed" in str(later.error)


def test_a_thread_of_an_earlier_episode_cannot_use_the_task() -> None:
    later = Later()

    def act(decisions: Sequence[Decision]) -> list[str]:
        if decisions[0].info["task_id"] == "coin-1":
            later.start(decisions[0].task, lambda task: task.step("tails"))
            raise RuntimeError("no battery")
        later.finish()
        return ["heads"]

    env = InterventionEnv("selfreg/Coin-v0", say_heads, [Intervention(Plugin(act), name="friend")])
    first, second = (next(iter(run_episodes(env, [EpisodeSpec(i, i, 1.0)], retries=0))) for i in (1, 2))
    assert "no battery" in str(first.error)
    assert second.error is None
    assert isinstance(later.error, TaskContractError)


def played(act: Callable[[Sequence[Decision]], Any] | None, retries: int = 0) -> dict[int, Any]:
    """Three episodes at once in which the intervention always acts, by task; None: it says heads."""
    friend = Intervention(say_heads if act is None else Plugin(act), name="friend")
    env = InterventionVectorEnv(3, "selfreg/Coin-v0", say_heads, [friend], autoreset_mode="Disabled")
    env.act_retries = retries
    episodes = run_episodes(env, [EpisodeSpec(i, 10 + i, 1.0) for i in range(3)], retries=0)
    return {episode.task_index: episode for episode in episodes}


def test_the_failure_of_one_decision_does_not_repair_the_task_of_another() -> None:
    def act(decisions: Sequence[Decision]) -> list[str]:
        for decision in decisions:
            if decision.info["task_id"] == "coin-1":
                decision.task.step("heads")  # and is not restored
            if decision.info["task_id"] == "coin-2":
                raise RuntimeError("no battery")
        return ["heads"] * len(decisions)

    for retries in (0, 2):
        episodes = played(act, retries)
        assert episodes[0].error is None
        assert "an actor must leave the live task as it is" in str(episodes[1].error)
        assert len(episodes[1].steps) == 1
        assert "no battery" in str(episodes[2].error)


def test_a_nested_call_that_fails_does_not_affect_other_episodes() -> None:
    def advise(decisions: Sequence[Decision]) -> list[str]:
        before = [decision.task.snapshot() for decision in decisions]
        for decision in decisions:
            decision.task.step("heads")
        if any(decision.info["task_id"] == "coin-1" for decision in decisions):
            raise RuntimeError("no battery")
        for decision, state in zip(decisions, before, strict=True):
            decision.task.restore(state)
        return ["heads"] * len(decisions)

    def episodes_with(adviser: Any) -> dict[int, Any]:
        env = InterventionVectorEnv(3, "selfreg/Coin-v0", say_heads, [Advice(adviser)], autoreset_mode="Disabled")
        played = run_episodes(env, [EpisodeSpec(i, 10 + i, 1.0) for i in range(3)], retries=0)
        return {episode.task_index: episode for episode in played}

    episodes, right = episodes_with(Plugin(advise)), episodes_with(say_heads)
    error = str(episodes.pop(1).error)
    assert error.startswith("the intervention 'advice': ")
    assert "no battery. Then, an actor must leave the task as it is; Plugin.act has changed it within the call" in error
    assert episodes == {i: right[i] for i in (0, 2)}


def test_a_search_notices_an_actor_that_changes_the_simulated_task() -> None:
    def act(decisions: Sequence[Decision]) -> list[str]:
        for decision in decisions:
            decision.task.step("heads")
        return ["heads"] * len(decisions)

    env = InterventionEnv("selfreg/Coin-v0", Plugin(act), [MCTS(simulations=2)])
    env.reset(seed=0)
    error = env.step(1)[4]["error"]
    assert error.startswith("the intervention 'mcts': ")
    assert (
        error.count("an actor must leave the task as it is; Plugin.act has changed it within the call of another") == 1
    )


def test_a_cancelled_call_fails_in_its_episode_only() -> None:
    def act(decisions: Sequence[Decision]) -> list[str]:
        if any(decision.info["task_id"] == "coin-1" for decision in decisions):
            raise asyncio.CancelledError
        return ["heads"] * len(decisions)

    episodes, right = played(act), played(None)
    assert "Plugin.act raised CancelledError" in str(episodes.pop(1).error)
    assert episodes == {i: right[i] for i in (0, 2)}


def test_a_cancelled_helper_and_a_cancelled_task_fail_in_their_episodes_only() -> None:
    class Cancelled(Helper):
        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            raise asyncio.CancelledError

    class Task(Coin):
        def reset(self, **kwargs: Any) -> Any:
            observation, info = super().reset(**kwargs)
            if info["task_id"] == "coin-1":
                raise asyncio.CancelledError
            return observation, info

        def step(self, action: str) -> Any:
            raise asyncio.CancelledError

    env = InterventionEnv(Coin, say_heads, [])
    (episode,) = run_episodes(env, [EpisodeSpec(0, 0)], Cancelled(), retries=0, helper_must_work=False)
    assert "Cancelled raised CancelledError" in str(episode.error)
    env = InterventionEnv(Task, say_heads, [])
    env.reset(seed=0, options={"episode": 0})
    assert "raised CancelledError" in str(env.step(0)[4]["error"])
    with pytest.raises(TaskResetError, match="raised CancelledError"):
        env.reset(seed=0, options={"episode": 1})


@pytest.mark.parametrize("exit", [SystemExit(3), KeyboardInterrupt()])
def test_requests_to_end_the_program_are_no_failures(exit: BaseException) -> None:
    def act(decisions: Sequence[Decision]) -> list[str]:
        raise exit

    with pytest.raises(type(exit)):
        played(act)


def test_the_limit_includes_the_reading_of_the_answer() -> None:
    read: list[bool] = []

    class Lazy(Sequence[str]):
        def __len__(self) -> int:
            read.append(isinstance(threading.current_thread(), time_limit._CallThread))
            return 1

        def __getitem__(self, i: Any) -> Any:
            return ("heads",)[i]

        def __iter__(self) -> Iterator[str]:
            return iter(["heads"])

    env = InterventionEnv("selfreg/Coin-v0", Plugin(lambda decisions: Lazy()), [], call_timeout=60.0)
    env.reset(seed=0)
    assert env.step(0)[4]["error"] is None
    assert read
    assert all(read)
