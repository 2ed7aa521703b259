"""``InterventionEnv``: at each step of a text task the actor acts, or an intervention acts at a cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.intervention_env import building
from selfreg_gym.intervention_env.asking import ask, ask_ahead
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.intervention_env.interventions import build_interventions, in_env
from selfreg_gym.types import Act, Actor, Intervention
from selfreg_gym.utils.arguments import check_flag

__all__ = ["InterventionEnv"]


class InterventionEnv(gym.Env[str, int]):
    """A text task in which a helper chooses at each step who acts: the actor, or an intervention at a cost.

    ## Description
    The action of a step selects who acts on the task: the actor (0, nohelp) or the k-th intervention (k, help).

    ## Action Space
    ``Discrete(1 + K)``: 0 is nohelp, k >= 1 is help from the k-th of K interventions. With ``abort=True`` it is
    ``Discrete(2 + K)``, and the last action ends the episode without success and without further cost.

    A call of an intervention lasts one step, or longer (``Intervention.duration``). While it goes on, each step is an
    ordinary step with one possible action, that of the intervention; any other action is an error.
    ``info["action_mask"]`` and ``action_masks()`` have the possible actions.

    ## Observation Space
    The task's observation space: the text that the actor reads.

    ## Rewards
    ``success - help_cost * cost``: success is 1 on the last step of a successful episode and else 0; cost is the
    number of cost units of this step.

    ## Starting State
    The task's. ``reset(seed=s)`` passes ``s`` to the task; without a seed, one is drawn from ``self.np_random``.
    ``options`` are passed to the task; ``{"episode": i}`` selects its i-th task.

    ## Episode End
    The task's, and truncation after ``max_episode_steps``. If an actor or an intervention fails (``Act.error``, an
    exception, an invalid answer, a changed task, a call longer than ``call_timeout``), or if the task's ``step`` raises
    or breaks the contract of :class:`selfreg_gym.TextTask`, the episode is truncated with reward 0, the last
    observation and ``info["error"]``. It is excluded from all statistics. If the task's ``reset`` fails, ``reset``
    raises ``TaskResetError``.

    ## Info
    The task's info, and the keys below. A key has the same type on every reset and step, as Gymnasium's own vector
    environments require.

    * ``action_mask``: int8 ``(A,)``, 1 for the actions that are possible in the next step;
    * ``usage``: float64 ``(K,)``, cost units so far per intervention; ``calls``: int64 ``(K,)``, calls so far, of one
      or several steps each;
    * ``intervention``: name of the intervention that acted, or None; ``action_text``: its text, None after a reset;
    * ``cost``: float, cost units of this step; ``step``: int, steps done;
    * ``tokens``: int, tokens of the call, -1 if not counted;
    * ``reported_cost``: float, cost units that the call reported, -1 if none (also under its former key ``price``);
    * ``success``, ``is_success``, ``invalid_action``: bool;
    * ``error``: str, the plug-in that failed in this step and the rule that it broke, or None;
    * ``aborted``: bool, whether the episode was aborted (with ``abort=True`` only);
    * ``state_key``, ``task_id``: str; ``task_seed``: int.

    ## Arguments
    * ``task``: id of a text task, the task env itself, or a function that makes it.
    * ``actor``: a registered name, an actor, or a function of the observation.
    * ``interventions``: registered names, :class:`selfreg_gym.Intervention` objects, or texts ``NAME=ID`` for a
      registered intervention under another name.
    * ``help_cost``: r, the reward subtracted per cost unit (not negative).
    * ``max_episode_steps``: truncate episodes after this many steps, or None. ``gym.make`` instead adds a ``TimeLimit``
      wrapper, whose counter is not part of this env's snapshots.
    * ``abort``: whether the last action ends the episode without success and without further cost.
    * ``call_timeout``: seconds that one call of the actor, of an intervention or of a helper (in ``run_episodes``) may
      take, or None. A call that takes longer has failed. With a limit, each call runs in a thread of its own.
    * ``task_kwargs``: arguments of a task that is given by its id.
    * ``actor_kwargs``: arguments of an actor that is given by its name.
    * ``intervention_kwargs``: arguments by the intervention's name, ``{"endpoint": {"base_url": ...}}``.
    * ``render_mode``: the task's render mode.

    Raises:
        UnknownNameError: no task, actor or intervention has this name, or an argument does not exist.
        InvalidArgumentError: a negative ``help_cost``, a task whose spaces are not text, or two interventions with the
            same name.

    ## Version History
    v0: first version.
    """

    metadata = {"render_modes": ["ansi", "human", "rgb_array"], "render_fps": 1}  # noqa: RUF012 - set per env

    def __init__(
        self,
        task: gym.Env[str, str] | Callable[[], gym.Env[str, str]] | str,
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
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        building.check_no_more_arguments(type(self), unknown)
        self._generator: np.random.Generator | None = None
        self._generator_seed: int | None = None
        self._warned = False
        self.actor = building.build_actor(actor, actor_kwargs)
        self.interventions = build_interventions(interventions, intervention_kwargs)
        self.help_cost = building.check_help_cost(help_cost)
        self.max_episode_steps = building.check_limit(max_episode_steps)
        self.abort = check_flag("abort", abort)
        self.call_timeout = building.check_timeout(call_timeout)
        self.task = building.build_task(task, task_kwargs, render_mode)
        with building.closing_on_error(self.task):
            self.actor, self.interventions = in_env(self.actor, self.interventions, self.task)
        self.render_mode = render_mode
        self.metadata = {"render_modes": [], "render_fps": 1, **self.task.metadata}
        self.observation_space = self.task.observation_space
        self._last_action = len(self.interventions) + self.abort
        self.action_space = gym.spaces.Discrete(1 + self._last_action)  # type: ignore[assignment]
        self._episode = EpisodeState(
            self.task, self.interventions, self.help_cost, self.max_episode_steps, abort=self.abort
        )
        self._actors = (self.actor, *(intervention.actor for intervention in self.interventions))

    # Gymnasium makes the generator in reset(seed=...), which takes 12 us. Episodes with a seed do not use it, so it is
    # made at its first use; the stream is the same.
    @property
    def _np_random(self) -> np.random.Generator | None:  # type: ignore[override]
        if self._generator is None and self._generator_seed is not None:
            self._generator = gym.utils.seeding.np_random(self._generator_seed)[0]
        return self._generator

    @_np_random.setter
    def _np_random(self, generator: np.random.Generator | None) -> None:
        self._generator, self._generator_seed = generator, None

    @property
    def slots(self) -> tuple[EpisodeState]:
        """The episode in progress, as a tuple like ``InterventionVectorEnv.slots``."""
        return (self._episode,)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: seed of the episode (not negative); drawn from ``self.np_random`` if None.
            options: passed to the task.

        Returns:
            ``(observation, info)``.
        """
        seed = building.check_seed(seed)
        if seed is None:
            self._episode.begin(int(self.np_random.integers(2**31)), options)
        else:
            self._generator, self._generator_seed, self._np_random_seed = None, seed, seed
            self._episode.begin(seed, options)
        return self._episode.observation, self._episode.info.copy()  # wrappers may change the dict

    def step(self, action: int) -> tuple[str, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Let the actor (0) or the ``action``-th intervention act once, or end the episode (the last action, if it is
        ``abort``).

        Raises:
            NotResetError: no episode has begun.
            EpisodeOverError: the episode has ended.
            InvalidArgumentError: ``action`` is not an action, or is not possible while a call goes on.
        """
        episode = self._episode
        if episode.over:
            episode.raise_not_running("step")
        if type(action) is not int or not 0 <= action <= self._last_action:
            action = building.check_action(action, self.interventions, abort=self.abort)
        episode.require_possible(action)
        if action > len(self.interventions):
            episode.abort()
            return episode.observation, episode.reward, True, False, episode.info.copy()
        act: str | Act | None = None if action else episode.act
        if act is None:
            decision = episode.decision(action)
            act = ask(self._actors[action], (decision,), timeout=self.call_timeout, episodes=(episode,))[0]
        episode.apply(action, act)
        if episode.truncated and episode.info["error"] and not self._warned:
            self._warned = True  # warn once; every failed episode has info["error"]
            gym.logger.warn(f"the episode is truncated and excluded from statistics: {episode.info['error']}")
        return episode.observation, episode.reward, episode.terminated, episode.truncated, episode.info.copy()

    def action_masks(self) -> np.ndarray:
        """``(A,)`` bool: True for the actions that are possible in the next step (MaskablePPO reads this)."""
        return self._episode.mask.astype(bool)

    def actor_acts(self) -> Act | None:
        """The act that the actor would take now, with its log-probabilities; None if the episode is over.

        The actor is asked at most once per step. A following action 0 executes this act; after help it is discarded,
        and ``slots[0].extra_actor_calls`` counts it. So an episode is the same whether the actor is asked or not. An
        act with an ``error`` ends the episode only if it is executed.
        """
        return ask_ahead(self.actor, self.slots, timeout=self.call_timeout)[0]

    def snapshot(self) -> object:
        """The exact state: the task's snapshot, the counters, the act of :meth:`actor_acts`, and ``np_random``.

        The state of wrappers around this env (``TimeLimit``, which ``gym.make(max_episode_steps=n)`` adds) is not
        included; :func:`selfreg_gym.intervention_env.snapshots.take_snapshot` includes it.

        Raises:
            NotResetError: no episode has begun.
        """
        return self._episode.snapshot(), self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        """Go back to a state that :meth:`snapshot` returned.

        Raises:
            InvalidArgumentError: ``snapshot`` was not returned by :meth:`snapshot`.
        """
        if not isinstance(snapshot, tuple) or len(snapshot) != 2:
            raise InvalidArgumentError(f"restore takes a snapshot that this env returned, received {shown(snapshot)}.")
        state, random_state = snapshot
        self._episode.restore(state)
        self.np_random.bit_generator.state = random_state

    def render(self) -> Any:
        """Render the task.

        Raises:
            NotResetError: no episode has begun.
        """
        if self._episode.seed is None:
            self._episode.raise_not_running("render")
        return self.task.render()

    def close(self) -> None:
        """Close the task."""
        self.task.close()
