"""Texts of observations and actions. A person can play from them.

An observation says what is ahead, to the left and to the right, where each object in view is, what the agent carries,
its direction, the steps left, the mission, and which of its instructions are done. Agents of ``minigrid`` are given the
same information, but not the steps left and the instructions that are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from selfreg_gym.envs.babyai.view import Seen, View

__all__ = ["ACTIONS", "observation", "parse"]

ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle")
"""The actions in the order of ``minigrid``'s numbers. Its seventh, ``done``, has no effect and is not offered."""

_HEAD = "You see 6 cells ahead and 3 to each side."
_DIRECTIONS = ("east", "south", "west", "north")
_CAN = f"You can: {', '.join(ACTIONS)}"
_OVER = "The episode is over."


def parse(action: str) -> int | None:
    """The number of an action; case, white space and punctuation at its ends are ignored. None: not an action."""
    word = action.strip(" \t\r\n.,;:!?'\"`*()").lower()
    return ACTIONS.index(word) if word in ACTIONS else None


def observation(
    view: View,
    *,
    carried: tuple[str, str] | None,
    direction: int,
    start: tuple[int, int, int] | None,
    steps_left: int,
    mission: str,
    done: Sequence[str],
    over: bool,
) -> str:
    """The observation.

    Args:
        view: what the agent sees.
        carried: colour and type of the carried object.
        direction: 0 (east) to 3 (north), clockwise.
        start: the start of the episode as the agent sees it now: cells ahead, cells to the right, and the direction
            that the agent had there; None if the mission has no directions.
        steps_left: steps until the episode ends.
        mission: the mission.
        done: the instructions that are done.
        over: whether the episode is over.
    """
    lines = [_HEAD, _along("Ahead", *view.ahead), _along("Left", *view.left), _along("Right", *view.right)]
    lines += [_object(seen) for seen in view.objects]
    lines.append(_self(carried, direction))
    lines.append(_left(steps_left))
    if start is not None:
        lines.append(_start(*start))
    lines.append(f"Mission: {mission}.")
    if done:
        lines.append(f"Done: {', '.join(done)}.")
    lines.append(_OVER if over else _CAN)
    return "\n".join(lines)


def _named(seen: Seen) -> str:
    word = f"{seen.state} " if seen.state else ""
    return f"{_article(word or seen.colour)} {word}{seen.colour} {seen.type}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


@lru_cache(maxsize=4096)
def _along(where: str, free: int, behind: Seen | str) -> str:
    if behind == "":
        return f"{where}: {free} free." if free else f"{where}: not seen."
    what = "a wall" if isinstance(behind, str) else _named(behind)
    return f"{where}: {free} free, then {what}." if free else f"{where}: {what}."


@lru_cache(maxsize=16384)
def _object(seen: Seen) -> str:
    return f"{_named(seen)} {_offset(seen.ahead, seen.right)}"


@lru_cache(maxsize=8192)
def _offset(ahead: int, right: int) -> str:
    parts = []
    if ahead:
        parts.append(f"{abs(ahead)} {'ahead' if ahead > 0 else 'behind'}")
    if right:
        parts.append(f"{abs(right)} {'right' if right > 0 else 'left'}")
    return ", ".join(parts) or "here"


@lru_cache(maxsize=256)
def _self(carried: tuple[str, str] | None, direction: int) -> str:
    what = "nothing" if carried is None else f"{_article(carried[0])} {' '.join(carried)}"
    return f"You carry {what} and face {_DIRECTIONS[direction]}."


@lru_cache(maxsize=4096)
def _left(steps: int) -> str:
    return f"{steps} step{' is' if steps == 1 else 's are'} left."


@lru_cache(maxsize=8192)
def _start(ahead: int, right: int, direction: int) -> str:
    return (
        f"The mission's directions are from the start: it is {_offset(ahead, right)}, and you faced "
        f"{_DIRECTIONS[direction]} there."
    )
