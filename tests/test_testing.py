"""selfreg_gym.testing catches broken tasks, and names the rule."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import TaskContractError
from selfreg_gym.testing import check_task


def broken(match: str) -> Any:
    return pytest.raises(TaskContractError, match=f"broken rule: .*{match}")


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
