"""Best of n with a process reward model and with fitted values, trained on a task whose best choice is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from small_tasks import _Small

import selfreg_gym
from selfreg_gym import EpisodeSpec, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.interventions.best_of_n import BestOfN
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Decision


class Halls(_Small):
    """Two doors: from the bright hall behind one the way out is found in 9 of 10 cases, from the dark one in 1."""

    num_episodes = 4

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        gym.Env.reset(self, seed=seed)
        self.house = int((options or {}).get("episode", 0))
        self.state, self.left = "doors", 2
        return "You see two doors.", self._known(("left", "right"))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        draw = self.np_random.random()
        self.left -= 1
        if self.state == "doors":
            self.state = "bright" if action == "left" else "dark"
            return f"You are in the {self.state} hall.", 0.0, False, False, self._known(("out",))
        success = bool(draw < (0.9 if self.state == "bright" else 0.1))
        self.state = "end"
        return "It is over.", float(success), True, False, self._known((), over=True, success=success)

    def _known(self, actions: Any, **over: Any) -> dict[str, Any]:
        known = {"task_id": f"house-{self.house}", "feature_key": self.state}
        return self._info(actions, **over) | known | {"state_key": f"{self.house} {self.state}"}


class Undecided:
    """Takes each admissible action with equal probability."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        return [str(decision.rng.choice(decision.admissible_actions)) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Undecided:
        return self


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The folders of a process reward model and of fitted values, both from 160 episodes of random help."""
    folder = tmp_path_factory.mktemp("halls")
    env = {"task": Halls, "actor": Undecided(), "interventions": [selfreg_gym.Intervention(Undecided(), name="other")]}
    rollouts = selfreg_gym.collect(
        env,
        store=folder / "rollouts.sqlite",
        tasks=range(4),
        episodes=40,
        help_probabilities=[0.0, 0.5],
        progress=False,
    )
    prm = ProcessRewardModel.train(
        list(rollouts.episodes(help_probability=0.0)), epochs=2, lr=1e-2, seed=0, progress=False
    )
    prm.save_pretrained(folder / "prm")
    selfreg_gym.solve_fitted(
        rollouts, inputs=["features", "steps_left"], prices=6, folds=2, members=1, rounds=4, progress=False
    ).save(folder / "fitted")
    yield {name: folder / name for name in ("prm", "fitted")}
    rollouts.close()


@pytest.mark.parametrize("value", ["prm", "fitted"])
def test_the_better_door_is_taken(folders: dict[str, Path], value: str) -> None:
    """Of 5 answers, all are "right" with the probability 1 / 32."""
    best = BestOfN(5, value=value, folder=folders[value])
    played = []
    for num_envs in (1, 8):
        env = InterventionVectorEnv(num_envs, Halls, Undecided(), [best], autoreset_mode="Disabled")
        episodes = run_episodes(env, [EpisodeSpec(0, seed, 1.0) for seed in range(24)])
        played.append(sorted(episodes, key=lambda one: one.seed))
    assert played[0] == played[1]
    assert all(episode.error is None for episode in played[0])
    doors = [episode.steps[0].action_text for episode in played[0]]
    assert doors.count("left") >= 20
