"""``InterventionEnv``: act on a text task, or pay an intervention to act, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.intervention_env.building import (
    build_actor,
    build_interventions,
    build_task,
    check_action,
    check_help_cost,
    check_limit,
    check_no_more_arguments,
    check_seed,
)
from selfreg_gym.intervention_env.episode import EpisodeState, ask
from selfreg_gym.types import Actor, Intervention

__all__ = ["InterventionEnv"]


class InterventionEnv(gym.Env[str, int]):
    """When should the actor pay for help? A text task in which each step is taken by the actor or by an
    intervention that costs.

    ## Description
    At each step the action says who acts on the task: the actor itself (0), or the k-th intervention (k), which costs.

    ## Action Space
    ``Discrete(1 + K)``: 0 nohelp, k >= 1 help from the k-th of K interventions.

    ## Observation Space
    The task's: the text that the actor would read.

    ## Rewards
    ``success - help_cost * cost units of this step``, where success is 1 on the last step of a successful episode.

    ## Starting State
    ``reset(seed=s)`` hands ``s`` to the task; without one, a seed is drawn from ``self.np_random``. ``options`` go to
    the task (``{"episode": i}`` chooses what is to be done).

    ## Episode End
    The task's. An actor that fails (``Act.error``, an exception, an invalid answer) truncates the episode with
    reward 0 and says so in ``info["error"]``: such an episode is no data.

    ## Info
    All that the task reports, and: ``usage`` (float64 ``(K,)``, cost units so far), ``intervention`` (the name of the
    asked one, or None), ``action_text`` (str, or None after a reset), ``cost`` (float, cost units of this step),
    ``tokens`` (int, tokens of the call, -1 if not counted), ``price`` (float, reported cost of the call, -1 if not
    reported), ``step`` (int, steps done), ``success``, ``is_success``, ``invalid_action`` (bool), ``state_key``,
    ``task_id`` (str), ``task_seed`` (int), ``error`` (str or None). Each key has one type on every reset and step, so
    that Gymnasium's own vector environments accept it.

    Args:
        task: id of a text task, the task env itself, or a function that makes it.
        actor: a registered name, an actor, or a function of the observation.
        interventions: registered names or :class:`selfreg_gym.Intervention` objects.
        help_cost: r, the price of one cost unit in units of success (not negative).
        max_episode_steps: truncate an episode after that many steps, or None. ``gym.make`` adds a ``TimeLimit`` wrapper
            instead, whose counter a snapshot of this env alone does not hold.
        task_kwargs: arguments of the task, when it is given by id.
        actor_kwargs: arguments of the actor, when it is given by name (``actor="lm", actor_kwargs={"path": ...}``).
        intervention_kwargs: arguments of interventions that are given by name (``{"endpoint": {"base_url": ...}}``).
        render_mode: the task's render mode.

    Raises:
        UnknownNameError: no task, actor or intervention has this name, or there is no such argument.
        InvalidArgumentError: a negative ``help_cost``, a task that is not made of text, two interventions of one name.

    ## Version History
    v0: first version.
    """

    metadata = {"render_modes": ["ansi", "human", "rgb_array"], "render_fps": 1}  # noqa: RUF012 - the task's, below

    def __init__(
        self,
        task: gym.Env[str, str] | Callable[[], gym.Env[str, str]] | str,
        actor: Actor | Callable[[str], str] | str,
        interventions: Sequence[Intervention | str],
        *,
        help_cost: float = 0.0,
        max_episode_steps: int | None = None,
        task_kwargs: dict[str, Any] | None = None,
        actor_kwargs: dict[str, Any] | None = None,
        intervention_kwargs: dict[str, dict[str, Any]] | None = None,
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        check_no_more_arguments(type(self), unknown)
        self._generator: np.random.Generator | None = None
        self._generator_seed: int | None = None
        self._told = False
        self.actor = build_actor(actor, actor_kwargs)
        self.interventions = build_interventions(interventions, intervention_kwargs)
        self.help_cost = check_help_cost(help_cost)
        self.max_episode_steps = check_limit(max_episode_steps)
        self.task = build_task(task, task_kwargs, render_mode)
        self.render_mode = render_mode
        self.metadata = {"render_modes": [], "render_fps": 1, **self.task.metadata}
        self.observation_space = self.task.observation_space
        self.action_space = gym.spaces.Discrete(1 + len(self.interventions))  # type: ignore[assignment]
        self._row = EpisodeState(self.task, self.interventions, self.help_cost, self.max_episode_steps)
        self._actors = (self.actor, *(intervention.actor for intervention in self.interventions))

    # Gymnasium makes the generator in reset(seed=...), for 12 us. An episode with a seed never uses it, so it is made
    # when it is first read; the stream is the same.
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
        """The one episode in progress, as ``InterventionVectorEnv.rows`` has N."""
        return (self._row,)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: seed of the episode (not negative); drawn from ``self.np_random`` if None.
            options: handed to the task.

        Returns:
            ``(observation, info)``.
        """
        seed = check_seed(seed)
        if seed is None:
            self._row.begin(int(self.np_random.integers(2**31)), options)
        else:
            self._generator, self._generator_seed, self._np_random_seed = None, seed, seed
            self._row.begin(seed, options)
        return self._row.observation, self._row.info.copy()  # a wrapper may change the dict that it gets

    def step(self, action: int) -> tuple[str, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Let the actor (0) or the ``action``-th intervention act once.

        Raises:
            NotResetError: no episode has begun.
            EpisodeOverError: the episode has ended.
            InvalidArgumentError: ``action`` is not an integer from 0 to K.
        """
        row = self._row
        if row.over:
            row.refuse("step")
        if type(action) is not int or not 0 <= action <= len(self.interventions):
            action = check_action(action, self.interventions)
        row.apply(action, ask(self._actors[action], (row.decision(action),))[0])
        if row.truncated and row.info["error"] and not self._told:
            self._told = True  # once; a caller that plays many episodes counts them by info["error"]
            gym.logger.warn(f"the episode is truncated, and no data: {row.info['error']}")
        return row.observation, row.reward, row.terminated, row.truncated, row.info.copy()

    def snapshot(self) -> object:
        """The exact state: the task's snapshot, the counters, and ``np_random``.

        A wrapper around this env that holds state of its own (``TimeLimit``, which ``gym.make(max_episode_steps=n)``
        adds) is not part of it: :func:`selfreg_gym.intervention_env.snapshots.take_snapshot` includes it.

        Raises:
            NotResetError: no episode has begun.
        """
        return self._row.snapshot(), self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        """Go back to a state that :meth:`snapshot` returned.

        Raises:
            InvalidArgumentError: ``snapshot`` is something else.
        """
        if not isinstance(snapshot, tuple) or len(snapshot) != 2:
            raise InvalidArgumentError(
                f"restore takes what snapshot() of this env returned, received {shown(snapshot)}."
            )
        moment, random_state = snapshot
        self._row.restore(moment)
        self.np_random.bit_generator.state = random_state

    def render(self) -> Any:
        """Render the task.

        Raises:
            NotResetError: no episode has begun.
        """
        if self._row.seed is None:
            self._row.refuse("render")
        return self.task.render()

    def close(self) -> None:
        """Close the task."""
        self.task.close()
