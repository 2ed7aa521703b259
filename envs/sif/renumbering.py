"""The same page, as it reads in the same house with its rooms numbered otherwise.

Which number a room has means nothing: this is a symmetry of the task. A learner that sees each page under another
numbering must read the map, where otherwise it would learn the few houses it is trained in by heart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["renumbered", "rooms_of"]

_MAP, _OFFERS, _GO = "Your map:\n", "You can: ", "Go to Room "
_NUMBER = re.compile(r"\b\d\b")
_CHOICE = re.compile(r"Room (\d(?:, \d)*(?:,? or \d))")


def rooms_of(page: str) -> int:
    """How many rooms the page's map has.

    Raises:
        InvalidArgumentError: the page has no map, so it is none of SIF's.
    """
    return len(_map(page)[1])


def renumbered(page: str, order: Sequence[int]) -> str:
    """The page with room ``i`` (from 0) called ``order[i]``: map, offers and lists of rooms are put in order again.

    Args:
        page: an observation of ``selfreg/SIF-v0``.
        order: ``(rooms,)`` a permutation of ``range(rooms)``.

    Raises:
        InvalidArgumentError: not a page of SIF, or ``order`` is no permutation of its rooms.
    """
    before, rows, after = _map(page)
    if sorted(order) != list(range(len(rows))):
        raise InvalidArgumentError(
            f"order must be a permutation of the page's {len(rows)} rooms (0 to {len(rows) - 1}), received {order!r}."
        )
    name = {str(i + 1): str(new + 1) for i, new in enumerate(order)}

    def call(text: str) -> str:
        return _NUMBER.sub(lambda match: name[match[0]], text)

    map_text = "\n".join(sorted(call(row) for row in rows))
    return call(before) + map_text + _CHOICE.sub(_in_order, _offers_in_order(call(after)))


def _map(page: str) -> tuple[str, list[str], str]:
    """What stands before the lines of the map, the lines, and what stands after them."""
    begin = page.find(_MAP) + len(_MAP)
    match = re.compile(r"Room \d:[^\n]*(?:\nRoom \d:[^\n]*)*").match(page, begin)
    if begin < len(_MAP) or match is None:
        raise InvalidArgumentError(f"a page of SIF has the lines of its map after {_MAP!r}, received {page[:200]!r}.")
    return page[:begin], match[0].split("\n"), page[match.end() :]


def _offers_in_order(text: str) -> str:
    begin = text.find(_OFFERS)
    if begin < 0:
        return text  # the episode is over
    begin += len(_OFFERS)
    end = text.index("\n", begin)
    offers = text[begin:end].split(", ")
    going = iter(sorted(offer for offer in offers if offer.startswith(_GO)))
    return text[:begin] + ", ".join(next(going) if o.startswith(_GO) else o for o in offers) + text[end:]


def _in_order(match: re.Match[str]) -> str:
    *first, last = sorted(_NUMBER.findall(match[0]))
    return f"Room {', '.join(first)} or {last}"
