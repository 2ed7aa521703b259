"""``run_episodes``: play a list of episodes; collection, calibration and evaluation use this loop.

Each episode of the list is played exactly once. The draws of random help depend only on the episode's seed, so neither
the batch size nor the order of the episodes changes an episode.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from selfreg_gym._moved import renamed
from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import InvalidArgumentError, TaskResetError, shown
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.optional_members import find_member
from selfreg_gym.playing.helper_calls import HelperCalls, helper_errors, with_working_helper
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.playing.random_help import RandomHelp, checked_abort, checked_shares
from selfreg_gym.playing.recording import Recorder
from selfreg_gym.types import Act, Episode, HelperPolicy
from selfreg_gym.utils.arguments import check_count, check_number
from selfreg_gym.utils.episode_draws import episode_key

__all__ = ["run_episodes"]

__getattr__ = renamed(__name__, {"play": "run_episodes"})


def run_episodes(
    env: gym.vector.VectorEnv[Any, Any, Any] | gym.Env[Any, Any],
    specs: Sequence[EpisodeSpec],
    helper: HelperPolicy | None = None,
    *,
    deterministic: bool = True,
    record_steps: bool = True,
    retries: int = 2,
    ask_actor_always: bool = False,
    help_shares: Sequence[float] | None = None,
    abort_probability: float = 0.0,
    helper_must_work: bool = True,
    on_episode: Callable[[Episode], None] | None = None,
) -> Iterator[Episode]:
    """Play every spec once and yield the episodes in the order in which they end.

    Args:
        env: an ``InterventionVectorEnv`` with ``autoreset_mode="Disabled"``, or an ``InterventionEnv``; it may be
            wrapped. Episodes that a wrapper truncates (``TimeLimit``) end there. Wrappers must pass on each step
            exactly once.
        specs: the episodes to play.
        helper: a :class:`selfreg_gym.Helper`, an object with ``predict`` or a function; it reads the observations of
            ``helper.wrap(env)``. At the end of the list, idle environments are passed with their last observation, and
            their actions are ignored. None for random help: at each step with the spec's ``help_probability``, from
            one of the K interventions; the probability of each action is in ``Transition.propensities``.
        deterministic: passed to ``helper.predict``.
        record_steps: False leaves ``observation``, ``admissible_actions``, ``actor_logprobs`` and ``feature_vector`` of
            the transitions empty.
        retries: repetitions of an episode in which an actor or the helper failed, before it is yielded with ``error``.
        ask_actor_always: ask the actor at every step, and record its log-probabilities (``actor_logprobs``) also where
            help is given. An episode in which it fails at such a step ends in its error too, because a missing
            distribution would reveal that help was given. Episodes are otherwise the same.
        help_shares: ``(K,)`` the share of each intervention in random help, with the sum 1; None: equal shares.
        abort_probability: the probability of a random abort at a step, below 1; the env must have ``abort``.
        helper_must_work: True: a helper that fails in all episodes raises. False: these episodes are yielded too.
        on_episode: called with each episode before it is yielded.

    If the helper raises, takes longer than the env's ``call_timeout`` or returns no valid action for some of the
    episodes in progress, only these episodes end. They are played again, as those in which an actor failed. To find
    them, the helper is asked again from the same ``state``, so ``predict`` must return a new state and must not change
    the old one.

    A call of several steps (``Intervention.duration``) is one decision: on its other steps the helper is asked too, so
    that its memory sees every observation, and its answer is not used.

    Yields:
        One ``Episode`` per spec. ``metrics`` holds the task's metrics; under ``"unseen"`` the number of decisions in
        states that are new to the helper, if the helper sets ``last_unseen``; and under ``"extra_actor_calls"`` the
        number of steps with help at which the actor was asked too, if there are any.

    Raises:
        InvalidArgumentError: another kind of env or autoreset mode, a helper without ``predict``, a spec without
            ``help_probability`` where it is needed, invalid ``help_shares``, a task index that the task does not have,
            or a wrapper that skips, repeats or resets steps.
        TaskContractError: in every episode, or in each of the first 32 + N with N environments, the helper raised, or
            did not return one action per environment, in 0 .. K (K + 1 if the env has ``abort``); or the task broke its
            contract.
        EndpointError: the helper's server gave no answer for four environments in a row.
    """
    decider = None if helper is None else as_helper(helper, what="the helper")
    rule = "run_episodes takes a list of EpisodeSpec(task_index, seed, help_probability)"
    if isinstance(specs, EpisodeSpec | str | bytes) or not isinstance(specs, Iterable):
        raise InvalidArgumentError(f"{rule}, received {shown(specs)}.")
    specs = list(specs)
    for spec in specs:
        if not isinstance(spec, EpisodeSpec):
            raise InvalidArgumentError(f"{rule}, received one item {shown(spec)}.")
        if spec.help_probability is not None:
            check_number("help_probability", spec.help_probability, high=1.0)
        elif helper is None:
            raise InvalidArgumentError(f"without a helper, help_probability must be in [0, 1], received {spec}.")
    retries = check_count("retries", retries, low=0)
    batch = _Batch(env, decider)
    q = checked_abort(abort_probability, abort=batch.abort)
    help = RandomHelp(batch.k, checked_shares(help_shares, batch.k), abort=batch.abort, abort_probability=q)
    played = _play(batch, specs, help, deterministic, record_steps, retries, ask_actor_always, on_episode)
    return with_working_helper(played, batch.calls) if helper_must_work and batch.calls is not None else played


def _play(
    batch: _Batch,
    specs: Sequence[EpisodeSpec],
    help: RandomHelp,
    deterministic: bool,
    record_steps: bool,
    retries: int,
    ask_actor_always: bool,
    on_episode: Callable[[Episode], None] | None,
) -> Iterator[Episode]:
    waiting = deque((spec, retries) for spec in specs)
    recorders: list[Recorder | None] = [None] * batch.n
    starts = np.zeros(batch.n, dtype=np.bool_)
    state: Any = None

    def settled(recorder: Recorder, episode: Episode) -> Iterator[Episode]:
        """The episode, unless it failed and is to be played again."""
        if episode.error is not None and recorder.retries_left > 0:
            waiting.append((recorder.spec, recorder.retries_left - 1))
            return
        if on_episode is not None:
            on_episode(episode)
        yield episode

    while True:
        free = [i for i in range(batch.n) if recorders[i] is None]
        for i, (spec, left) in zip(free, [waiting.popleft() for _ in free[: len(waiting)]], strict=False):
            recorders[i] = Recorder(spec, left, record_steps)
            starts[i] = True
        if starts.any():
            faults = batch.reset(starts, [None if one is None else one.spec for one in recorders])
            for i, fault in faults.items():
                recorder = recorders[i]
                assert recorder is not None
                recorders[i], starts[i] = None, False
                yield from settled(recorder, recorder.not_begun(batch.k, fault))
            if faults:
                continue  # others begin in their place
        busy = [(i, recorder) for i, recorder in enumerate(recorders) if recorder is not None]
        if not busy:
            return
        actions = np.zeros(batch.n, dtype=np.int64)
        if batch.helper is None:
            allowed = batch.action_masks()
            for i, recorder in busy:
                actions[i] = recorder.random_action(help, allowed[i])
        else:
            if starts.any():
                state = batch.begin_episodes(state, starts, [None if one is None else one.spec for one in recorders])
            asked = [i for i, _ in busy]
            assert batch.calls is not None
            chosen, state, faults = batch.calls.ask(batch.observation, state, starts, deterministic, asked)
            for i, recorder in busy:
                if i in faults:
                    recorders[i] = None
                    batch.slots[i].fail(faults[i])
                    yield from settled(recorder, recorder.finish(batch.slots[i]))
            busy = [(i, recorder) for i, recorder in busy if i not in faults]
            if not busy:
                starts[:] = False
                continue
            unseen = batch.calls.unseen
            for i, recorder in busy:
                actions[i] = chosen[i]
                if unseen is not None and not batch.slots[i].calling:
                    recorder.unseen = (recorder.unseen or 0) + int(unseen[i])
        for i, _ in busy:
            if batch.slots[i].calling:
                actions[i] = batch.slots[i].calling  # a call goes on: there is no decision
        starts[:] = False
        if ask_actor_always:
            for act, (i, recorder) in zip(batch.actor_acts([i for i, _ in busy]), busy, strict=True):
                recorder.record_state(batch.slots[i], act.logprobs)
                if act.error is not None and not batch.slots[i].calling:
                    actions[i] = 0  # executes the failed act, which ends the episode
        else:
            for i, recorder in busy:
                recorder.record_state(batch.slots[i])
        rewards, terminations, truncations = batch.step(actions)
        for i, recorder in busy:
            current = batch.slots[i]
            recorder.check_step(current, batch.env)
            terminated, truncated = bool(terminations[i]), bool(truncations[i])
            if current.over:
                terminated, truncated = terminated or current.terminated, truncated or current.truncated
            recorder.record_step(current, rewards[i], terminated, truncated)
            if not (terminated or truncated):
                continue
            current.cut_off()
            recorders[i] = None
            yield from settled(recorder, recorder.finish(current))


class _Batch:
    """A single or vector env, inside the helper's wrapper, with one interface: n environments, K interventions."""

    def __init__(self, env: Any, helper: Helper | None) -> None:
        base = env.unwrapped
        self.single = isinstance(base, InterventionEnv)
        if not self.single:
            if not isinstance(base, InterventionVectorEnv):
                raise InvalidArgumentError(
                    "run_episodes needs an InterventionVectorEnv (gym.make_vec('selfreg/Intervention-v0')) or an "
                    f"InterventionEnv, received {type(base).__name__}."
                )
            if base.autoreset_mode is not AutoresetMode.DISABLED:
                raise InvalidArgumentError(
                    "run_episodes resets the envs itself: make the vector env with autoreset_mode='Disabled', "
                    f"received {base.autoreset_mode}."
                )
        self.helper, self.env = None, env
        if helper is not None:
            with helper_errors(helper, "for_interventions"):
                self.helper = helper.for_interventions(base.interventions)
            with helper_errors(self.helper, "wrap"):
                self.env = self.helper.wrap(env)
        self.slots: tuple[EpisodeState, ...] = base.slots
        self.n, self.k = len(self.slots), len(base.interventions)
        self.abort: bool = base.abort
        self.calls = None
        if self.helper is not None:
            self.calls = HelperCalls(self.helper, self.n, self.k, abort=self.abort, timeout=base.call_timeout)
        else:  # random help is drawn among the possible actions
            self._masks: Callable[[], np.ndarray] = find_member(env, "action_masks")
        self.observation: Any = None

    def reset(self, mask: np.ndarray, specs: Sequence[EpisodeSpec | None]) -> dict[int, str]:
        """Begin the episodes of ``specs`` in the environments of ``mask``; the errors of tasks that cannot be reset."""
        try:
            self.begin(mask, specs)
            return {}
        except TaskResetError as error:
            if mask.sum() == 1:
                return {int(np.flatnonzero(mask)[0]): str(error)}
        faults: dict[int, str] = {}
        for i in np.flatnonzero(mask).tolist():
            faults |= self.reset(np.arange(self.n) == i, specs)
        return faults

    def begin(self, mask: np.ndarray, specs: Sequence[EpisodeSpec | None]) -> None:
        """Begin the episodes of ``specs`` in the environments of ``mask``."""
        if self.single:
            spec = specs[0]
            assert spec is not None
            self.observation, _ = self.env.reset(seed=spec.seed, options={"episode": spec.task_index})
            return
        tasks = np.array([spec.task_index if spec is not None else 0 for spec in specs])
        seeds = [spec.seed if spec is not None else None for spec in specs]
        self.observation, _ = self.env.reset(seed=seeds, options={"reset_mask": mask.copy(), "episode": tasks})

    def begin_episodes(self, state: Any, starts: np.ndarray, specs: Sequence[EpisodeSpec | None]) -> Any:
        """Give the helper the keys of the episodes that begin, and return its state."""
        assert self.helper is not None
        assert self.calls is not None
        if not self.helper.draws_per_episode:
            return state
        keys = [episode_key(spec.seed, spec.task_index) if spec is not None else 0 for spec in specs]
        return self.calls.begin_episodes(state, starts, keys)

    def action_masks(self) -> list[list[bool]]:
        """``(n, A)`` the actions that are possible and that no wrapper forbids."""
        return np.reshape(self._masks(), (self.n, -1)).tolist()

    def actor_acts(self, busy: Iterable[int]) -> list[Act]:
        """The acts that the actor would take now in the ``busy`` environments."""
        acts = self.env.unwrapped.actor_acts()
        every = [acts] if self.single else acts
        return [every[i] for i in busy]

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step all environments; rewards, terminations and truncations ``(n,)`` of the outermost wrapper."""
        if self.single:
            self.observation, reward, terminated, truncated, _ = self.env.step(int(actions[0]))
            return np.array([reward], dtype=np.float64), np.array([terminated]), np.array([truncated])
        self.observation, rewards, terminations, truncations, _ = self.env.step(actions)
        return rewards, terminations, truncations
