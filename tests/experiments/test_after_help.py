"""Failures after help are found where the history misleads the actor, and nowhere else."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from made_forks import made_forks

from selfreg_gym import EpisodeSpec, FreeText, Intervention, InterventionVectorEnv, run_episodes
from selfreg_gym.experiments.after_help import matched_pairs, outcomes, pooled, surprisal
from selfreg_gym.forks import fork, stored_states
from selfreg_gym.types import Act


class Diary(gym.Env[str, str]):
    """Five steps; both words are admissible and progress alike, and the observation has all words so far."""

    num_episodes = 6

    def __init__(self) -> None:
        self.observation_space, self.action_space = FreeText(), FreeText(20)
        self.words: list[str] = []
        self.episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.words, self.episode = [], int((options or {}).get("episode", 0))
        return self._result(False)[0::4]

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        invalid = action not in ("own", "foreign")
        self.words.append(action)
        return self._result(invalid)

    def _result(self, invalid: bool) -> tuple[str, float, bool, bool, dict[str, Any]]:
        left = 0 if invalid else 5 - len(self.words)
        info: dict[str, Any] = {
            "task_id": f"diary-{self.episode}", "kind": "diary", "admissible_actions": ("own", "foreign"),
            "state_key": f"{self.episode} {self.words}", "feature_key": f"{left} left", "steps_left": left,
            "invalid_action": invalid,
        }  # fmt: skip
        if left == 0:
            info |= {"success": not invalid, "is_success": not invalid}
        return f"Words: {' '.join(self.words)}.", float(left == 0 and not invalid), left == 0, False, info


class Writer:
    """Writes its own word; after a foreign word it babbles with probability ``babble``."""

    def __init__(self, babble: float) -> None:
        self.babble = babble

    def act(self, decisions):
        return [
            Act("mumble" if "foreign." in one.observation and one.rng.random() < self.babble else "own",
                logprobs=(np.log(0.9), np.log(0.1)))
            for one in decisions
        ]  # fmt: skip


def _pairs(babble: float):
    kwargs = {
        "task": Diary, "actor": Writer(babble),
        "interventions": [Intervention(lambda text: "foreign", name="foreign")],
    }  # fmt: skip
    env = InterventionVectorEnv(8, **kwargs, autoreset_mode="Disabled")
    specs = [EpisodeSpec(i % 6, i, (0.0, 0.4)[i % 2]) for i in range(60)]
    return kwargs, matched_pairs(list(run_episodes(env, specs, ask_actor_always=True)), 1, 30, seed=0)


@pytest.mark.parametrize("babble", [0.0, 0.5])
def test_the_effect_of_the_history_is_measured(babble: float) -> None:
    kwargs, pairs = _pairs(babble)
    assert len(pairs) >= 15
    for pair in pairs:
        assert (pair.helped.feature_key, pair.helped.steps_left) == (pair.alone.feature_key, pair.alone.steps_left)
        assert pair.helped.steps[-1].action == 1
        assert not any(step.action for step in pair.alone.steps)
        assert pair.surprisal == pytest.approx(-np.log(0.1), abs=1e-6)
    helped, alone = (
        outcomes(fork(kwargs, [getattr(pair, name) for pair in pairs], first_actions=[()], repetitions=15), (), 1)
        for name in ("helped", "alone")
    )
    rates = [
        [np.mean([one[key] for one in side]) for key in ("invalid", "failed", "success")] for side in (helped, alone)
    ]
    assert rates[0] == pytest.approx([babble, babble, 1 - babble], abs=0.08)
    assert rates[1] == [0.0, 0.0, 1.0]


def test_outcomes_count_from_the_end_of_the_first_actions() -> None:
    forks = made_forks(np.zeros((1, 2, 4), bool))
    forks.success[0, 1, 3] = True
    forks.steps[0, 1] = [1, 3, 6, 3]
    forks.first_steps[0, 1] = 1
    forks.invalid_at[0, 1] = [0, 2, 5, -1]
    (found,) = outcomes(forks, (1,), 2)  # the first repetition ended with the first action
    assert found == {"invalid": pytest.approx(1 / 3), "failed": pytest.approx(1 / 3), "success": pytest.approx(1 / 3)}
    forks.steps[0, 1] = 1
    assert all(np.isnan(value) for value in outcomes(forks, (1,), 2)[0].values())


@pytest.mark.parametrize("duration", [1, 3])
def test_outcomes_count_from_the_end_of_a_call_of_several_steps(duration: int) -> None:
    """The actor babbles directly after foreign words, so all invalid actions are one step after the call."""
    foreign = Intervention(lambda text: "foreign", name="foreign", duration=duration)
    kwargs = {"task": Diary, "actor": Writer(1.0), "interventions": [foreign]}
    specs = [EpisodeSpec(i, i, 0.0) for i in range(4)]
    env = InterventionVectorEnv(4, **kwargs, autoreset_mode="Disabled")
    episodes = list(run_episodes(env, specs, ask_actor_always=True))
    forks = fork(kwargs, stored_states(episodes, [5 * i + 1 for i in range(4)]), repetitions=2)
    assert (forks.first_steps[:, forks.index(1)] == duration).all()
    assert (forks.first_steps[:, forks.index(0)] == 1).all()
    assert (forks.invalid_at[:, forks.index(1)] == duration).all()
    for one in outcomes(forks, (1,), 1):
        assert one == {"invalid": 1.0, "failed": 1.0, "success": 0.0}
    for one in outcomes(forks, (0,), 1):
        assert one == {"invalid": 0.0, "failed": 0.0, "success": 1.0}


def test_the_surprisal_of_a_step() -> None:
    _, pairs = _pairs(0.0)
    step = pairs[0].helped.steps[-1]
    assert surprisal(step) == pytest.approx(-np.log(0.1), abs=1e-6)


def test_rows_are_pooled_over_tasks_and_seeds() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"task": i % 10, "kind": "a", "seed": seed, "x": float(rng.random() < 0.3)}
        for seed in range(3)
        for i in range(40)
    ]
    found = pooled(rows, "x")
    assert found.value == np.mean([row["x"] for row in rows])
    assert found.low < 0.3 < found.high
    shifted = pooled([{**row, "x": row["x"] + row["seed"]} for row in rows], "x")  # seeds that differ widen it
    assert shifted.high - shifted.low > 3 * (found.high - found.low)
    assert np.isnan(pooled([{"task": 0, "kind": "", "seed": 0, "x": None}], "x").value)
