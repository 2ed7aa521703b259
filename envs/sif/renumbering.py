"""Augmented observations: the same observation under another numbering of the rooms.

Room numbers are arbitrary, which is a symmetry of the task. A model that is trained on observations under random
numberings has to read the map instead of memorising the few houses of its training tasks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["count_rooms", "renumbered"]

_MAP, _ACTIONS, _GO = "Your map:\n", "You can: ", "Go to Room "
_NUMBER = re.compile(r"\b\d\b")
_CHOICE = re.compile(r"Room (\d(?:, \d)*(?:,? or \d))")


def count_rooms(observation: str) -> int:
    """Number of rooms on the map of an observation.

    Raises:
        InvalidArgumentError: the text has no map, so it is not an observation of SIF.
    """
    return len(_map(observation)[1])


def renumbered(observation: str, order: Sequence[int]) -> str:
    """Return the observation with room ``i`` (from 0) renamed to ``order[i]``; lists of rooms are sorted again.

    Args:
        observation: an observation of ``selfreg/SIF-v0``.
        order: ``(rooms,)`` a permutation of ``range(rooms)``.

    Raises:
        InvalidArgumentError: not an observation of SIF, or ``order`` is not a permutation of its rooms.
    """
    before, rows, after = _map(observation)
    if sorted(order) != list(range(len(rows))):
        raise InvalidArgumentError(
            f"order must be a permutation of the {len(rows)} rooms (0 to {len(rows) - 1}), received {order!r}."
        )
    name = {str(i + 1): str(new + 1) for i, new in enumerate(order)}

    def rename(text: str) -> str:
        return _NUMBER.sub(lambda match: name[match[0]], text)

    map_text = "\n".join(sorted(rename(row) for row in rows))
    return rename(before) + map_text + _CHOICE.sub(_sort_choice, _sort_actions(rename(after)))


def _map(observation: str) -> tuple[str, list[str], str]:
    """Return the text before the map, the lines of the map, and the text after it."""
    begin = observation.find(_MAP) + len(_MAP)
    match = re.compile(r"Room \d:[^\n]*(?:\nRoom \d:[^\n]*)*").match(observation, begin)
    if begin < len(_MAP) or match is None:
        raise InvalidArgumentError(
            f"an observation of SIF must have the lines of its map after {_MAP!r}, received {observation[:200]!r}."
        )
    return observation[:begin], match[0].split("\n"), observation[match.end() :]


def _sort_actions(text: str) -> str:
    """Sort the actions "Go to Room ..." by room."""
    begin = text.find(_ACTIONS)
    if begin < 0:
        return text  # the episode is over
    begin += len(_ACTIONS)
    end = text.index("\n", begin)
    actions = text[begin:end].split(", ")
    moves = iter(sorted(action for action in actions if action.startswith(_GO)))
    return text[:begin] + ", ".join(next(moves) if a.startswith(_GO) else a for a in actions) + text[end:]


def _sort_choice(match: re.Match[str]) -> str:
    *first, last = sorted(_NUMBER.findall(match[0]))
    return f"Room {', '.join(first)} or {last}"
