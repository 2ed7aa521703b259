"""``run_episodes``: play a list of episodes; collection, calibration and evaluation use this loop.

Each episode of the list is played exactly once. The draws of random help depend only on the episode's seed, so neither
the batch size nor the order of the episodes changes an episode.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from selfreg_gym._moved import renamed
from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import InvalidArgumentError, SelfRegError, TaskContractError, TaskResetError, shown
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.optional_members import find_member
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.playing.random_help import RandomHelp, checked_abort, checked_shares
from selfreg_gym.playing.recording import Recorder
from selfreg_gym.types import Act, Episode, HelperPolicy
from selfreg_gym.utils.arguments import check_count, check_number
from selfreg_gym.utils.episode_draws import episode_key

__all__ = ["check_answers", "run_episodes"]

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
        retries: repetitions of an episode in which an actor failed, before it is yielded with ``error``.
        ask_actor_always: ask the actor at every step, and record its log-probabilities (``actor_logprobs``) also where
            help is given. An episode in which it fails at such a step ends in its error too, because a missing
            distribution would reveal that help was given. Episodes are otherwise the same.
        help_shares: ``(K,)`` the share of each intervention in random help, with the sum 1; None: equal shares.
        abort_probability: the probability of a random abort at a step, below 1; the env must have ``abort``.
        on_episode: called with each episode before it is yielded.

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
        TaskContractError: the helper raised, or did not return one action per environment, in 0 .. K (K + 1 if the env
            has ``abort``); or the task broke its contract.
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
    return _play(batch, specs, help, deterministic, record_steps, retries, ask_actor_always, on_episode)


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
                if recorder.retries_left > 0:
                    waiting.append((recorder.spec, recorder.retries_left - 1))
                    continue
                episode = recorder.not_begun(batch.k, fault)
                if on_episode is not None:
                    on_episode(episode)
                yield episode
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
            chosen, state = batch.ask(state, starts, deterministic, [i for i, _ in busy])
            unseen = batch.helper.last_unseen
            for i, recorder in busy:
                actions[i] = chosen[i]
                if unseen is not None and not batch.slots[i].calling:
                    recorder.unseen = (recorder.unseen or 0) + int(np.atleast_1d(unseen)[i])
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
            episode = recorder.finish(current)
            if episode.error is not None and recorder.retries_left > 0:
                waiting.append((recorder.spec, recorder.retries_left - 1))
                continue
            if on_episode is not None:
                on_episode(episode)
            yield episode


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
            with _helper_errors(helper, "for_interventions"):
                self.helper = helper.for_interventions(base.interventions)
            with _helper_errors(self.helper, "wrap"):
                self.env = self.helper.wrap(env)
        self.slots: tuple[EpisodeState, ...] = base.slots
        self.n, self.k = len(self.slots), len(base.interventions)
        self.abort: bool = base.abort
        if helper is None:  # random help is drawn among the possible actions
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
        if not self.helper.draws_per_episode:
            return state
        keys = [episode_key(spec.seed, spec.task_index) if spec is not None else 0 for spec in specs]
        with _helper_errors(self.helper, "begin_episodes"):
            return self.helper.begin_episodes(state, starts.copy(), np.array(keys, dtype=np.int64))

    def ask(self, state: Any, starts: np.ndarray, deterministic: bool, busy: Iterable[int]) -> tuple[np.ndarray, Any]:
        """One ``predict`` for all environments: actions ``(n,)``, valid in the ``busy`` ones."""
        assert self.helper is not None
        with _helper_errors(self.helper, "predict"):
            result = self.helper.predict(
                self.observation, state=state, episode_start=starts.copy(), deterministic=deterministic
            )
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TaskContractError(
                f"predict must return (actions, state); {self.helper.type_name} returned {shown(result)}."
            )
        actions, state = result
        return _checked_actions(self.helper, actions, self.n, self.k, busy, abort=self.abort), state

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


def check_answers(env: Any, helper: HelperPolicy, *, tasks: Sequence[int] = (0,), seed: int = 0) -> None:
    """Check a helper's actions at the first observations of some tasks, before a long evaluation; no actor is called.

    Args:
        env: as for :func:`run_episodes`.
        helper: a helper that is ready to predict; its ``wrap`` is applied.
        tasks: indices of the tasks.
        seed: seed of the first episode; the others count up from it.

    Raises:
        TaskContractError: not one integer action in 0 .. K per observation, or ``predict`` raised.
    """
    batch = _Batch(env, as_helper(helper))
    mask = np.ones(batch.n, dtype=np.bool_)
    state: Any = None
    for i in range(0, len(tasks), batch.n):
        some = [tasks[min(i + j, len(tasks) - 1)] for j in range(batch.n)]
        specs = [EpisodeSpec(task, seed + j) for j, task in enumerate(some)]
        batch.begin(mask, specs)
        state = batch.begin_episodes(state, mask, specs)
        _, state = batch.ask(state, mask, True, range(batch.n))


@contextlib.contextmanager
def _helper_errors(helper: Helper, method: str) -> Iterator[None]:
    """Add the class and the method of the helper to any error that is not one of :mod:`selfreg_gym.errors`."""
    try:
        yield
    except SelfRegError:
        raise
    except Exception as error:
        raise TaskContractError(
            f"a helper must handle every observation: {method} of {helper.type_name} raised "
            f"{type(error).__name__}: {shown(str(error))}. Repair the helper, or give it a method wrap(env) that "
            "returns the env with the observations that it reads."
        ) from error


def _checked_actions(
    helper: Helper, values: Any, n: int, k: int, busy: Iterable[int], *, abort: bool = False
) -> np.ndarray:
    """A helper's actions as an integer array ``(n,)``; those of the ``busy`` environments are possible ones."""
    rule = (
        f"for N observations, a helper must return N integer actions from 0 to K{' + 1 (abort)' if abort else ''} "
        f"(here N = {n} and K = {k})"
    )
    try:
        actions = np.atleast_1d(np.asarray(values))
    except ValueError:  # nested lists of different lengths
        raise TaskContractError(f"{rule}; {helper.type_name} returned {shown(values)}.") from None
    if actions.shape != (n,) or actions.dtype.kind not in "iub":
        raise TaskContractError(
            f"{rule}; {helper.type_name} returned an array of shape {actions.shape} and type {actions.dtype}, "
            f"{shown(values)}."
        )
    if not all(0 <= actions[i] <= k + abort for i in busy):
        raise TaskContractError(f"{rule}; {helper.type_name} returned {shown(actions.tolist())}.")
    return actions
