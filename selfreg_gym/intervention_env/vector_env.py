"""``InterventionVectorEnv``: N episodes in one process, with one batched call per step for each who must act."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from selfreg_gym.errors import InvalidArgumentError, NotResetError, UnknownNameError, shown
from selfreg_gym.intervention_env.building import (
    build_actor,
    build_interventions,
    build_task,
    check_action,
    check_actions,
    check_help_cost,
    check_limit,
    check_no_more_arguments,
    check_seed,
)
from selfreg_gym.intervention_env.episode import EpisodeState, ask
from selfreg_gym.intervention_env.infos import batch_infos
from selfreg_gym.types import Actor, Intervention
from selfreg_gym.utils.arguments import check_count, check_options

__all__ = ["InterventionVectorEnv", "to_sb3"]


class InterventionVectorEnv(gym.vector.VectorEnv[tuple[str, ...], np.ndarray, np.ndarray]):
    """N intervention envs at once; row i gives the episodes that :class:`selfreg_gym.InterventionEnv` would.

    A step asks the actor once, for all rows whose action is 0, and each intervention once, for the rows that chose it.
    A call that fails for all is repeated row by row, so that one bad decision ends one episode only.

    Observations are a tuple of N strings; infos follow Gymnasium's vector convention. The autoreset mode says what
    happens to a row whose episode ended:

    * ``NEXT_STEP`` (default): the next step resets it. Its action is ignored, no actor is called, the reward is 0.
    * ``SAME_STEP``: it is reset at once; the end is in ``infos["final_obs"]`` and ``infos["final_info"]``.
    * ``DISABLED``: it stays finished until ``reset`` with a mask. Its action is ignored, no actor is called, the reward
      is 0, its flags stay, and it has no infos (its masks are False).

    Args:
        num_envs: N.
        task: id of a text task, or a function that makes a new one (it is called N times).
        actor, interventions, help_cost, max_episode_steps, task_kwargs, actor_kwargs, intervention_kwargs, render_mode:
            as for ``InterventionEnv``.
        autoreset_mode: a ``gymnasium.vector.AutoresetMode``, or its name or value.

    Raises:
        InvalidArgumentError: ``num_envs`` is not positive, or ``task`` is one live env (or a function that returns the
            same env again), which N rows cannot share.
        UnknownNameError: an unknown argument, autoreset mode, task, actor or intervention.
    """

    def __init__(
        self,
        num_envs: int,
        task: Callable[[], gym.Env[str, str]] | str,
        actor: Actor | Callable[[str], str] | str,
        interventions: Sequence[Intervention | str],
        *,
        help_cost: float = 0.0,
        max_episode_steps: int | None = None,
        task_kwargs: dict[str, Any] | None = None,
        actor_kwargs: dict[str, Any] | None = None,
        intervention_kwargs: dict[str, dict[str, Any]] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        check_no_more_arguments(type(self), unknown)
        self.num_envs = check_count("num_envs", num_envs)
        if isinstance(task, gym.Env):
            raise InvalidArgumentError(
                f"each of the {num_envs} rows needs a task of its own: give the task's id or a function that makes it, "
                f"received the live env {task}."
            )
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.actor = build_actor(actor, actor_kwargs)
        self.interventions = build_interventions(interventions, intervention_kwargs)
        self.help_cost = check_help_cost(help_cost)
        self.max_episode_steps = check_limit(max_episode_steps)
        self.render_mode = render_mode
        tasks = [build_task(task, task_kwargs, render_mode) for _ in range(self.num_envs)]
        if len({id(one.unwrapped) for one in tasks}) < self.num_envs:
            raise InvalidArgumentError(
                f"each of the {self.num_envs} rows needs a task of its own: the function must make a new task in each "
                f"call, and it returned the same env again, {tasks[0]}."
            )
        self.slots = tuple(
            EpisodeState(one, self.interventions, self.help_cost, self.max_episode_steps) for one in tasks
        )
        self.act_retries = 0  # how often a failed act is asked for again; to_sb3 sets it
        self.metadata = {
            "render_modes": [],
            "render_fps": 1,
            **tasks[0].metadata,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space = tasks[0].observation_space
        self.single_action_space = gym.spaces.Discrete(1 + len(self.interventions))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._actors = (self.actor, *(intervention.actor for intervention in self.interventions))
        # A row without a seed of its own draws one here, from the stream that a single env would have.
        self._generators: list[np.random.Generator | int | None] = [None] * self.num_envs

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | Sequence[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin an episode in every row, or in those of a mask.

        Args:
            seed: an int s (row i gets s + i), N seeds (None: drawn by the row), or None.
            options: handed to the tasks, except ``"reset_mask"`` (bool ``(N,)``: reset these rows and leave the others
                untouched). ``"episode"`` may be one int for all, or an int array ``(N,)``.

        Returns:
            ``(observations, infos)``: N strings (of all rows), and the infos of the rows that were reset.
        """
        mask, options_of = self._read_options(options)
        seeds = self._read_seeds(seed)
        infos: list[dict[str, Any] | None] = [None] * self.num_envs
        for i in np.flatnonzero(mask).tolist():
            if seeds[i] is not None:
                self._generators[i] = seeds[i]
            self._begin(i, seeds[i], options_of(i))
            infos[i] = self.slots[i].info
        return self._observations(), batch_infos(infos)

    def step(self, actions: Any) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Let the actor (0) or the k-th intervention (k) act once in every row.

        Args:
            actions: N integers from 0 to K; those of rows that are finished are ignored.

        Returns:
            ``(observations, rewards, terminations, truncations, infos)``: N strings, float64 ``(N,)``, bool ``(N,)``,
            bool ``(N,)``, dict of arrays.

        Raises:
            NotResetError: ``reset`` was never called.
            InvalidArgumentError: not N integers from 0 to K.
        """
        n, rows = self.num_envs, self.slots
        finished = [row.over for row in rows]
        wanted = self._read_actions(actions, finished)
        asked: dict[int, list[int]] = {}
        for i in range(n):
            if not finished[i]:
                asked.setdefault(wanted[i], []).append(i)
        for who in sorted(asked):
            acts = ask(self._actors[who], [rows[i].decision(who) for i in asked[who]])
            for _ in range(self.act_retries):
                failed = [j for j, act in enumerate(acts) if not isinstance(act, str) and act.error is not None]
                if not failed:
                    break
                again = ask(self._actors[who], [rows[asked[who][j]].decision(who) for j in failed])
                for j, act in zip(failed, again, strict=True):
                    acts[j] = act
            for i, act in zip(asked[who], acts, strict=True):
                rows[i].apply(who, act)

        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            for i in range(n):
                if finished[i]:
                    self._begin(i, None, None)
        rewards = np.array([row.reward for row in rows], dtype=np.float64)
        terminations = np.array([row.terminated for row in rows], dtype=np.bool_)
        truncations = np.array([row.truncated for row in rows], dtype=np.bool_)
        infos: list[dict[str, Any] | None] = [row.info for row in rows]
        final: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.DISABLED:
            rewards[finished] = 0.0
            infos = [None if finished[i] else rows[i].info for i in range(n)]
        elif self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._restart(infos, finished)
        return self._observations(), rewards, terminations, truncations, batch_infos(infos) | final

    def snapshot(self) -> tuple[object, ...]:
        """One snapshot per row (None for a row that never began)."""
        return tuple(row.snapshot() if row.seed is not None else None for row in self.slots)

    def restore(self, snapshot: Sequence[Any]) -> None:
        """Bring every row back to a moment that :meth:`snapshot` returned.

        Raises:
            InvalidArgumentError: ``snapshot`` is not one of an env with as many rows.
        """
        if not isinstance(snapshot, tuple) or len(snapshot) != self.num_envs:
            raise InvalidArgumentError(
                f"restore takes what snapshot() of a vector env with {self.num_envs} rows returned, received "
                f"{shown(snapshot)}."
            )
        for row, moment in zip(self.slots, snapshot, strict=True):
            if moment is not None:
                row.restore(moment)

    def render(self) -> tuple[Any, ...]:
        """Render every task."""
        return tuple(row.task.render() for row in self.slots)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every task."""
        for row in self.slots:
            row.task.close()

    def get_wrapper_attr(self, name: str) -> Any:
        """An attribute of this env (wrappers look through to it)."""
        return getattr(self, name)

    def _begin(self, i: int, seed: int | None, options: dict[str, Any] | None) -> None:
        if seed is None:
            generator = self._generators[i]
            if not isinstance(generator, np.random.Generator):
                generator = self._generators[i] = gym.utils.seeding.np_random(generator)[0]
            seed = int(generator.integers(2**31))
        self.slots[i].begin(seed, options)

    def _restart(self, infos: list[dict[str, Any] | None], idle: Sequence[bool]) -> dict[str, Any]:
        """Reset the rows that have just ended (SAME_STEP), and return their ends as ``final_obs`` and ``final_info``.

        ``idle`` rows had not begun (the first reset had a mask): they begin now, and nothing ended there.
        """
        for i in np.flatnonzero(idle).tolist():
            self._begin(i, None, None)
            infos[i] = self.slots[i].info
        ended = [i for i, row in enumerate(self.slots) if row.over]
        if not ended:
            return {}
        final_info: list[dict[str, Any] | None] = [None] * self.num_envs
        final_obs = np.full(self.num_envs, None, dtype=object)
        for i in ended:
            final_info[i], final_obs[i] = self.slots[i].info, self.slots[i].observation
            self._begin(i, None, None)
            infos[i] = self.slots[i].info
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[ended] = True
        return {
            "final_obs": final_obs,
            "_final_obs": mask,
            "final_info": batch_infos(final_info),
            "_final_info": mask.copy(),
        }

    def _observations(self) -> tuple[str, ...]:
        return tuple([row.observation for row in self.slots])

    def _read_actions(self, actions: Any, finished: Sequence[bool]) -> list[int]:
        if all(row.seed is None for row in self.slots):
            raise NotResetError("step needs episodes: call reset() first.")
        wanted = check_actions(actions, self.num_envs).tolist()
        for i, action in enumerate(wanted):
            if not finished[i] and not 0 <= action <= len(self.interventions):
                check_action(action, self.interventions)
        return wanted

    def _read_seeds(self, seed: Any) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            first = check_seed(seed)
            return [check_seed(first + i) for i in range(self.num_envs)]  # type: ignore[operator]
        if isinstance(seed, str | bytes | Mapping) or not isinstance(seed, Iterable):
            raise InvalidArgumentError(
                f"seed must be an integer, {self.num_envs} integers (or None), or None, received {shown(seed)}."
            )
        seeds = [check_seed(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise InvalidArgumentError(f"seed needs {self.num_envs} entries, one per row, received {len(seeds)}.")
        return seeds

    def _read_options(
        self, options: dict[str, Any] | None
    ) -> tuple[np.ndarray, Callable[[int], dict[str, Any] | None]]:
        """The rows to reset, and each row's own options."""
        if options is None:
            return np.ones(self.num_envs, dtype=np.bool_), lambda i: None
        if not isinstance(options, Mapping):
            raise InvalidArgumentError(
                f"options of reset must be a dict such as {{'episode': 0}} or None, received {shown(options)}."
            )
        check_options({key: None for key in options}, known=("episode", "reset_mask"))
        common = dict(options)
        mask = common.pop("reset_mask", None)
        if mask is None:
            mask = np.ones(self.num_envs, dtype=np.bool_)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise InvalidArgumentError(
                f"options['reset_mask'] must be a bool array of shape ({self.num_envs},) with at least one True, "
                f"received {mask!r}."
            )
        episode = common.pop("episode", None)
        try:
            episodes = None if episode is None else np.asarray(episode)
        except ValueError:  # lists of different lengths
            episodes = np.array("")
        if episodes is not None and (episodes.shape not in {(), (self.num_envs,)} or episodes.dtype.kind not in "iu"):
            raise InvalidArgumentError(
                f"options['episode'] must be an int or {self.num_envs} ints, received {episode!r}."
            )

        def options_of(i: int) -> dict[str, Any] | None:
            if episodes is None:
                return dict(common) or None
            return {**common, "episode": int(episodes if episodes.ndim == 0 else episodes[i])}

        return mask, options_of


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    for known in AutoresetMode:
        if mode in (known, known.value, known.name):
            return known
    raise UnknownNameError("autoreset mode", mode, [known.value for known in AutoresetMode])


def to_sb3(env: gym.vector.VectorEnv[Any, Any, Any], *, retries: int = 2) -> Any:
    """Return a Stable-Baselines3 ``VecEnv`` that steps this vector env.

    SB3 resets in the same step and wants the last observation in ``info["terminal_observation"]``, so the env must be
    in SAME_STEP mode. Its algorithms take numbers: wrap the env in ``FeatureObservation`` first.

    A failed act is asked for again up to ``retries`` times. If it still fails, ``step`` raises
    ``FailedEpisodesError``: an episode with an error must not be learned from, and SB3 cannot leave one out.

    Raises:
        InvalidArgumentError: the env's autoreset mode is not SAME_STEP, or its observations are text.
    """
    from selfreg_gym.intervention_env.sb3 import SB3VecEnv  # loads torch

    return SB3VecEnv(env, retries=retries)
