"""selfreg_gym.testing catches broken actors, interventions and helpers, and names the rule."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from selfreg_gym import Act, Decision, FeatureObservation, Helper, Intervention, StateKeyObservation, as_helper
from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.helpers.never import Never
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.testing import ExpertActor, RandomActor, check_actor, check_helper, check_intervention

COUNTER = iter(range(10**9))


def broken(match: str) -> Any:
    return pytest.raises(TaskContractError, match=f"broken rule: .*{match}")


class Actor:
    """An actor that answers with what the function of the decisions returns."""

    def __init__(self, answer: Callable[[Sequence[Decision]], Any]) -> None:
        self.answer = answer

    def act(self, decisions: Sequence[Decision]) -> Any:
        return self.answer(decisions)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class Copied(Actor):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.copy(self)


def _each(function: Callable[[Decision], Any]) -> Actor:
    return Actor(lambda decisions: [function(decision) for decision in decisions])


def _moves_the_task(decision: Decision) -> str:
    decision.task.step("heads")
    return "heads"


def _plans(decision: Decision) -> str:
    before = decision.task.snapshot()
    decision.task.step("heads")
    decision.task.restore(before)
    return "heads"


def test_a_planner_that_restores_the_task_passes() -> None:
    for task in (None, "selfreg/Coin-v0", "selfreg/FrozenLake-v0"):
        check_actor(_each(_plans), task=task)
    check_intervention(Intervention(_each(_plans), name="planner"))


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), "5", True])
def test_an_invalid_limit_of_a_check_is_refused(timeout: Any) -> None:
    for check, plugin in (
        (check_actor, RandomActor()),
        (check_intervention, Intervention(RandomActor(), name="random")),
        (check_helper, Never()),
    ):
        with pytest.raises(InvalidArgumentError, match=r"timeout \(seconds\) must be"):
            check(plugin, timeout=timeout)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("actor", "rule"),
    [
        (object(), r"has act\(decisions\)"),
        (Copied(lambda decisions: ["heads"] * len(decisions)), "__deepcopy__ returns itself"),
        (Actor(lambda decisions: ["heads"]), "the answer to an empty batch is empty"),
        (Actor(lambda decisions: ["heads"] * (2 * len(decisions))), "N decisions with N acts"),
        (_each(lambda decision: 3), "a str or an Act"),
        (_each(lambda decision: Act("heads", error="down")), "without error"),
        (_each(lambda decision: Act("heads", cost=-1.0)), "at least 0"),
        (_each(lambda decision: Act("heads", logprobs=(0.0,))), "one entry per admissible action"),
        (_each(_moves_the_task), "leaves decision.task unchanged"),
        (_each(lambda decision: random.choice(["heads", "tails"])), "own generator"),
        (_each(lambda decision: f"heads{next(COUNTER)}"), "equal random streams get equal answers"),
        (
            Actor(lambda decisions: [f"{len(decisions)}"] * len(decisions)),
            "the answers to a batch are those to each decision alone",
        ),
        (
            Actor(lambda ds: sorted(str(d.rng.random()) for d in ds)),
            "the answers to a batch are those to each decision alone",
        ),
    ],
)
def test_broken_actors_are_caught(actor: Any, rule: str) -> None:
    with broken(rule):
        check_actor(actor)


def test_an_actor_that_raises_is_reported_with_its_error() -> None:
    with pytest.raises(TaskContractError, match="ZeroDivisionError"):
        check_actor(_each(lambda decision: 1 / 0))


def test_good_actors_and_interventions_pass() -> None:
    check_actor(RandomActor())
    check_actor(ExpertActor())
    check_actor(lambda observation: "heads")
    check_actor(_each(lambda decision: Act("heads", logprobs=(0.0, -1.0), cost=0.5)), task=Coin())
    check_intervention(Intervention(ExpertActor(), name="expert", cost=0.5))


def test_an_actor_is_checked_as_that_of_the_task() -> None:
    class OfTask:
        """Acts only where it has been given a task."""

        def __init__(self, words: tuple[str, ...] = ()) -> None:
            self.words = words

        def with_task(self, task: object) -> OfTask:
            return OfTask(("heads",))

        def act(self, decisions: Sequence[Decision]) -> list[str]:
            return [self.words[0] for _ in decisions]

        def __deepcopy__(self, memo: dict[int, object]) -> OfTask:
            return self

    check_actor(OfTask(), task="selfreg/Coin-v0")
    check_intervention(Intervention(OfTask(), name="of the task"), task="selfreg/Coin-v0")
    with pytest.raises(TaskContractError, match="tuple index out of range"):
        check_actor(OfTask())


def test_broken_interventions_are_caught() -> None:
    with broken("an intervention is a selfreg_gym.Intervention, for instance Intervention"):
        check_intervention(ExpertActor())
    with pytest.raises(TaskContractError, match=r"registry\.load\('interventions', 'expert'\)\(\) makes it"):
        check_intervention("expert")
    with pytest.raises(TaskContractError, match=r"a function of the observation.*registry\.load\('actors', 'tiny'\)"):
        check_actor("tiny")
    unnamed, free = Intervention(ExpertActor(), name="x"), Intervention(ExpertActor(), name="x")
    unnamed.name, free.cost = "", 0.0
    with broken("has a name"):
        check_intervention(unnamed)
    with broken("cost is a positive float"):
        check_intervention(free)
    with broken("a str or an Act"):
        check_intervention(Intervention(_each(lambda decision: None), name="x"))


class OldHelper:
    """A helper without the base class."""

    def __init__(self, answer: Callable[..., Any], wrap: Callable[[Any], Any] = lambda env: env) -> None:
        self.answer, self.wrap = answer, wrap

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        return self.answer(observation, state)


def _shaped(observation: Any, action: Any) -> Any:
    return action if isinstance(observation, str) else np.full(len(observation), action)


def test_broken_helpers_are_caught() -> None:
    with broken(r"predict returns \(actions, state\)"):
        check_helper(OldHelper(lambda observation, state: 0))
    with broken("one integer action from 0 to K"):
        check_helper(OldHelper(lambda observation, state: (np.zeros(1, dtype=int), None)))
    with broken("one integer action from 0 to K"):
        check_helper(OldHelper(lambda observation, state: (2, None)))
    with pytest.raises(TaskContractError, match="N integer actions"):
        check_helper(OldHelper(lambda observation, state: (0, None)))
    with broken(r"wrap\(env\) returns that env"):
        check_helper(OldHelper(lambda observation, state: (_shaped(observation, 0), state), wrap=lambda env: None))
    with broken("equal runs give equal episodes"):
        check_helper(OldHelper(lambda observation, state: (_shaped(observation, next(COUNTER) // 7 % 2), state)))


def test_a_helper_that_changes_its_old_state_is_caught() -> None:
    class Counts(Helper):
        def __init__(self, *, in_place: bool) -> None:
            self.in_place = in_place

        def decide(self, observations: Any, state: Any, start: np.ndarray) -> Any:
            steps = np.zeros(len(start), int) if state is None else state if self.in_place else state.copy()
            steps[start] = 0
            steps += 1
            return steps % 2, steps

    check_helper(Counts(in_place=False))
    with pytest.raises(TaskContractError, match="broken rule: predict does not change the state that it gets"):
        check_helper(Counts(in_place=True))


def test_broken_knobs_are_caught() -> None:
    class SameObject(Random):
        def with_knob(self, knob: float) -> Random:
            self.p = knob
            return self

    class FixedKnob(Random):
        def with_knob(self, knob: float) -> Random:
            return Random(0.9)

    class ReversedBounds(Random):
        knob_bounds = (1.0, 0.0)

    class NoWithKnob(Helper):
        knob_bounds = (0.0, 9.0)

        def decide(self, observations: Any, state: Any, start: Any) -> Any:
            return np.zeros(len(observations), int), state

    for helper, rule in (
        (SameObject(0.3), "does not change this one"),
        (FixedKnob(0.3), "whose knob is x"),
        (ReversedBounds(0.3), "low < high"),
        (NoWithKnob(), "defines knob, knob_bounds and with_knob.*without with_knob"),
    ):
        with broken(rule):
            check_helper(helper)


@pytest.mark.parametrize(
    "helper",
    [
        Never(),
        Always(),
        Random(),
        as_helper(lambda text: int("Coin 1" in text)),
        as_helper(lambda key: int(key.endswith("1")), wrap=StateKeyObservation),
        as_helper(lambda features: int(features["scalars"][1] < 1), wrap=FeatureObservation),
    ],
    ids=["never", "always", "random", "text", "state-key", "features"],
)
def test_good_helpers_pass(helper: Any) -> None:
    check_helper(helper)


def test_a_helper_without_wrap_is_accepted_as_it_is_by_play() -> None:
    class Bare:
        def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False):
            return _shaped(observation, 0), state

    check_helper(Bare())
    bad = Bare()
    bad.predict = lambda observation, **_: (_shaped(observation, 2), None)  # type: ignore[method-assign]
    with pytest.raises(TaskContractError, match="from 0 to K"):
        check_helper(bad)


def test_check_helper_takes_the_interventions_that_the_helper_chooses_from() -> None:
    second = as_helper(lambda text: 2)
    friends = [Intervention(lambda text: "heads", name=name, cost=0.5) for name in ("friend", "other")]
    check_helper(second, interventions=friends)
    with pytest.raises(TaskContractError, match="K = 1"):
        check_helper(second)


def test_actors_and_helpers_that_raise_break_a_rule() -> None:
    class Actor(RandomActor):
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def act(self, decisions: Any) -> Any:
            return self.answer(decisions)

        def __deepcopy__(self, memo: Any) -> Any:
            return self

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError("lost")

    for answer in (fails, lambda decisions: None, lambda decisions: ("a" for _ in decisions), lambda decisions: "ab"):
        with pytest.raises(TaskContractError):
            check_actor(Actor(answer))
    with pytest.raises(TaskContractError, match="an actor is an object"):
        check_actor(RandomActor)
    for method in ("predict", "wrap"):
        helper = as_helper(lambda text: 0)
        setattr(helper, method, fails)
        with pytest.raises(TaskContractError, match=f"{method}.*lost"):
            check_helper(helper)
