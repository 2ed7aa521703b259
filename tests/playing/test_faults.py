"""Faulty tasks, actors and interventions: the error names who broke which rule, and only its episode is discarded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym import EpisodeSpec, Intervention, InterventionEnv, InterventionVectorEnv, evaluate, run_episodes
from selfreg_gym.agents.helpers.every_k import EveryK
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.calibration import calibrate
from selfreg_gym.collection import collect
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import FailedEpisodesError, TaskContractError
from selfreg_gym.types import Act, Decision

BAD = "coin-3"
"""The task in which the plug-ins are faulty."""


def bad(decision: Decision) -> bool:
    return decision.info["task_id"] == BAD


def raises(decision: Decision) -> Any:
    raise RuntimeError("no battery")


def steps(decision: Decision) -> str:
    decision.task.step("tails")
    return "heads"


def resets(decision: Decision) -> str:
    decision.task.reset(seed=1, options={"episode": 3})
    return "heads"


def reseeds(decision: Decision) -> str:
    decision.task.get_wrapper_attr("reseed")(5)
    return "heads"


def forgets_after_an_error(decision: Decision) -> str:
    before = decision.task.snapshot()
    decision.task.step("tails")
    raise RuntimeError("no battery")
    decision.task.restore(before)


ACTS: dict[str, tuple[Callable[[Decision], Any], str]] = {
    "raises": (raises, r"must answer every decision; Faulty\.act raised RuntimeError: no battery"),
    "a number": (lambda d: 3, "an act must be a str or an Act, received 3"),
    "None": (lambda d: None, "an act must be a str or an Act, received None"),
    "text of another type": (lambda d: Act(b"heads"), "text must be a str"),  # type: ignore[arg-type]
    "cost NaN": (lambda d: Act("heads", cost=float("nan")), "cost must be a number from 0 to 1e[+]12, received nan"),
    "cost negative": (lambda d: Act("heads", cost=-1.0), "cost must be a number from 0 to 1e[+]12, received -1.0"),
    "tokens negative": (lambda d: Act("heads", tokens=-1), "tokens must be an integer from 0 to"),
    "too few log-probabilities": (lambda d: Act("heads", logprobs=(-0.1,)), "received 1 values for 2 actions"),
    "error": (lambda d: Act("", error="the server is down"), "the server is down"),
    "steps the task": (steps, "must leave the live task as it is"),
    "resets the task": (resets, "must leave the live task as it is"),
    "reseeds the task": (reseeds, "must leave the live task as it is"),
    "does not restore after an error": (forgets_after_an_error, "must leave the live task as it is"),
}


class Faulty:
    """Says "heads", except for its fault in one task."""

    def __init__(self, fault: Callable[[Decision], Any]) -> None:
        self._fault = fault

    def act(self, decisions: Sequence[Decision]) -> list[Any]:
        return [self._fault(decision) if bad(decision) else "heads" for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Faulty:
        return self


class WrongLength(Faulty):
    """One act too many in a batch with the faulty task."""

    def act(self, decisions: Sequence[Decision]) -> list[Any]:
        return ["heads"] * (len(decisions) + any(map(bad, decisions)))


def say_heads(text: str) -> str:
    return "heads"


def agents(who: str, actor: Any) -> dict[str, Any]:
    if who == "actor":
        return {"actor": actor, "interventions": [Intervention(say_heads, name="friend")]}
    return {"actor": say_heads, "interventions": [Intervention(actor, name="doubtful")]}


NAMES = {"actor": "the actor: ", "intervention": "the intervention 'doubtful': "}
CASES = [
    *((who, name, Faulty(fault), rule) for who in NAMES for name, (fault, rule) in ACTS.items()),
    *(
        (who, "wrong length", WrongLength(raises), "must return one act per decision, received 2 for 1")
        for who in NAMES
    ),
]


@pytest.mark.parametrize(("who", "name", "actor", "rule"), CASES, ids=[f"{who} {name}" for who, name, *_ in CASES])
def test_only_the_episode_of_a_faulty_act_is_discarded(who: str, name: str, actor: Any, rule: str) -> None:
    specs = [EpisodeSpec(i, 10 + i, float(who == "intervention")) for i in range(6)]
    kwargs = agents(who, actor)
    expected = agents(who, say_heads)
    for num_envs in (None, 4):
        found = []
        for people in (kwargs, expected):
            env: Any = (
                InterventionEnv("selfreg/Coin-v0", **people)
                if num_envs is None
                else InterventionVectorEnv(num_envs, "selfreg/Coin-v0", **people, autoreset_mode="Disabled")
            )
            found.append({episode.task_index: episode for episode in run_episodes(env, specs, retries=0)})
        faulty, right = found
        error = faulty.pop(3).error
        assert error is not None
        assert error.startswith(NAMES[who])
        assert re.search(rule, error), error
        del right[3]
        assert faulty == right


class FaultyCoin(Coin):
    """Coin with a fault in one task: in its first step, or when it is reset."""

    def __init__(self, *, at: str = "step", answer: Any = None) -> None:
        super().__init__()
        self.at, self.answer = at, answer

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        returned = super().reset(seed=seed, options=options)
        return self._faulty(returned) if self.at == "reset" else returned

    def step(self, action: str) -> Any:
        returned = super().step(action)
        return self._faulty(returned) if self.at == "step" else returned

    def _faulty(self, returned: Any) -> Any:
        if returned[-1]["task_id"] != BAD:
            return returned
        if self.answer is None:
            raise RuntimeError("no such coin")
        return self.answer


TASKS = [
    ("step", None, r"a task must accept every reset and every action text: .*raised RuntimeError \('no such coin'\)"),
    ("step", "heads", r"the task <FaultyCoin.*a task's step must return \(observation, reward"),
    ("step", ("a", 0.0, "no", False, {}), "the task <FaultyCoin.*terminated.*must be a bool"),
    ("reset", None, r"raised RuntimeError \('no such coin'\) in reset\(seed=13"),
    ("reset", ("coin", None), "the task <FaultyCoin.*info.*received None"),
]


@pytest.mark.parametrize(("at", "answer", "rule"), TASKS)
def test_only_the_episode_of_a_faulty_task_is_discarded(at: str, answer: Any, rule: str) -> None:
    people = {"actor": say_heads, "interventions": ["expert"]}
    specs = [EpisodeSpec(i, 10 + i, 0.5) for i in range(6)]
    for num_envs in (None, 4):
        found = []
        for task in (lambda: FaultyCoin(at=at, answer=answer), Coin):
            env: Any = (
                InterventionEnv(task, **people)  # type: ignore[arg-type]
                if num_envs is None
                else InterventionVectorEnv(num_envs, task, **people, autoreset_mode="Disabled")  # type: ignore[arg-type]
            )
            found.append({episode.task_index: episode for episode in run_episodes(env, specs, retries=1)})
        faulty, right = found
        error = faulty.pop(3).error
        assert re.search(rule, error or ""), error
        del right[3]
        assert faulty == right


def test_a_collection_keeps_the_other_episodes_and_names_the_fault(tmp_path: Path) -> None:
    env = {"task": "selfreg/Coin-v0", **agents("intervention", Faulty(steps))}
    plan: dict[str, Any] = {"tasks": range(6), "episodes": 2, "help_probabilities": [1.0], "progress": False}
    with collect(env, store=tmp_path / "r.sqlite", **plan) as rollouts:
        assert rollouts.count() == 10
        assert {failure.spec.task_index for failure in rollouts.failures()} == {3}
        assert all("the intervention 'doubtful'" in failure.error for failure in rollouts.failures())
        assert {spec.task_index for spec in rollouts.missing()} == {3}
    broken = {"task": FaultyCoin, "actor": say_heads, "interventions": ["expert"]}
    with collect(broken, store=tmp_path / "t.sqlite", **plan) as rollouts:
        assert rollouts.count() == 10
    with pytest.raises(TaskContractError, match=r"32 episodes in a row ended in an error, the last with: .*'doubtful'"):
        collect(env, store=tmp_path / "all.sqlite", **{**plan, "tasks": [3], "episodes": 40})


def fails_once() -> Callable[[Decision], Any]:
    left = [3]  # the batch, the decision alone, and one more

    def fault(decision: Decision) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError("no battery")
        return "heads"

    return fault


def test_a_calibration_repeats_failed_episodes_and_names_who_always_fails() -> None:
    plan: dict[str, Any] = {"budget": 0.8, "tasks": range(6), "episodes": 60, "seed": 0}
    found = []
    for fault in (fails_once(), lambda decision: "heads"):
        people = agents("intervention", Faulty(fault))
        env = InterventionVectorEnv(4, "selfreg/Coin-v0", **people, autoreset_mode="Disabled")
        found.append(calibrate(Random(0.5), env, **plan).knob)
    assert found[0] == found[1]
    people = agents("intervention", Faulty(raises))
    env = InterventionVectorEnv(4, "selfreg/Coin-v0", **people, autoreset_mode="Disabled")
    with pytest.raises(FailedEpisodesError, match="the intervention 'doubtful': an actor must answer every decision"):
        calibrate(Random(0.5), env, **plan)


def test_an_evaluation_discards_only_the_faulty_episodes() -> None:
    people = agents("intervention", Faulty(raises))
    env = InterventionVectorEnv(4, "selfreg/Coin-v0", **people, autoreset_mode="Disabled")
    result = evaluate(env, {"every-k": EveryK(1), "random": Random(0.5)}, tasks=range(6), episodes=2, seed=0)
    (row,) = [row for row in result.rows if row["helper"] == "every-k" and row["kind"] == "all"]
    assert row["episodes"] == 10
