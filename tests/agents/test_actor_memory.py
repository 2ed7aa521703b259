"""The env's actor has one memory in an episode, whether it acts itself or an intervention calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from selfreg_gym import Act, Decision, EpisodeSpec, InterventionEnv, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.interventions.advice import Advice
from selfreg_gym.agents.interventions.best_of_n import BestOfN
from selfreg_gym.agents.interventions.human import Human
from selfreg_gym.agents.interventions.replay import Replay
from selfreg_gym.agents.interventions.self_consistency import SelfConsistency
from selfreg_gym.types import Intervention

COIN: dict[str, Any] = {"task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.999}}


class Counting:
    """Says "heads" and remembers the number of its acts in the episode."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        self.found += [decision.memory for decision in decisions]
        return [Act("heads", memory=(decision.memory or 0) + 1) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Counting:
        return self


def passes(question: str) -> str:
    return "pass"


CALLING: dict[str, Any] = {
    "advice": lambda: Advice(lambda text: "look"),
    "shuffled advice": lambda: Advice(lambda text: "look", shuffled=True),
    "pass": lambda: Human(read=passes, write=lambda text: None),
    "replay": lambda: Replay(["fly"], otherwise="step"),
    "self-consistency": lambda: SelfConsistency(3),
    "best-of-n": lambda: BestOfN(2),
}


@pytest.mark.parametrize("name", CALLING)
def test_an_actor_that_is_called_continues_its_memory(name: str) -> None:
    env = InterventionEnv(**COIN, actor=Counting(), interventions=[CALLING[name]()])
    env.reset(seed=0, options={"episode": 3})  # five coins
    snapshot = None
    for step, action in enumerate([0, 1, 1, 0]):
        if step == 2:
            snapshot = env.snapshot()
        *_, info = env.step(action)
        assert info["error"] is None
        assert env.slots[0].memory == {0: step + 1}
    assert snapshot is not None
    env.restore(snapshot)
    assert env.slots[0].memory == {0: 2}


class Noting:
    """An adviser that counts its sentences."""

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        return [Act(f"sentence {decision.memory}", memory=(decision.memory or 0) + 1) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Noting:
        return self


def test_who_is_asked_has_a_memory_of_its_own() -> None:
    for made in (Advice(Noting()), SelfConsistency(3, actor=Counting()), BestOfN(2, actor=Counting())):
        env = InterventionEnv(**COIN, actor=Counting(), interventions=[made])
        env.reset(seed=0, options={"episode": 3})
        for action in (0, 1, 1, 0):
            env.step(action)
        own = 4 if isinstance(made, Advice) else 2  # another actor acts in the place of the env's
        assert env.slots[0].memory == {0: own, 1: 2}


def test_memories_do_not_depend_on_the_batch() -> None:
    found = []
    for num_envs in (1, 5):
        actor = Counting()
        people = [CALLING["advice"](), Intervention(lambda text: "heads", name="other")]
        env = InterventionVectorEnv(num_envs, **COIN, actor=actor, interventions=people, autoreset_mode="Disabled")
        specs = [EpisodeSpec(i % 4, i, 0.5) for i in range(20)]
        episodes = sorted(run_episodes(env, specs), key=lambda one: one.seed)
        acted = sum(step.action < 2 for episode in episodes for step in episode)
        assert len(actor.found) == acted
        found.append((episodes, sorted(memory or 0 for memory in actor.found)))
    assert found[0] == found[1]
