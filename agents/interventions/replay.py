"""Replay of a recorded episode: help takes the action that was recorded in the same state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from selfreg_gym.agents.interventions._calling_actor import CallingActor, CallsActor
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Act, Decision, Episode
from selfreg_gym.utils.arguments import check_flag, check_name

__all__ = ["Replay"]

OTHERWISE = ("actor", "step", "error")
"""What a call does in a state that is not recorded."""


class _Recorded(NamedTuple):
    """A recorded episode: its actions in order, and the last one taken in each state, by state key."""

    actions: tuple[str, ...]
    by_state: dict[str, str]


class _Source:
    """The recorded episodes, read at their first use and shared by all envs.

    Args:
        given: path of a store, an open store, episodes, or one list of action texts for every task.
        same_seed: an episode is replayed only where task and seed are those of the record.
        only_successful: episodes that failed are not replayed.
    """

    def __init__(self, given: Any, same_seed: bool, only_successful: bool) -> None:
        self.given = Path(given) if isinstance(given, str | Path) else given
        self.same_seed, self.only_successful = same_seed, only_successful

    @cached_property
    def _recorded(self) -> dict[tuple[str, int | None], _Recorded]:
        best: dict[tuple[str, int | None], tuple[tuple[bool, int, int], _Recorded]] = {}
        for task_id, seed, success, actions, states in self._episodes():
            if success or not self.only_successful:
                key = (task_id, seed if self.same_seed else None)
                order = (not success, len(actions), seed)
                if key not in best or order < best[key][0]:
                    best[key] = order, _Recorded(actions, dict(zip(states, actions, strict=True)))
        return {key: recorded for key, (_, recorded) in best.items()}

    def _episodes(self) -> Iterable[tuple[str, int, bool, tuple[str, ...], tuple[str, ...]]]:
        """Task id, seed, success, actions and state keys of each episode."""
        if isinstance(self.given, Path):
            with Rollouts.open(self.given, check=False) as store:
                yield from _stored(store)
        elif isinstance(self.given, Rollouts):
            yield from _stored(self.given)
        else:
            for episode in self.given:
                steps = episode.steps[:-1] if episode.aborted else episode.steps
                texts, keys = tuple(one.action_text for one in steps), tuple(one.state_key for one in steps)
                yield episode.task_id, episode.seed, episode.success, texts, keys

    def find(self, info: Any) -> _Recorded | None:
        """The record for the episode with this info, or None."""
        if isinstance(self.given, tuple):
            return _Recorded(self.given, {})
        return self._recorded.get((info["task_id"], info["task_seed"] if self.same_seed else None))


def _stored(store: Rollouts) -> Iterable[tuple[str, int, bool, tuple[str, ...], tuple[str, ...]]]:
    c: Any = store.columns("task_id", "seed", "success", "length", "state_key", "action", "action_text")
    coded = {name: c[name] for name in ("task_id", "state_key", "action_text")}
    texts = {name: ["" if i < 0 else column.values[i] for i in column.codes] for name, column in coded.items()}
    start = 0
    while start < len(c["seed"]):
        end = start + int(c["length"][start])
        aborted = c["action"][end - 1] > 0 and not texts["action_text"][end - 1]
        acted = slice(start, end - bool(aborted))
        yield (
            texts["task_id"][start], int(c["seed"][start]), bool(c["success"][start]),
            tuple(texts["action_text"][acted]), tuple(texts["state_key"][acted]),
        )  # fmt: skip
        start = end


class _Replayed(CallingActor):
    """An actor that takes recorded actions; where there is none, the env's actor acts."""

    def __init__(self, source: _Source, otherwise: str) -> None:
        super().__init__()
        self.source, self.otherwise = source, otherwise

    @property
    def checkpoint_dir(self) -> Path | None:
        """The store, if it is given by its path; a run does not continue with another one."""
        return self.source.given if isinstance(self.source.given, Path) else None

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """One act per decision, with at most one call of the env's actor."""
        acts = [self._recorded_act(decision) for decision in decisions]
        left = [i for i, act in enumerate(acts) if act is None]
        others = self.ask_called([decisions[i] for i in left], [self.memory_of(decisions[i]) for i in left])
        for i, act in zip(left, others, strict=True):
            acts[i] = replace(act, cost=0.0)
        return [act for act in acts if act is not None]

    def _recorded_act(self, decision: Decision) -> Act | None:
        """The recorded act, or None: the env's actor acts."""
        info = decision.info
        if not {"task_id", "task_seed", "state_key", "step"} <= info.keys():
            raise TaskContractError("replay needs the env's info in its decisions: use it in an intervention env.")
        recorded = self.source.find(info)
        found = None if recorded is None else recorded.by_state.get(info["state_key"])
        in_order = isinstance(self.source.given, tuple) or self.otherwise == "step"
        if found is None and recorded is not None and in_order and info["step"] < len(recorded.actions):
            action, admissible = recorded.actions[info["step"]], decision.admissible_actions
            found = action if admissible is None or action in admissible else None
        if found is not None:
            return Act(found)
        if self.otherwise != "error":
            return None
        what = "this task" if recorded is None else f"the state at step {info['step']}"
        return Act("", error=f"replay has no recorded action for {what} ({shown(info['task_id'])}).")


class Replay(CallsActor):
    """Help from a recorded episode of the same task: the action that was taken in the same state.

    Of the recorded episodes of a task, the shortest successful one is replayed (of equally short ones that with the
    smallest seed). A state is the same if its ``state_key`` is; of several visits the action of the last one counts.
    The live episode is off the recorded path if its task or its state is not recorded; ``otherwise`` says what a call
    does there. The record may have used hidden facts, so the intervention is privileged.

    Args:
        source: a store of rollouts or its path; a list of :class:`selfreg_gym.Episode`; or a list of action texts,
            of which the n-th step of every task takes the n-th.
        same_seed: replay only where the seed of the episode is recorded too.
        only_successful: do not replay episodes that failed.
        otherwise: off the recorded path, ``"actor"``: the env's actor acts, at no cost; ``"step"``: the recorded action
            of the same step number if it is admissible, else the env's actor; ``"error"``: the call fails, so the
            episode is excluded from statistics.
        name: its name in ``info``.
        cost: cost units of one call.

    Raises:
        InvalidArgumentError: another source.
        StoreError: (at the first call, for a path: at once) the store cannot be read.
    """

    privileged = True

    def __init__(
        self,
        source: str | Path | Rollouts | Sequence[Episode] | Sequence[str],
        *,
        same_seed: bool = False,
        only_successful: bool = True,
        otherwise: str = "actor",
        name: str = "replay",
        cost: float = 1.0,
    ) -> None:
        check_name("value of otherwise", otherwise, OTHERWISE)
        same_seed, only_successful = check_flag("same_seed", same_seed), check_flag("only_successful", only_successful)
        super().__init__(
            _Replayed(_Source(_checked(source), same_seed, only_successful), otherwise), name=name, cost=cost
        )


def _checked(source: Any) -> Any:
    """A path, an open store, a list of episodes, or a tuple of texts.

    Raises:
        InvalidArgumentError: anything else, or nothing to replay.
        StoreError: the path is not a store.
    """
    if isinstance(source, str | Path):
        Rollouts.open(source, check=False).close()
        return Path(source)
    if isinstance(source, Rollouts):
        return source
    items = list(source) if isinstance(source, Iterable) and not isinstance(source, dict | bytes) else []
    if items and all(isinstance(one, str) for one in items):
        return tuple(items)
    if items and all(isinstance(one, Episode) and one.steps for one in items):
        return items
    raise InvalidArgumentError(
        "replay takes a store of rollouts or its path, a list of episodes with steps, or a list of action texts; "
        f"received {shown(source)}."
    )
