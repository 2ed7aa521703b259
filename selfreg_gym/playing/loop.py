"""Playing a list of episodes: the one loop behind collection, calibration and evaluation.

Every episode of the list is played exactly once, whatever the batch size; all rows are kept busy. The coin of random
help comes from the episode's own seed, so neither batch size nor order can change an episode.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import InvalidArgumentError, SelfRegError, TaskContractError, shown
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.episode import EpisodeState
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode, HelperPolicy, Transition
from selfreg_gym.utils.arguments import check_count, check_number
from selfreg_gym.utils.episode_draws import episode_key
from selfreg_gym.utils.random_streams import RANDOM_HELP, stream

__all__ = ["check_answers", "run_episodes"]


def run_episodes(
    env: gym.vector.VectorEnv[Any, Any, Any] | gym.Env[Any, Any],
    specs: Sequence[EpisodeSpec],
    helper: HelperPolicy | None = None,
    *,
    deterministic: bool = True,
    record_steps: bool = True,
    retries: int = 2,
    on_episode: Callable[[Episode], None] | None = None,
) -> Iterator[Episode]:
    """Play every spec once and yield the episodes as they end, in any order.

    Args:
        env: an ``InterventionVectorEnv`` with ``autoreset_mode="Disabled"``, or an ``InterventionEnv``; it may be
            wrapped. An end that a wrapper declares (``TimeLimit``) ends the episode. A wrapper that does not pass each
            step on exactly once is refused.
        specs: the episodes to play.
        helper: decides; None for help at random, with each spec's ``help_probability`` at each step and uniformly
            over the K interventions. ``helper.wrap(env)`` gives the observations that it reads; rows that are idle
            (at the end of the list) are passed with their last observation, and their answers are ignored. An object
            with ``predict`` or a function also works (:func:`selfreg_gym.as_helper`).
        deterministic: handed to ``helper.predict``.
        record_steps: False keeps ``observation`` and ``admissible_actions`` of the transitions empty.
        retries: how often an episode in which an actor failed is played again, before it is yielded with ``error`` set.
        on_episode: called with each episode before it is yielded.

    Yields:
        One ``Episode`` per spec. ``metrics`` holds the task's own numbers, and ``"unseen"`` (decisions in states that
        the helper does not know) if the helper sets ``last_unseen``.

    Raises:
        InvalidArgumentError: another kind of env or autoreset mode, a helper without ``predict``, a spec without
            ``help_probability`` where it is needed, a task index that the task does not have, or a wrapper that skips,
            repeats or resets steps.
        TaskContractError: the helper raised, or answered with something else than one action in 0 .. K per row; or the
            task broke its contract.
    """
    decider = None if helper is None else as_helper(helper, what="the helper")
    specs = _checked_specs(specs)
    for spec in specs:
        p = spec.help_probability
        if helper is None and p is None:
            raise InvalidArgumentError(f"without a helper, help_probability must be in [0, 1], received {spec}.")
    retries = check_count("retries", retries, low=0)
    return _play(_Table(env, decider), specs, deterministic, record_steps, retries, on_episode)


def _checked_specs(specs: Any) -> list[EpisodeSpec]:
    """The episodes to play as a list.

    Raises:
        InvalidArgumentError: not a sequence of :class:`EpisodeSpec`.
    """
    rule = "run_episodes takes a list of EpisodeSpec(task_index, seed, help_probability)"
    if isinstance(specs, EpisodeSpec | str | bytes) or not isinstance(specs, Iterable):
        raise InvalidArgumentError(f"{rule}, received {shown(specs)}.")
    found = list(specs)
    for spec in found:
        if not isinstance(spec, EpisodeSpec):
            raise InvalidArgumentError(f"{rule}, and one of them is {shown(spec)}.")
        if spec.help_probability is not None:
            check_number("help_probability", spec.help_probability, high=1.0)
    return found


def _play(
    table: _Table,
    specs: Sequence[EpisodeSpec],
    deterministic: bool,
    record_steps: bool,
    retries: int,
    on_episode: Callable[[Episode], None] | None,
) -> Iterator[Episode]:
    waiting = deque((spec, retries) for spec in specs)
    seats: list[_Recorder | None] = [None] * table.n
    begun = np.zeros(table.n, dtype=np.bool_)
    state: Any = None
    while True:
        free = [i for i in range(table.n) if seats[i] is None]
        for i, (spec, left) in zip(free, [waiting.popleft() for _ in free[: len(waiting)]], strict=False):
            seats[i] = _Recorder(spec, left, record_steps)
            begun[i] = True
        if begun.any():
            table.reset(begun, [seat.spec if seat is not None else None for seat in seats])
        busy = [(i, seat) for i, seat in enumerate(seats) if seat is not None]
        if not busy:
            return
        actions = np.zeros(table.n, dtype=np.int64)
        if table.helper is None:
            for i, seat in busy:
                actions[i] = seat.coin(table.k)
        else:
            if begun.any() and table.helper.draws_per_episode:
                keys = [episode_key(seat.spec.seed, seat.spec.task_index) if seat is not None else 0 for seat in seats]
                with _helper_asked(table.helper, "begin_episodes"):
                    state = table.helper.begin_episodes(state, begun.copy(), np.array(keys, dtype=np.int64))
            chosen, state = table.ask(state, begun, deterministic, [i for i, _ in busy])
            unseen = table.helper.last_unseen
            for i, seat in busy:
                actions[i] = chosen[i]
                if unseen is not None:
                    seat.unseen = (seat.unseen or 0) + int(np.atleast_1d(unseen)[i])
        begun[:] = False
        for i, seat in busy:
            seat.before(table.slots[i])
        rewards, terminations, truncations = table.step(actions)
        for i, seat in busy:
            row = table.slots[i]
            seat.check_step(row, table.env)
            terminated, truncated = bool(terminations[i]), bool(truncations[i])
            if row.over:
                terminated, truncated = terminated or row.terminated, truncated or row.truncated
            seat.after(row, rewards[i], terminated, truncated)
            if not (terminated or truncated):
                continue
            row.cut_off()
            seats[i] = None
            episode = seat.finish(row)
            if episode.error is not None and seat.retries_left > 0:
                waiting.append((seat.spec, seat.retries_left - 1))
                continue
            if on_episode is not None:
                on_episode(episode)
            yield episode


class _Table:
    """A single or a vector env, with and without the helper's wrapper, behind one face of n rows."""

    def __init__(self, env: Any, helper: Helper | None) -> None:
        base = env.unwrapped
        self.single = isinstance(base, InterventionEnv)
        if not self.single:
            if not isinstance(base, InterventionVectorEnv):
                raise InvalidArgumentError(
                    "play needs an InterventionVectorEnv (gym.make_vec('selfreg/Intervention-v0')) or an "
                    f"InterventionEnv, received {type(base).__name__}."
                )
            if base.autoreset_mode is not AutoresetMode.DISABLED:
                raise InvalidArgumentError(
                    "play begins the episodes itself: make the vector env with autoreset_mode='Disabled', "
                    f"received {base.autoreset_mode}."
                )
        self.helper, self.env = None, env
        if helper is not None:
            with _helper_asked(helper, "for_interventions"):
                self.helper = helper.for_interventions(base.interventions)
            with _helper_asked(self.helper, "wrap"):
                self.env = self.helper.wrap(env)
        self.slots: tuple[EpisodeState, ...] = base.slots
        self.n, self.k = len(self.slots), len(base.interventions)
        self.observation: Any = None

    def reset(self, mask: np.ndarray, specs: Sequence[EpisodeSpec | None]) -> None:
        """Begin the episodes of ``specs`` in the rows of ``mask``."""
        if self.single:
            spec = specs[0]
            assert spec is not None
            self.observation, _ = self.env.reset(seed=spec.seed, options={"episode": spec.task_index})
            return
        options = {
            "reset_mask": mask.copy(),
            "episode": np.array([spec.task_index if spec is not None else 0 for spec in specs]),
        }
        seeds = [spec.seed if spec is not None else None for spec in specs]
        self.observation, _ = self.env.reset(seed=seeds, options=options)

    def ask(
        self, state: Any, begun: np.ndarray, deterministic: bool, busy: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """One ``predict`` for all rows; actions ``(n,)``, valid in the ``busy`` rows (None: all)."""
        assert self.helper is not None
        with _helper_asked(self.helper, "predict"):
            result = self.helper.predict(
                self.observation, state=state, episode_start=begun.copy(), deterministic=deterministic
            )
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TaskContractError(
                f"predict returns (actions, state): {self.helper.type_name} returned {shown(result)}."
            )
        answer, state = result
        return _actions_of(self.helper, answer, self.n, self.k, busy), state

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step all rows; rewards, terminations and truncations ``(n,)`` as the outermost wrapper reports them."""
        if self.single:
            self.observation, reward, terminated, truncated, _ = self.env.step(int(actions[0]))
            return np.array([reward], dtype=np.float64), np.array([terminated]), np.array([truncated])
        self.observation, rewards, terminations, truncations, _ = self.env.step(actions)
        return rewards, terminations, truncations


def check_answers(env: Any, helper: HelperPolicy, *, tasks: Sequence[int] = (0,), seed: int = 0) -> None:
    """Ask a helper about the first observations of some tasks, and check its answers; no actor is called.

    For finding a helper with invalid answers before a long training, calibration or evaluation. The helper must be
    ready to answer (a trained model is loaded).

    Args:
        env: as for :func:`play`.
        helper: its ``wrap`` is applied.
        tasks: indices of the tasks whose first observation is tried.
        seed: of the episodes that are begun.

    Raises:
        TaskContractError: not one integer action in 0 .. K per observation, or ``predict`` raised.
    """
    table = _Table(env, as_helper(helper))
    assert table.helper is not None
    mask = np.ones(table.n, dtype=np.bool_)
    state: Any = None
    for i in range(0, len(tasks), table.n):
        some = [tasks[min(i + j, len(tasks) - 1)] for j in range(table.n)]
        table.reset(mask, [EpisodeSpec(task, seed + j) for j, task in enumerate(some)])
        if table.helper.draws_per_episode:
            keys = np.array([episode_key(seed + j, task) for j, task in enumerate(some)], dtype=np.int64)
            with _helper_asked(table.helper, "begin_episodes"):
                state = table.helper.begin_episodes(state, mask.copy(), keys)
        _, state = table.ask(state, mask, deterministic=True)


@contextlib.contextmanager
def _helper_asked(helper: Helper, method: str) -> Iterator[None]:
    """Name the helper and the method when it raises.

    Raises:
        TaskContractError: from any exception that is not one of :mod:`selfreg_gym.errors`; those pass unchanged.
    """
    try:
        yield
    except SelfRegError:
        raise
    except Exception as error:
        raise TaskContractError(
            f"a helper answers every observation: {method} of {helper.type_name} raised {type(error).__name__}: "
            f"{shown(str(error))}. Repair the helper, or wrap it so that it gets the observations that it reads."
        ) from error


def _actions_of(helper: Helper, answer: Any, n: int, k: int, busy: Sequence[int] | None = None) -> np.ndarray:
    """A helper's answer to n observations as ``(n,)`` integer actions; those of ``busy`` rows lie in 0 .. k.

    Raises:
        TaskContractError: another shape, another type, or an action outside 0 .. k.
    """
    rule = f"a helper answers N observations with N integer actions from 0 to K (here N = {n} and K = {k})"
    try:
        actions = np.atleast_1d(np.asarray(answer))
    except ValueError:  # rows of different lengths
        raise TaskContractError(f"{rule}: {helper.type_name} answered {shown(answer)}.") from None
    if actions.shape != (n,) or actions.dtype.kind not in "iub":
        raise TaskContractError(
            f"{rule}: {helper.type_name} answered with an array of shape {actions.shape} and type "
            f"{actions.dtype}, {shown(answer)}."
        )
    if not all(0 <= actions[i] <= k for i in (range(n) if busy is None else busy)):
        raise TaskContractError(f"{rule}: {helper.type_name} answered {shown(actions.tolist())}.")
    return actions


class _Recorder:
    """One episode while it is being played."""

    __slots__ = ("_before", "_coin", "_record", "_steps", "retries_left", "spec", "unseen")

    def __init__(self, spec: EpisodeSpec, retries_left: int, record: bool) -> None:
        self.spec, self.retries_left, self._record = spec, retries_left, record
        self._steps: list[Transition] = []
        self._before: dict[str, Any] = {}
        self._coin: np.random.Generator | None = None
        self.unseen: int | None = None

    def coin(self, k: int) -> int:
        """The random action of the next step."""
        if self._coin is None:
            self._coin = stream(RANDOM_HELP, self.spec.seed)
        whether, whom = self._coin.random(2)
        return 1 + int(whom * k) if k and whether < self.spec.help_probability else 0

    def check_step(self, row: EpisodeState, env: Any) -> None:
        """Raise if a wrapper has not passed the step on exactly once.

        Raises:
            InvalidArgumentError: the env made no step, several, or has begun another episode.
        """
        if row.t == self._before["t"] + 1 and row.seed == self.spec.seed:
            return
        raise InvalidArgumentError(
            "a wrapper around the intervention env must pass every step on exactly once, and leave resets to play: "
            f"after step {self._before['t'] + 1} of the episode with seed {self.spec.seed}, the env is at step {row.t} "
            f"of the episode with seed {row.seed}. Remove the wrapper that does this from {env}."
        )

    def before(self, row: EpisodeState) -> None:
        """Keep what there is to see before acting."""
        info = row.info
        self._before = {
            "t": row.t,
            "observation": row.observation if self._record else "",
            "admissible_actions": info.get("admissible_actions") if self._record else None,
            "state_key": info["state_key"],
            "feature_key": info.get("feature_key"),
            "steps_left": info.get("steps_left"),
        }

    def after(self, row: EpisodeState, reward: float, terminated: bool, truncated: bool) -> None:
        """Keep what was done and what it led to. ``row.who`` is who really acted: a wrapper may have denied a call."""
        info = row.info
        self._steps.append(
            Transition(
                **self._before,
                action=row.who,
                action_text=info["action_text"] or "",
                cost=info["cost"],
                reward=float(reward),
                terminated=terminated,
                truncated=truncated,
                invalid=info["invalid_action"],
                tokens=None if info["tokens"] < 0 else info["tokens"],
                reported_cost=None if info["reported_cost"] < 0 else info["reported_cost"],
            )
        )

    def finish(self, row: EpisodeState) -> Episode:
        """The whole episode."""
        info = row.info
        metrics = dict(info.get("metrics", {}))
        if self.unseen is not None:
            metrics["unseen"] = float(self.unseen)
        return Episode(
            task_index=self.spec.task_index,
            seed=self.spec.seed,
            task_id=str(info["task_id"]),
            kind=str(info.get("kind", "")),
            help_probability=self.spec.help_probability,
            success=info["success"],
            usage=tuple(row.usage.tolist()),
            steps=tuple(self._steps),
            error=info["error"],
            metrics=metrics,
        )
