"""Playing forks: actors that repeat recorded acts, and forced first actions.

A fork is an episode of an ordinary intervention env, played by :func:`selfreg_gym.run_episodes`. Its first steps are
those of the recorded episode: the actor and the interventions repeat the recorded acts without being called, and the
helper is asked but its action is replaced by the recorded one. So at the state, the counters of the env and the memory
of the helper are those of the recorded episode. A live state is restored from its snapshot instead, and a helper
begins there without memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from selfreg_gym.errors import TaskContractError
from selfreg_gym.forks.states import ForkState
from selfreg_gym.forks.task import ForkTable, ForkTask
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env import building
from selfreg_gym.intervention_env.arguments import check_env_kwargs
from selfreg_gym.intervention_env.task_members import episodes_of
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.types import Act, Decision, Intervention, Transition
from selfreg_gym.utils.episode_draws import episode_key

__all__ = ["FirstActions", "ForkEnv"]


class _Recorded:
    """Repeats the recorded acts of an actor up to the state, and calls the actor from there on."""

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
        return None if logprobs is None else Act("", logprobs=logprobs)  # what the actor would do at a step with help

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
        self._actions = 0

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
        self._actions = int(env.unwrapped.single_action_space.n)
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
        """The forced actions, and elsewhere those of the helper. An invalid answer is returned unchanged."""
        answer: Any = np.zeros(len(self.slots), np.int64)
        if self.then is not None:
            answer, state = self.then.predict(observation, state, episode_start, deterministic)
            answer = np.atleast_1d(np.array(answer))
            if answer.shape != (len(self.slots),) or answer.dtype.kind not in "iub":
                return answer, state
        for i, slot in enumerate(self.slots):
            if slot.over or not 0 <= answer[i] < self._actions:
                continue
            if (forced := slot.task.get_wrapper_attr("forced")(slot.calling)) is not None:
                answer[i] = forced
        return answer, state
