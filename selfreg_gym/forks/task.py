"""``ForkTask``: the task that returns to a state, and from there on has the random numbers of a repetition.

**Common random numbers.** The seed of a repetition replaces that of the recorded episode: the draws of actors,
interventions and helper depend on it and on the step, and the task gets a new stream by ``reseed`` at every step from
the state on. The paired continuations of a repetition thus have the same numbers at the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.forks.states import ForkState
from selfreg_gym.optional_members import optional_member, required_member
from selfreg_gym.types import Transition
from selfreg_gym.utils.arguments import LARGEST_INTEGER
from selfreg_gym.utils.random_streams import FORK_STEP, seed_sequence

__all__ = ["ForkTable", "ForkTask"]

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
    snapshot: its steps do not get the random streams of the fork, which would show it the future events.

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
