"""``InterventionVectorEnv``: N episodes in one process, with at most one batched call per actor and step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from selfreg_gym.errors import InvalidArgumentError, NotResetError, UnknownNameError, shown
from selfreg_gym.intervention_env import building
from selfreg_gym.intervention_env.asking import ask_ahead, ask_repeatedly
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.intervention_env.infos import batch_infos
from selfreg_gym.intervention_env.interventions import build_interventions, in_env
from selfreg_gym.types import Act, Actor, Intervention
from selfreg_gym.utils.arguments import check_count, check_flag, check_options

__all__ = ["InterventionVectorEnv", "to_sb3"]


class InterventionVectorEnv(gym.vector.VectorEnv[tuple[str, ...], np.ndarray, np.ndarray]):
    """A vector env of N intervention envs; each plays the episodes of :class:`selfreg_gym.InterventionEnv`.

    A step calls the actor once for all environments whose action is 0, and each intervention once for those that
    chose it. A batched call that fails is repeated for each environment alone, so one bad decision ends one episode.

    Observations are a tuple of N strings; infos follow Gymnasium's vector convention. The autoreset mode determines
    what happens to an environment whose episode has ended:

    * ``NEXT_STEP`` (default): the next step resets it; that step ignores its action, calls no actor and rewards 0.
    * ``SAME_STEP``: it is reset in the same step; ``infos["final_obs"]`` and ``infos["final_info"]`` hold the end.
    * ``DISABLED``: it stays finished until ``reset`` with a mask. Steps ignore its action, call no actor, reward 0,
      repeat its flags and give it no infos (its masks are False).

    Args:
        num_envs: N.
        task: id of a text task, or a function that returns a new task env at each of N calls.
        actor, interventions, help_cost, max_episode_steps, abort, call_timeout, task_kwargs, actor_kwargs,
            intervention_kwargs, render_mode: as for ``InterventionEnv``.
        autoreset_mode: a ``gymnasium.vector.AutoresetMode``, its name or its value.

    Raises:
        InvalidArgumentError: ``num_envs`` is not positive, or ``task`` is a task env (or a function that returns the
            same env twice): N environments cannot share one.
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
        abort: bool = False,
        call_timeout: float | None = None,
        task_kwargs: dict[str, Any] | None = None,
        actor_kwargs: dict[str, Any] | None = None,
        intervention_kwargs: dict[str, dict[str, Any]] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        building.check_no_more_arguments(type(self), unknown)
        self.num_envs = check_count("num_envs", num_envs)
        if isinstance(task, gym.Env):
            raise InvalidArgumentError(
                f"each of the {num_envs} environments needs its own task: pass a task id or a function that makes a "
                f"task, received the env {task}."
            )
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.actor = building.build_actor(actor, actor_kwargs)
        self.interventions = build_interventions(interventions, intervention_kwargs)
        self.help_cost = building.check_help_cost(help_cost)
        self.max_episode_steps = building.check_limit(max_episode_steps)
        self.abort = check_flag("abort", abort)
        self.call_timeout = building.check_timeout(call_timeout)
        self.render_mode = render_mode
        tasks = [building.build_task(task, task_kwargs, render_mode) for _ in range(self.num_envs)]
        with building.closing_on_error(*tasks):
            self.actor, self.interventions = in_env(self.actor, self.interventions, tasks[0])
        if len({id(one.unwrapped) for one in tasks}) < self.num_envs:
            raise InvalidArgumentError(
                f"each of the {self.num_envs} environments needs its own task: the function must return a new task env "
                f"at each call, and it returned {tasks[0]} twice."
            )
        self.slots = tuple(
            EpisodeState(one, self.interventions, self.help_cost, self.max_episode_steps, abort=self.abort)
            for one in tasks
        )
        self.act_retries = 0  # repetitions of a failed call; set by to_sb3
        own = {"autoreset_mode": self.autoreset_mode}
        self.metadata = {"render_modes": [], "render_fps": 1, **tasks[0].metadata, **own}
        self.single_observation_space = tasks[0].observation_space
        self._last_action = len(self.interventions) + self.abort
        self.single_action_space = gym.spaces.Discrete(1 + self._last_action)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._actors = (self.actor, *(intervention.actor for intervention in self.interventions))
        # Seeds of episodes without a seed are drawn from the streams that N single envs would have.
        self._generators: list[np.random.Generator | int | None] = [None] * self.num_envs

    def reset(  # type: ignore[override]
        self, *, seed: int | Sequence[int | None] | np.ndarray | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin an episode in every environment, or in those of a mask.

        Args:
            seed: an int s (environment i gets s + i), N seeds or None (None: a seed is drawn).
            options: passed to the tasks, except ``"reset_mask"``, bool ``(N,)``, True for the environments to reset;
                the others do not change. ``"episode"`` is one int for all, or an int array ``(N,)``.

        Returns:
            ``(observations, infos)``: all N observations, and the infos of the environments that were reset.
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
        """Let the actor (0) or the k-th intervention (k) act once in every environment, or abort its episode (K + 1).

        Args:
            actions: N integers, the possible ones (``infos["action_mask"]``); those of finished environments are
                ignored.

        Returns:
            ``(observations, rewards, terminations, truncations, infos)``: N strings, float64 ``(N,)``, bool ``(N,)``,
            bool ``(N,)``, dict of arrays.

        Raises:
            NotResetError: ``reset`` was never called.
            InvalidArgumentError: not N integers from 0 to K (K + 1 with ``abort``), or an action that is not possible
                while a call goes on. No environment is stepped.
        """
        n, slots = self.num_envs, self.slots
        finished = [episode.over for episode in slots]
        wanted = self._read_actions(actions, finished)
        asked: dict[int, list[int]] = {}
        for i in range(n):
            if finished[i]:
                continue
            known = slots[i].act
            if wanted[i] > len(self.interventions):
                slots[i].abort()
            elif known is not None and wanted[i] == 0:
                slots[i].apply(0, known)
            else:
                asked.setdefault(wanted[i], []).append(i)
        for who in sorted(asked):
            theirs = [slots[i] for i in asked[who]]
            decisions = [slot.decision(who) for slot in theirs]
            acts = ask_repeatedly(self._actors[who], decisions, theirs, self.act_retries, self.call_timeout)
            for i, act in zip(asked[who], acts, strict=True):
                slots[i].apply(who, act)

        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            for i in range(n):
                if finished[i]:
                    self._begin(i, None, None)
        rewards = np.array([episode.reward for episode in slots], dtype=np.float64)
        terminations = np.array([episode.terminated for episode in slots], dtype=np.bool_)
        truncations = np.array([episode.truncated for episode in slots], dtype=np.bool_)
        infos: list[dict[str, Any] | None] = [episode.info for episode in slots]
        final: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.DISABLED:
            rewards[finished] = 0.0
            infos = [None if finished[i] else slots[i].info for i in range(n)]
        elif self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._restart(infos, finished)
        return self._observations(), rewards, terminations, truncations, batch_infos(infos) | final

    def action_masks(self) -> np.ndarray:
        """``(N, A)`` bool: True for the actions that are possible in the next step (MaskablePPO reads this method)."""
        return np.stack([episode.mask for episode in self.slots]).astype(bool)

    def actor_acts(self) -> list[Act | None]:
        """The acts that the actor would take now, with their log-probabilities; None where the episode is over.

        One batched call asks the actor for the environments where it was not asked at this step. A following action 0
        executes the act; after help it is discarded, and ``slots[i].extra_actor_calls`` counts it. So an episode is the
        same whether the actor is asked or not. An act with an ``error`` ends the episode only if it is executed.
        """
        return ask_ahead(self.actor, self.slots, self.act_retries, self.call_timeout)

    def snapshot(self) -> tuple[object, ...]:
        """One snapshot per environment (None where no episode has begun)."""
        return tuple(episode.snapshot() if episode.seed is not None else None for episode in self.slots)

    def restore(self, snapshot: Sequence[Any]) -> None:
        """Restore every environment to its state in ``snapshot``, which :meth:`snapshot` returned.

        Raises:
            InvalidArgumentError: ``snapshot`` is not a snapshot of a vector env with N environments.
        """
        if not isinstance(snapshot, tuple) or len(snapshot) != self.num_envs:
            raise InvalidArgumentError(
                f"restore takes a snapshot of a vector env with {self.num_envs} environments, received "
                f"{shown(snapshot)}."
            )
        for episode, state in zip(self.slots, snapshot, strict=True):
            if state is not None:
                episode.restore(state)

    def render(self) -> tuple[Any, ...]:
        """Render every task."""
        return tuple(episode.task.render() for episode in self.slots)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every task."""
        for episode in self.slots:
            episode.task.close()

    def get_wrapper_attr(self, name: str) -> Any:
        """An attribute of this env, as wrappers look it up."""
        return getattr(self, name)

    def _begin(self, i: int, seed: int | None, options: dict[str, Any] | None) -> None:
        if seed is None:
            generator = self._generators[i]
            if not isinstance(generator, np.random.Generator):
                generator = self._generators[i] = gym.utils.seeding.np_random(generator)[0]
            seed = int(generator.integers(2**31))
        self.slots[i].begin(seed, options)

    def _restart(self, infos: list[dict[str, Any] | None], idle: Sequence[bool]) -> dict[str, Any]:
        """Reset the environments that have ended (SAME_STEP), and return ``final_obs`` and ``final_info``.

        Idle environments had no episode, because the first reset had a mask: they begin one, and none has ended there.
        """
        for i in np.flatnonzero(idle).tolist():
            self._begin(i, None, None)
            infos[i] = self.slots[i].info
        ended = [i for i, episode in enumerate(self.slots) if episode.over]
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
        return tuple([episode.observation for episode in self.slots])

    def _read_actions(self, actions: Any, finished: Sequence[bool]) -> list[int]:
        if all(episode.seed is None for episode in self.slots):
            raise NotResetError("step needs an episode: call reset() first.")
        wanted = building.check_actions(actions, self.num_envs).tolist()
        for i, action in enumerate(wanted):
            if finished[i]:
                continue
            if not 0 <= action <= self._last_action:
                building.check_action(action, self.interventions, abort=self.abort)
            self.slots[i].require_possible(action)
        return wanted

    def _read_seeds(self, seed: Any) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            first = building.check_seed(seed)
            return [building.check_seed(first + i) for i in range(self.num_envs)]  # type: ignore[operator]
        if isinstance(seed, str | bytes | Mapping) or not isinstance(seed, Iterable):
            raise InvalidArgumentError(
                f"seed must be an integer, {self.num_envs} integers (or None), or None, received {shown(seed)}."
            )
        seeds = [building.check_seed(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise InvalidArgumentError(
                f"seed needs {self.num_envs} entries, one per environment, received {len(seeds)}."
            )
        return seeds

    def _read_options(
        self, options: dict[str, Any] | None
    ) -> tuple[np.ndarray, Callable[[int], dict[str, Any] | None]]:
        """A mask ``(N,)`` of the environments to reset, and the options of environment i as a function."""
        if options is None:
            return np.ones(self.num_envs, dtype=np.bool_), lambda i: None
        names = dict.fromkeys(options) if isinstance(options, Mapping) else options
        check_options(names, known=("episode", "reset_mask"))  # the values are read below
        common = dict(options)
        mask = common.pop("reset_mask", None)
        mask = np.ones(self.num_envs, dtype=np.bool_) if mask is None else np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise InvalidArgumentError(
                f"options['reset_mask'] must be a bool array of shape ({self.num_envs},) with at least one True, "
                f"received {mask!r}."
            )
        episode = common.pop("episode", None)
        try:
            episodes = None if episode is None else np.asarray(episode)
        except ValueError:  # nested lists of different lengths
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

    SB3 resets in the same step and expects the last observation in ``info["terminal_observation"]``, so the env must be
    in SAME_STEP mode. SB3 learns from numbers: wrap the env in ``FeatureObservation`` first.

    A failed call of an actor is repeated up to ``retries`` times. If it still fails, ``step`` raises
    ``FailedEpisodesError``, because SB3 cannot exclude an episode from training.

    Raises:
        InvalidArgumentError: the env's autoreset mode is not SAME_STEP, or its observations are text.
    """
    from selfreg_gym.intervention_env.sb3 import SB3VecEnv  # loads torch

    return SB3VecEnv(env, retries=retries)
