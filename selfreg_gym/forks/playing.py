"""Playing forks: the task that returns to a state, actors that repeat recorded acts, and forced first actions.

A fork is an episode of an ordinary intervention env, played by :func:`selfreg_gym.run_episodes`. Its first steps are
those of the recorded episode: the actor and the interventions repeat the recorded acts without being called, and the
helper is asked but its action is replaced by the recorded one. So at the state, the counters of the env and the memory
of the helper are those of the recorded episode. A live state is restored from its snapshot instead, and a helper
begins there without memory.

**Common random numbers.** The seed of a repetition replaces that of the recorded episode: the draws of actors,
interventions and helper depend on it and on the step, and the task gets a new stream by ``reseed`` at every step from
the state on. The paired continuations of a repetition thus have the same numbers at the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.forks.states import ForkState
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env import building
from selfreg_gym.intervention_env.arguments import check_env_kwargs
from selfreg_gym.intervention_env.episode import episodes_of
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.optional_members import required_member
from selfreg_gym.types import Act, Decision, Intervention, Transition, optional_member
from selfreg_gym.utils.arguments import LARGEST_INTEGER
from selfreg_gym.utils.episode_draws import episode_key
from selfreg_gym.utils.random_streams import FORK_STEP, seed_sequence

__all__ = ["FirstActions", "ForkEnv", "ForkTable", "ForkTask"]


_FIRST_FORK = 2**62  # smaller task indices are those of the task itself, which a planner may visit


class ForkTable:
    """The forks that an env can play: each continues one of S states with one of F first actions."""

    def __init__(self, first_actions: Sequence[tuple[int, ...]]) -> None:
        self.states: Sequence[ForkState] = ()
        self.first_actions = tuple(first_actions)

    def number(self, state: int, first: int) -> int:
        """The task index of the fork that continues a state with a first action, by their positions."""
        return _FIRST_FORK + state * len(self.first_actions) + first

    def at(self, number: int) -> tuple[ForkState, tuple[int, ...]]:
        """State and first actions of a fork."""
        state, first = divmod(number - _FIRST_FORK, len(self.first_actions))
        return self.states[state], self.first_actions[first]


class ForkTask(gym.Wrapper[str, str, str, str]):
    """A text task whose episodes are forks; ``reset(options={"episode": number})`` begins one of the table.

    A planner that reseeds the task, or resets it to an episode of its own, has left the fork until it restores a
    snapshot: its steps do not get the random streams of the fork, which would show it the events to come.

    Attributes:
        num_episodes: the largest index while the env is made, so that the env accepts the numbers of forks; then that
            of the task.
        state: the state that is continued.
        t: steps since the reset.
        decisions: decisions from the state on.
        left: whether a planner has left the fork.
    """

    def __init__(self, env: gym.Env[str, str], table: ForkTable) -> None:
        super().__init__(env)
        self.table = table
        self.state: ForkState | None = None
        self.first: tuple[int, ...] = ()
        self.t = self.seed = self.decisions = 0
        self.left = self._begun = False
        self.num_episodes: int | None = LARGEST_INTEGER
        self._reseed = optional_member(env, "reseed")

    @property
    def reseed(self) -> Callable[[int], None]:
        """The task's ``reseed``, with which a planner leaves the fork; AttributeError if it has none."""
        own = required_member(self.env, "reseed")

        def reseed(seed: int) -> None:
            own(seed)
            self.left = True

        return reseed

    @property
    def recorded(self) -> Transition | None:
        """The recorded step that comes next; None from the state on."""
        return self.state.steps[self.t] if self.state is not None and self.t < len(self.state.steps) else None

    def forced(self, calling: int) -> int | None:
        """The action of the next step, if it is a recorded or a first action; called once per step.

        Args:
            calling: k if a call of the k-th intervention goes on, so that no decision is due; else 0.
        """
        if (step := self.recorded) is not None:
            return step.action
        if calling:
            return calling
        self.decisions += 1
        return self.first[self.decisions - 1] if self.decisions <= len(self.first) else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin a fork with the seed of its repetition: the recorded episode from its start, or a live state.

        Raises:
            InvalidArgumentError: the live state is that of another task.
        """
        number = (options or {}).get("episode", 0)
        if number < _FIRST_FORK:
            self.left = True
            return self.env.reset(seed=seed, options=options)
        state, self.first = self.table.at(int(number))
        self.state, self.t, self.seed, self.decisions, self.left = state, 0, int(seed or 0), 0, False
        own = type(self.env.unwrapped)
        if state.task_type not in (None, own):
            raise InvalidArgumentError(
                f"a live state can be continued by its own task only: {state} is a state of "
                f"{state.task_type.__name__}, and the env's task is {own.__name__}."
            )
        if state.snapshot is None:
            observation, info = self.env.reset(seed=state.seed, options={"episode": state.task_index})
        else:
            if not self._begun:  # Gymnasium's OrderEnforcing asks for a reset before the first step
                self.env.reset(seed=state.seed, options={"episode": max(state.task_index, 0)})
            self.env.get_wrapper_attr("restore")(state.snapshot[0])
            observation, info = state.observation, {"task_id": state.task_id, "state_key": state.state_key}
        self._begun = True
        self._arrive(observation, info, over=False)
        return observation, info

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step the task; from the state on, it has a new random stream before each step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.left:
            return observation, reward, terminated, truncated, info
        self.t += 1
        self._arrive(observation, info, over=terminated or truncated)
        return observation, reward, terminated, truncated, info

    def snapshot(self) -> object:
        """The task's snapshot, and the place in the fork."""
        place = (self.state, self.first, self.t, self.seed, self.decisions, self.left)
        return self.env.get_wrapper_attr("snapshot")(), place

    def restore(self, snapshot: Any) -> None:
        """Return to the state of a snapshot."""
        inner, (self.state, self.first, self.t, self.seed, self.decisions, self.left) = snapshot
        self.env.get_wrapper_attr("restore")(inner)

    def _arrive(self, observation: str, info: Mapping[str, Any], *, over: bool) -> None:
        """Compare the state with the recorded one, and renew the task's random stream."""
        assert self.state is not None
        after = self.t - len(self.state.steps)
        same = observation == self.state.observation and info.get("state_key", observation) == self.state.state_key
        if (after < 0 and over) or (after == 0 and (over or not same)):
            raise TaskContractError(
                f"a stored state must be reached again by its task, seed and actions: step {self.state.t} of task "
                f"{self.state.task_id!r} with seed {self.state.seed} has the observation "
                f"{shown(self.state.observation)} in the store, and the task {'ended' if over else 'shows'} "
                f"{'before it' if over else shown(observation)}. Use the task, its version and its arguments with "
                "which the rollouts were collected."
            )
        if after >= 0 and not over and self._reseed is not None:
            self._reseed(int(seed_sequence(FORK_STEP, self.seed, after).generate_state(1)[0]))


class _Recorded:
    """An actor that repeats the recorded acts, and is asked from the state on."""

    def __init__(self, actor: Any, who: int) -> None:
        self.actor, self.who = actor, who

    def act(self, decisions: Sequence[Decision]) -> Any:
        """Answer every decision."""
        acts = [self._recorded(decision.task.recorded) for decision in decisions]
        asked = [i for i, act in enumerate(acts) if act is None]
        if len(asked) == len(acts):
            return self.actor.act(decisions)
        if asked:
            for i, act in zip(asked, self.actor.act([decisions[i] for i in asked]), strict=True):
                acts[i] = act
        return acts

    def _recorded(self, step: Transition | None) -> Act | None:
        """The recorded act; None if the actor is to be asked."""
        if step is None:
            return None
        known = step.actor_logprobs if self.who == 0 else None
        logprobs = None if known is None else tuple(min(float(x), 0.0) for x in known)
        if self.who == step.action:
            return Act(step.action_text, logprobs=logprobs, tokens=step.tokens, cost=step.reported_cost)
        return None if logprobs is None else Act("", logprobs=logprobs)  # asked ahead of a step with help

    def __deepcopy__(self, memo: dict[int, Any]) -> _Recorded:
        return self


class ForkEnv(InterventionVectorEnv):
    """An intervention vector env whose tasks are the forks of a table.

    Args:
        num_envs: forks at a time.
        table: the forks.
        env_kwargs: arguments of ``selfreg/Intervention-v0``.
    """

    def __init__(self, num_envs: int, table: ForkTable, env_kwargs: Mapping[str, Any]) -> None:
        check_env_kwargs(env_kwargs, more=("render_mode",))
        given = dict(env_kwargs)
        task, task_kwargs = given.pop("task"), given.pop("task_kwargs", None)
        super().__init__(
            num_envs, lambda: ForkTask(building.build_task(task, task_kwargs), table), **given,
            autoreset_mode="Disabled",
        )  # fmt: skip
        self.table = table
        for slot in self.slots:
            fork_task = slot.task
            while not isinstance(fork_task, ForkTask):
                fork_task = fork_task.env  # type: ignore[attr-defined]
            fork_task.num_episodes = episodes_of(fork_task.env)
        self._actors = tuple(_Recorded(actor, who) for who, actor in enumerate(self._actors))
        self.actor = self._actors[0]

    def reached(self, state: ForkState) -> ForkState:
        """The state with a snapshot instead of its recorded steps."""
        if state.snapshot is not None:
            return state
        slot, self.table.states = self.slots[0], [state]
        slot.begin(0, {"episode": self.table.number(0, 0)})
        for step in state.steps:
            slot.apply(step.action, Act(step.action_text, tokens=step.tokens, cost=step.reported_cost))
            if slot.info["error"] is not None:
                raise TaskContractError(slot.info["error"])
        task, *rest = slot.snapshot()
        return replace(state, steps=(), snapshot=(task[0], *rest))

    def _begin(self, i: int, seed: int | None, options: dict[str, Any] | None) -> None:
        super()._begin(i, seed, options)
        slot = self.slots[i]
        state = slot.task.get_wrapper_attr("state")
        if state.snapshot is not None:  # the counters of the live episode
            begun = slot.seed
            slot.restore((slot.task.get_wrapper_attr("snapshot")(), *state.snapshot[1:]))
            slot.seed, slot.act = begun, None
            slot.info = {**slot.info, "task_seed": begun}


class FirstActions(Helper):
    """Takes the recorded actions up to the state, then the first actions, then those of another helper.

    Args:
        then: the helper that is followed; None is nohelp.
    """

    def __init__(self, then: Helper | None) -> None:
        self.then = then
        self.slots: Sequence[Any] = ()

    @property
    def type_name(self) -> str:
        """The class of the helper that is followed."""
        return "nohelp" if self.then is None else self.then.type_name

    def for_interventions(self, interventions: Sequence[Intervention]) -> FirstActions:
        """The helper for these interventions."""
        return self if self.then is None else self._replaced(then=self.then.for_interventions(interventions))

    def wrap(self, env: Any) -> Any:
        """The env whose observations the helper reads."""
        self.slots = env.unwrapped.slots
        return env if self.then is None else self.then.wrap(env)

    def begin_episodes(self, state: Any, starts: np.ndarray, keys: np.ndarray) -> Any:
        """Begin the helper's random streams, which are the same for all first actions of a repetition."""
        if self.then is None or not self.then.draws_per_episode:
            return state
        tasks = [slot.task for slot in self.slots]
        own = [0 if one.state is None else episode_key(one.seed, one.state.task_index) for one in tasks]
        return self.then.begin_episodes(state, starts, np.array(own, np.int64))

    def batch_size(self, observation: Any, episode_start: Any) -> int | None:
        """As the helper that is followed."""
        default = super().batch_size if self.then is None else self.then.batch_size
        return default(observation, episode_start)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """The forced actions, and elsewhere those of the helper."""
        answer: Any = np.zeros(len(self.slots), np.int64)
        if self.then is not None:
            answer, state = self.then.predict(observation, state, episode_start, deterministic)
            answer = np.atleast_1d(np.array(answer))
        for i, slot in enumerate(self.slots):
            if not slot.over and (forced := slot.task.get_wrapper_attr("forced")(slot.calling)) is not None:
                answer[i] = forced
        return answer, state
