"""Replay of collected episodes to a helper: its actions at the stored decisions.

The episodes are played in a real intervention env whose task shows the stored observations and infos in turn, and whose
actor and interventions repeat the stored acts. So the helper has its wrapper, its memory within the episode, and the
counters of the env, as in play. At each decision the helper is asked, and then the stored action is taken.

The task reports the stored facts: observation, admissible actions, state key, feature key, steps left, feature vector,
task id and kind, and the actor's log-probabilities where they were stored. A helper whose wrapper reads anything else
of the task cannot be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.playing.helper_calls import failed_by_helper
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.spaces import FreeText
from selfreg_gym.types import Act, Decision, Duration, Episode, Intervention, Transition
from selfreg_gym.utils.episode_draws import episode_key

__all__ = ["ReplayedTask", "replay_env", "replayed_actions"]

_MIX, _LARGEST = 0x9E3779B97F4A7C15, 2**63 - 1


class ReplayedTask(gym.Env[str, str]):
    """A text task that shows the stored episodes, whatever the action.

    ``reset(options={"episode": i})`` begins the i-th stored episode.
    """

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self.observation_space = self.action_space = FreeText()  # type: ignore[assignment]
        self.stored = episodes
        self.num_episodes = len(episodes)
        self.episode = episodes[0]
        self.number = self.t = 0

    @property
    def current(self) -> Transition:
        """The stored decision."""
        return self.episode.steps[self.t]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.number = int((options or {}).get("episode", 0))
        self.episode, self.t = self.stored[self.number], 0
        return self.current.observation, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        done = self.current
        over = self.t + 1 == len(self.episode.steps)
        if over:  # the observation after the last decision is not stored: the last one is repeated
            info = self._info() | {"success": self.episode.success}
            return done.observation, 0.0, not done.truncated, done.truncated, info
        self.t += 1
        return self.current.observation, 0.0, False, False, self._info()

    def subgoal(self) -> str:
        """A name that changes at each decision: a call in the replay lasts as long as the stored one."""
        return str(sum(not step.continuation for step in self.episode.steps[: self.t + 1]))

    def snapshot(self) -> tuple[int, int]:
        """The episode and the step."""
        return self.number, self.t

    def restore(self, snapshot: tuple[int, int]) -> None:
        """Return to the state of a snapshot."""
        self.number, self.t = snapshot
        self.episode = self.stored[self.number]

    def _info(self) -> dict[str, Any]:
        step, episode = self.current, self.episode
        info: dict[str, Any] = {
            "task_id": episode.task_id, "kind": episode.kind, "state_key": step.state_key,
            "admissible_actions": step.admissible_actions, "feature_key": step.feature_key,
            "steps_left": step.steps_left, "feature_vector": getattr(step, "feature_vector", None),
            "invalid_action": False,
        }  # fmt: skip
        return {name: value for name, value in info.items() if value is not None}


class _StoredActs:
    """Answers each decision with the stored act."""

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        return [self._act(decision.task.unwrapped.current) for decision in decisions]

    def _act(self, step: Transition) -> Act:
        logprobs = getattr(step, "actor_logprobs", None)
        given = None if logprobs is None else tuple(min(float(x), 0.0) for x in logprobs)
        cost = step.cost if step.action else step.reported_cost
        return Act(step.action_text, logprobs=given, tokens=step.tokens, cost=cost)


def replay_env(
    episodes: Sequence[Episode], interventions: Sequence[str] | None = None, num_envs: int = 64
) -> InterventionVectorEnv:
    """An intervention env with the stored episodes as its tasks.

    Args:
        episodes: the stored episodes.
        interventions: their names; by default ``intervention-1`` and so on. The cost of each is the mean cost of the
            first steps of its stored calls (1 without any).
        num_envs: number of episodes that are replayed at a time.
    """
    count = max(len(one.usage) for one in episodes)
    names = interventions or [f"intervention-{k}" for k in range(1, count + 1)]
    spent, calls = np.zeros(count + 1), np.zeros(count + 1)
    for one in episodes:
        for step in one.steps:
            if not step.continuation and step.action <= count:
                spent[step.action] += step.cost
                calls[step.action] += 1
    costs = np.where((calls > 0) & (spent > 0), spent / np.maximum(calls, 1), 1.0)
    acts = _StoredActs()
    longer = any(step.continuation for one in episodes for step in one.steps)
    duration: Duration = "subgoal" if longer else 1
    return InterventionVectorEnv(
        min(num_envs, len(episodes)),
        lambda: ReplayedTask(episodes),
        acts,
        [
            Intervention(acts, name=name, cost=float(cost), duration=duration)
            for name, cost in zip(names, costs[1:], strict=True)
        ],
        abort=any(one.aborted for one in episodes),
        autoreset_mode="Disabled",
    )


class _Asked(Helper):
    """Asks a helper at each decision, keeps its answer, and takes the stored action."""

    def __init__(self, helper: Helper, begin: np.ndarray, answers: np.ndarray, draw: int) -> None:
        self.helper, self.begin, self.answers, self.draw = helper, begin, answers, draw
        self.slots: Sequence[Any] = ()
        self.count = 0

    @property
    def type_name(self) -> str:
        """The class of the helper that is asked."""
        return self.helper.type_name

    def for_interventions(self, interventions: Sequence[Intervention]) -> _Asked:
        """The helper for these interventions."""
        return self._replaced(helper=self.helper.for_interventions(interventions))

    def wrap(self, env: Any) -> Any:
        """The env whose observations the helper reads."""
        self.slots = env.unwrapped.slots
        self.count = len(env.unwrapped.interventions) + env.unwrapped.abort
        return self.helper.wrap(env)

    def begin_episodes(self, state: Any, starts: np.ndarray, keys: np.ndarray) -> Any:
        """Begin the helper's random streams: those of the stored episodes, or of another draw."""
        if not self.helper.draws_per_episode:
            return state
        stored = [slot.task.unwrapped.episode for slot in self.slots]
        own = np.array([episode_key(one.seed, one.task_index) for one in stored], np.int64)
        return self.helper.begin_episodes(state, starts, own ^ (self.draw * _MIX & _LARGEST))

    def batch_size(self, observation: Any, episode_start: Any) -> int | None:
        """As the helper that is asked."""
        return self.helper.batch_size(observation, episode_start)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Ask the helper, and return the stored actions."""
        answer, state = self.helper.predict(observation, state, episode_start, deterministic)
        answer = np.asarray(answer)
        if answer.shape != (len(self.slots),) or answer.dtype.kind not in "iub":
            raise TaskContractError(
                f"for N observations, a helper must return N integer actions (here N = {len(self.slots)}); "
                f"{self.type_name} returned {shown(answer)}."
            )
        stored = np.zeros(len(self.slots), np.int64)
        for i, slot in enumerate(self.slots):
            if slot.over:
                continue
            task = slot.task.unwrapped
            if not 0 <= answer[i] <= self.count:
                raise InvalidArgumentError(
                    f"the store has {self.count} interventions, and {self.type_name} asked number {answer[i]}, which "
                    "was never tried: off-policy evaluation needs a collection with the helper's interventions."
                )
            self.answers[self.begin[task.number] + task.t] = answer[i]
            stored[i] = task.current.action
        return stored, state


def replayed_actions(
    episodes: Sequence[Episode],
    helper: Any,
    *,
    draw: int = 0,
    deterministic: bool = True,
    interventions: Sequence[str] | None = None,
    num_envs: int = 64,
    on_episode: Callable[[Episode], None] | None = None,
) -> np.ndarray:
    """The helper's action at each of the n stored decisions, ``(n,)`` int64, in the order of the episodes.

    It is also asked while a call goes on, so that its memory sees every observation; these answers are left out.

    Args:
        episodes: the stored episodes.
        helper: a helper, an object with ``predict`` or a function.
        draw: number of the draw of the helper's random numbers; 0 takes its streams for these episodes.
        deterministic: passed to ``helper.predict``.
        interventions: names of the interventions.
        num_envs: number of episodes that are replayed at a time; it does not change the result.
        on_episode: called after each episode.

    Raises:
        TaskContractError: the helper raised, or did not return N integers.
        InvalidArgumentError: the helper asked an intervention that the store does not have.
    """
    begin = np.concatenate(([0], np.cumsum([len(one.steps) for one in episodes])))
    answers = np.full(begin[-1], -1, np.int64)
    asked = _Asked(as_helper(helper, what="the helper"), begin, answers, draw)
    env = replay_env(episodes, interventions, num_envs)
    specs = [EpisodeSpec(i, one.seed) for i, one in enumerate(episodes)]
    played = run_episodes(
        env, specs, asked, deterministic=deterministic, record_steps=False, retries=0, on_episode=on_episode
    )
    for episode in played:
        if failed_by_helper(episode):
            raise TaskContractError(
                f"the off-policy evaluation needs the helper's action at every stored decision, and it failed in an "
                f"episode of task {episode.task_id!r} (seed {episode.seed}). {episode.error}"
            )
        if episode.error is not None:
            raise InvalidArgumentError(
                f"a stored act must be valid: in an episode of task {episode.task_id!r} (seed {episode.seed}) "
                f"{episode.error}"
            )
    decides = np.array([not step.continuation for one in episodes for step in one.steps])
    return answers[decides]
