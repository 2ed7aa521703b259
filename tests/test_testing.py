"""selfreg_gym.testing catches broken tasks, actors, interventions and helpers, and names the rule."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from selfreg_gym import Act, Decision, FeatureObservation, Intervention, StateKeyObservation, as_helper
from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.helpers.never import Never
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import TaskContractError
from selfreg_gym.testing import ExpertActor, RandomActor, check_actor, check_helper, check_intervention, check_task


def broken(match: str) -> Any:
    return pytest.raises(TaskContractError, match=f"broken rule: .*{match}")


# --- tasks ------------------------------------------------------------------------------------------------------------


class Changed(Coin):
    """Coin with its info (on reset and step) changed."""

    def __init__(self, change: Callable[[dict[str, Any], bool], Any]) -> None:
        super().__init__()
        self.change = change

    def reset(self, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        text, info = super().reset(**kwargs)
        return text, self.change(info, False) or info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        text, reward, terminated, truncated, info = super().step(action)
        return text, reward, terminated, truncated, self.change(info, terminated) or info


@pytest.mark.parametrize(
    ("kinds", "rule"),
    [
        (["heads"], "a tuple of texts"),
        (("heads", ""), "a tuple of texts"),
        (("heads", 1), "a tuple of texts"),
        (("heads", "heads"), "each prefix once"),
    ],
)
def test_invalid_action_kinds(kinds: Any, rule: str) -> None:
    class Kinds(Coin):
        action_kinds = kinds

    with broken(f"action_kinds .*{rule}"):
        check_task(Kinds())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda info, over: info.pop("task_id"), r"info\['task_id'\] names the task"),
        (lambda info, over: info.update(task_id=3), r"info\['task_id'\] is a str"),
        (lambda info, over: info.update(state_key=("a", 1)), r"info\['state_key'\] is a str"),
        (lambda info, over: info.update(state_key="same"), "differs between tasks"),
        (lambda info, over: info.update(admissible_actions=["heads"]), "is a tuple of str"),
        (lambda info, over: info.update(admissible_actions=("heads", "heads")), "has each action once"),
        (lambda info, over: info.update(admissible_actions=()), "at least one action is admissible"),
        (lambda info, over: info.update(feature_vector=[1.0]), r"info\['feature_vector'\] is a float32 array"),
        (
            lambda info, over: info.update(feature_vector=np.zeros(info["steps_left"], np.float32)),
            r"info\['feature_vector'\] has one length",
        ),
        (lambda info, over: info.update(steps_left=-1), "int of at least 0"),
        (lambda info, over: info.update(steps_left=9 - info["steps_left"]), "never grows|0 only when"),
        (lambda info, over: info.pop("success", None), r"info\['success'\] is a bool"),
        (lambda info, over: info.update(is_success=1) if over else None, r"info\['is_success'\] is a bool"),
        (lambda info, over: info.update(is_success=not info["success"]) if over else None, "agree"),
        (lambda info, over: info.update(invalid_action=False), r"info\['invalid_action'\] is True"),
        (lambda info, over: info.update(noise=random.random()), "own generator"),
        (lambda info, over: info.update(noise=np.random.rand()), "own generator"),  # noqa: NPY002
        (lambda info, over: info.update(noise=next(COUNTER)), "the same seed, options and actions"),
    ],
)
def test_broken_infos_are_caught(change: Any, rule: str) -> None:
    with broken(rule):
        check_task(Changed(lambda info, over: change(info, over) and None))


COUNTER = iter(range(10**9))


class NeverEnds(Coin):
    def step(self, action: str) -> Any:
        text, reward, _, _, info = super().step(action)
        self._left = max(self._left, 1)
        return text, reward, False, False, info | {"steps_left": 1, "admissible_actions": ("heads", "tails")}


class ForgetsRandomState(Coin):
    """``restore`` does not restore the random state."""

    def snapshot(self) -> object:
        return self._task_index, self._left, self._coins, self._coin

    def restore(self, snapshot: Any) -> None:
        self._task_index, self._left, self._coins, self._coin = snapshot


class ExpertWithEffect(Coin):
    """The expert changes the coin."""

    def expert_action(self) -> str:
        coin = self._coin
        self._hide()
        return coin


class WrongExpert(Coin):
    def expert_action(self) -> str:
        return "the edge"


class CountingAugment(Coin):
    """``augment`` counts its calls and ignores ``rng``."""

    calls = 0

    def augment(self, observation: str, rng: Any) -> str:
        self.calls += 1
        return f"{observation} ({self.calls})"


class NoneAugment(Coin):
    def augment(self, observation: str, rng: Any) -> None:
        return None


class Raises(Coin):
    def step(self, action: str) -> Any:
        if action not in ("heads", "tails"):
            raise ValueError(action)
        return super().step(action)


class SeedDecides(Coin):
    """The option ``episode`` is ignored."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)


class SameInfo(Coin):
    """One dict for all steps."""

    def _info(self, invalid: bool = False) -> dict[str, Any]:
        self.kept = getattr(self, "kept", {})
        self.kept.pop("success", None)
        self.kept.update(super()._info(invalid))
        return self.kept

    def step(self, action: str) -> Any:
        text, reward, terminated, truncated, info = super().step(action)
        self.kept.update(info)
        return text, reward, terminated, truncated, self.kept


class NotText(Coin):
    def reset(self, **kwargs: Any) -> Any:
        _, info = super().reset(**kwargs)
        return 7, info


class OldGym(Coin):
    def step(self, action: str) -> Any:
        text, reward, terminated, _, info = super().step(action)
        return text, reward, terminated, info


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        (NeverEnds, "ends by itself"),
        (ForgetsRandomState, "exact state, the random state included"),
        (ExpertWithEffect, "does not change the task"),
        (WrongExpert, r"expert_action\(\) is admissible"),
        (CountingAugment, "draws from rng alone"),
        (NoneAugment, "augment.* returns a str"),
        (Raises, "step accepts any text"),
        (SeedDecides, "fixes the task, whatever the seed"),
        (SameInfo, "a new info"),
        (NotText, "an observation is a str"),
        (OldGym, r"step returns \(observation, reward, terminated, truncated, info\)"),
    ],
)
def test_broken_tasks_are_caught(task: type[Coin], rule: str) -> None:
    with broken(rule):
        check_task(task(), max_steps=50)


def test_good_tasks_pass_as_an_id_an_env_and_without_optional_parts() -> None:
    check_task("selfreg/Coin-v0", episodes=5)
    check_task(Coin(heads=0.9))

    class Bare(Coin):
        snapshot = restore = expert_action = None  # type: ignore[assignment]

    check_task(Bare())
    check_task(Changed(lambda info, over: [info.pop(key) for key in ("feature_key", "steps_left", "kind")] and None))


# --- actors -----------------------------------------------------------------------------------------------------------


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
    check_actor(_each(lambda decision: Act("heads", logprobs=(0.0, -1.0), cost=0.5)), task=Coin())
    check_intervention(Intervention(ExpertActor(), name="expert", cost=0.5))


def test_broken_interventions_are_caught() -> None:
    with broken("an intervention is a selfreg_gym.Intervention"):
        check_intervention(ExpertActor())
    unnamed, free = Intervention(ExpertActor(), name="x"), Intervention(ExpertActor(), name="x")
    unnamed.name, free.cost = "", 0.0
    with broken("has a name"):
        check_intervention(unnamed)
    with broken("cost is a positive float"):
        check_intervention(free)
    with broken("a str or an Act"):
        check_intervention(Intervention(_each(lambda decision: None), name="x"))


# --- helpers ----------------------------------------------------------------------------------------------------------


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

    for helper, rule in (
        (SameObject(0.3), "does not change this one"),
        (FixedKnob(0.3), "whose knob is x"),
        (ReversedBounds(0.3), "low < high"),
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
