"""``StateKeyObservation``: the state key instead of the text, for tabular policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import check_name
from selfreg_gym.wrappers.base import RuleObservation, VectorRuleObservation

__all__ = ["StateKeyObservation", "VectorStateKeyObservation"]

_PARTS = ("state_key", "feature_key", "steps_left", "task_id", "kind")


class _Keys:
    """The rule: parts of info, one per line."""

    def __init__(self, parts: Sequence[str]) -> None:
        if isinstance(parts, str) or not isinstance(parts, Sequence) or not parts:
            raise InvalidArgumentError(
                f"parts must be a non-empty sequence of info keys like ['state_key', 'kind'], received {shown(parts)}."
            )
        for part in parts:
            check_name("part of a state key", part, _PARTS)
        self.space: gym.Space[Any] = FreeText()
        self.reads = tuple(parts)

    def observe(self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]]) -> list[str]:
        """One key per info; a missing part is the empty string."""
        return ["\n".join(["" if (v := info.get(p)) is None else str(v) for p in self.reads]) for info in infos]

    def empty(self) -> str:
        return "\n".join("" for _ in self.reads)

    def stack(self, observations: Sequence[str]) -> tuple[str, ...]:
        return tuple(observations)


class VectorStateKeyObservation(VectorRuleObservation):
    """:class:`StateKeyObservation` of a vector env."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], parts: Sequence[str] = ("state_key",)) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, parts=parts)
        super().__init__(env, _Keys(parts))


class StateKeyObservation(RuleObservation):
    """Observe ``info[part]`` for each part, joined by newlines (single or vector env).

    A part that the task does not report is the empty string, so there is one line per part.

    Args:
        env: an intervention env, possibly wrapped.
        parts: keys of info: ``state_key``, ``feature_key``, ``steps_left``, ``task_id``, ``kind``.

    Raises:
        UnknownNameError: another part.

    Examples:
        >>> import gymnasium as gym
        >>> from selfreg_gym import StateKeyObservation
        >>> env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=lambda text: "heads",
        ...                interventions=[])
        >>> env.reset(seed=0, options={"episode": 1})[0]
        'Coin 1 of 3 lies under the cup. Call it: heads or tails?'
        >>> env = StateKeyObservation(env, parts=("state_key", "steps_left"))
        >>> env.reset(seed=0, options={"episode": 1})[0]
        'coin-1/3\\n3'
    """

    vector = VectorStateKeyObservation

    def __init__(self, env: gym.Env[Any, Any], parts: Sequence[str] = ("state_key",)) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, parts=parts)
        super().__init__(env, _Keys(parts))
