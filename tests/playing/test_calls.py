"""Calls of several steps in the playing loop, which continues them, and in the transitions of episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from corridor import Corridor, Hasty

from selfreg_gym import Act, Helper, Intervention, InterventionEnv, InterventionVectorEnv
from selfreg_gym.episodes import merged_calls
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.registry import load
from selfreg_gym.testing import ExpertActor
from selfreg_gym.types import Episode

SPECS = [EpisodeSpec(i % 3, seed, 0.3) for i, seed in enumerate(range(20))]


class AskOnce(Helper):
    """Calls the intervention at the step ``at``, and does not know that calls last."""

    def __init__(self, at: int = 1, action: int = 1) -> None:
        self.at, self.action = at, action

    def decide(self, observations: Any, state: Any, start: Any) -> tuple[Any, Any]:
        step = np.where(start, 0, 0 if state is None else state)
        return np.where(step == self.at, self.action, 0), step + 1


class FailsLater(Hasty):
    """Works at the first step of an episode only."""

    def act(self, decisions: Any) -> Any:
        errors = [None if "7 steps" in decision.observation else "down" for decision in decisions]
        return [Act("walk", logprobs=(-0.1, -2.0), error=error) for error in errors]


def vector(num_envs: int, duration: Any = 3, **kwargs: Any) -> InterventionVectorEnv:
    people = [Intervention(ExpertActor(), name="expert", duration=duration, cost_per="step")]
    return InterventionVectorEnv(num_envs, Corridor, Hasty(), people, autoreset_mode="Disabled", **kwargs)


def ordered(episodes: Any) -> list[Episode]:
    return sorted(episodes, key=lambda episode: episode.seed)


def test_the_loop_continues_calls_that_a_helper_does_not_know_of() -> None:
    for episode in run_episodes(vector(4), SPECS, AskOnce()):
        actions = [step.action for step in episode.steps]
        assert actions == [0, 1, 1, 1, 0, 0, 0][: len(actions)]
        assert [step.continuation for step in episode.steps] == [False, False, True, True, False, False, False][
            : len(actions)
        ]
        assert episode.usage == (float(sum(actions)),)


@pytest.mark.parametrize("helper", [None, AskOnce()])
def test_the_batch_size_and_asking_the_actor_change_no_episode(helper: Any) -> None:
    expected = ordered(run_episodes(vector(7), SPECS, helper))
    assert ordered(run_episodes(vector(1), SPECS, helper)) == expected
    people = [Intervention(ExpertActor(), name="expert", duration=3, cost_per="step")]
    assert ordered(run_episodes(InterventionEnv(Corridor(), Hasty(), people), SPECS, helper)) == expected


def test_random_help_is_drawn_at_decisions_with_common_random_numbers() -> None:
    less, more = (ordered(run_episodes(vector(5), [EpisodeSpec(0, s, p) for s in range(200)])) for p in (0.2, 0.5))
    for low, high in zip(less, more, strict=True):
        pairs = [(a.action, b.action) for a, b in zip(low.steps, high.steps, strict=False)]
        differing = [pair for pair in pairs if pair[0] != pair[1]]
        assert differing[:1] in ([], [(0, 1)])  # the first difference is a call at the larger probability
    share = np.mean([decision.action for episode in more for decision in episode.decisions])
    assert share == pytest.approx(0.5, abs=0.05)


def test_decisions_merge_the_steps_of_a_call() -> None:
    episodes = ordered(run_episodes(vector(3, "subgoal"), SPECS))
    assert any(step.continuation for episode in episodes for step in episode.steps)
    for episode in episodes:
        decisions = episode.decisions
        assert sum(d.cost for d in decisions) == pytest.approx(episode.cost)
        assert sum(d.reward for d in decisions) == pytest.approx(sum(s.reward for s in episode.steps))
        assert [d.t for d in decisions] == [s.t for s in episode.steps if not s.continuation]
        assert not any(d.continuation for d in decisions)
        assert (decisions[-1].terminated, decisions[-1].truncated) == (
            episode.steps[-1].terminated,
            episode.steps[-1].truncated,
        )
        assert not any(d.terminated or d.truncated for d in decisions[:-1])
        assert merged_calls(decisions) == decisions
    assert episodes[0].steps[:0] == merged_calls(())


def test_helpers_may_abort_where_the_env_allows_it() -> None:
    episodes = ordered(run_episodes(vector(3, 1, abort=True), SPECS, AskOnce(at=2, action=2)))
    aborted = [episode for episode in episodes if episode.aborted]
    assert aborted
    assert all(len(episode.steps) == 3 and not episode.success for episode in aborted)
    assert all(episode.steps[-1].action_text == "" and episode.steps[-1].terminated for episode in aborted)
    assert all(len(episode.steps) < 3 for episode in episodes if not episode.aborted)
    without = ordered(run_episodes(vector(3, 1), SPECS, AskOnce(at=2, action=2)))
    assert [one.error is not None for one in without] == [one.aborted for one in episodes]
    assert all(
        "from 0 to K (here N = 3 and K = 1)" in (one.error or "from 0 to K (here N = 3 and K = 1)") for one in without
    )


def test_a_failing_actor_ends_no_episode_while_a_call_goes_on() -> None:
    people = [Intervention(ExpertActor(), name="expert", duration="end")]
    env = InterventionVectorEnv(2, Corridor, FailsLater(), people, autoreset_mode="Disabled")
    played = list(run_episodes(env, SPECS[:4], AskOnce(at=0), ask_actor_always=True, retries=0))
    assert all(episode.error is None for episode in played)


def test_always_asking_with_calls_to_the_end_is_one_call_per_episode() -> None:
    for episode in run_episodes(vector(3, "end"), SPECS, load("helpers", "always")()):
        assert len(episode.decisions) == 1
        assert episode.decisions[0].cost == len(episode.steps)
