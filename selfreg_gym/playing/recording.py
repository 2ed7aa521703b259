"""``Recorder``: records an episode step by step while it is played, and draws its random help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.playing.random_help import RandomHelp
from selfreg_gym.types import Episode, Transition
from selfreg_gym.utils.random_streams import RANDOM_ABORT, RANDOM_HELP, stream

__all__ = ["Recorder"]


class Recorder:
    """Records one episode while it is played."""

    __slots__ = (
        "_before",
        "_drawn",
        "_record",
        "_steps",
        "_stops",
        "_stream",
        "propensities",
        "retries_left",
        "spec",
        "unseen",
    )

    def __init__(self, spec: EpisodeSpec, retries_left: int, record: bool) -> None:
        self.spec, self.retries_left, self._record = spec, retries_left, record
        self._steps: list[Transition] = []
        self._before: dict[str, Any] = {}
        self._stream: np.random.Generator | None = None
        self._stops: np.random.Generator | None = None
        self._drawn: int | None = None
        self.propensities: tuple[float, ...] | None = None  # of the actions of the next step
        self.unseen: int | None = None

    def random_action(self, help: RandomHelp, allowed: Sequence[bool] | None = None) -> int:
        """The random action of the next step: two uniforms, one for whether to ask and one for whom; and one of another
        stream for whether to abort, if that has a probability.

        Both are drawn at every step (common random numbers): as long as two episodes agree, help at probability p
        occurs at every step where it occurs at a smaller p. ``propensities`` are set to those of the draw.

        Args:
            help: its distribution over the interventions.
            allowed: ``(A,)`` True where an action is allowed; None: everywhere.
        """
        if self._stream is None:
            self._stream = stream(RANDOM_HELP, self.spec.seed)
        p = self.spec.help_probability
        assert p is not None
        whether, whom = self._stream.random(2)
        self.propensities = help.propensities(p, allowed)
        stops = 1.0
        if help.abort_probability:
            if self._stops is None:
                self._stops = stream(RANDOM_ABORT, self.spec.seed)
            stops = float(self._stops.random())
        self._drawn = help.draw(p, whether, whom, allowed, stops)
        return self._drawn

    def check_step(self, episode: EpisodeState, env: Any) -> None:
        """Raise if the env made no step, several, or has begun another episode, because of a wrapper."""
        if episode.t == self._before["t"] + 1 and episode.seed == self.spec.seed:
            return
        raise InvalidArgumentError(
            "a wrapper around the intervention env must pass on every step exactly once and must not reset the env: "
            f"after step {self._before['t'] + 1} of the episode with seed {self.spec.seed}, the env is at step "
            f"{episode.t} of the episode with seed {episode.seed}. Remove this wrapper from {env}."
        )

    def record_state(self, episode: EpisodeState, logprobs: Sequence[float] | None = None) -> None:
        """Record the state before the action, and the actor's log-probabilities in float32, as they are stored."""
        info = episode.info
        vector = info.get("feature_vector") if self._record else None
        with np.errstate(over="ignore"):
            kept = None if logprobs is None or not self._record else tuple(np.array(logprobs, np.float32).tolist())
        self._before = {
            "t": episode.t,
            "observation": episode.observation if self._record else "",
            "admissible_actions": info.get("admissible_actions") if self._record else None,
            "state_key": info["state_key"],
            "feature_key": info.get("feature_key"),
            "steps_left": info.get("steps_left"),
            "actor_logprobs": kept,
            "feature_vector": None if vector is None else tuple(vector.tolist()),
            "propensities": self.propensities,
        }

    def record_step(self, episode: EpisodeState, reward: float, terminated: bool, truncated: bool) -> None:
        """Record the action and its results. ``who`` is who acted: a wrapper may have denied the chosen call.

        A wrapper that changes actions without ``action_masks()`` makes their probabilities unknown.
        """
        info = episode.info
        if self._drawn is not None and self._drawn != episode.who:
            self._before["propensities"] = None
        self._steps.append(
            Transition(
                **self._before,
                action=episode.who,
                action_text=info["action_text"] or "",
                cost=info["cost"],
                reward=float(reward),
                terminated=terminated,
                truncated=truncated,
                invalid=info["invalid_action"],
                tokens=None if info["tokens"] < 0 else info["tokens"],
                reported_cost=None if info["reported_cost"] < 0 else info["reported_cost"],
                continuation=episode.continued,
            )
        )

    def not_begun(self, interventions: int, error: str) -> Episode:
        """The failed episode of a task that could not be reset."""
        spec, usage = self.spec, (0.0,) * interventions
        return Episode(spec.task_index, spec.seed, "", "", spec.help_probability, False, usage, (), error=error)

    def finish(self, episode: EpisodeState) -> Episode:
        """The whole episode."""
        info = episode.info
        metrics = dict(info.get("metrics", {}))
        if self.unseen is not None:
            metrics["unseen"] = float(self.unseen)
        if episode.extra_actor_calls:
            metrics["extra_actor_calls"] = float(episode.extra_actor_calls)
        return Episode(
            task_index=self.spec.task_index,
            seed=self.spec.seed,
            task_id=str(info["task_id"]),
            kind=str(info.get("kind", "")),
            help_probability=self.spec.help_probability,
            success=info["success"],
            usage=tuple(episode.usage.tolist()),
            steps=tuple(self._steps),
            error=info["error"],
            metrics=metrics,
        )
