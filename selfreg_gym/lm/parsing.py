"""Reading an action out of what a language model wrote.

Models wrap their answer in reasoning, markdown, quotes and trailing remarks. What is undone here is form alone:
case, white space, quotes, list marks, a full stop. A text that then is no admissible action stays as it was written,
and the task calls it invalid; choosing the nearest admissible action instead is an option that has to be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from selfreg_gym.lm.tokenizer import words

__all__ = ["canonical", "match_action", "nearest_action", "parse_action"]

_MARKER = re.compile(r"\baction\b[\s*_`\"']*(?:\d+[\s*_`]*)?[:=][\s*_`]*", re.IGNORECASE)
_WRAPPING = " \t\r\n\"'`*_<>[](){}|\u2018\u2019\u201c\u201d\u00ab\u00bb"  # quotes of all kinds, markdown, brackets
_LIST_MARK = re.compile(r"^\s*(?:[-*•>#]+|\(?\d+[.)])\s+")


def canonical(text: str) -> str:
    """The words of a text without case, spacing, quotes around it or final full stop: two forms of one action agree."""
    return " ".join(words(text.strip(_WRAPPING).rstrip("." + _WRAPPING))).casefold()


def match_action(text: str, admissible: Sequence[str] | None) -> str | None:
    """Return the admissible action that ``text`` is another form of, or None."""
    if not admissible:
        return None
    wanted = canonical(text)
    for action in admissible:
        if canonical(action) == wanted:
            return action
    return None


def nearest_action(text: str, admissible: Sequence[str]) -> str | None:
    """Return the admissible action spelled most like ``text``, or None if none comes near."""
    by_form = {canonical(action): action for action in admissible}
    close = get_close_matches(canonical(text), by_form, n=1, cutoff=0.5)
    return by_form[close[0]] if close else None


def parse_action(answer: str, admissible: Sequence[str] | None = None, *, nearest: bool = False) -> str:
    """Return the action in a model's answer.

    Read in this order: what follows the last ``Action:`` (one line of it; the next line if that is empty); without
    such a mark, the last line that is an admissible action; else the last line that is not empty. An admissible
    action is returned in the task's own spelling. Anything else comes back as it was written, trimmed.

    Args:
        answer: everything the model wrote.
        admissible: what the task accepts, if known.
        nearest: take the closest admissible action when none matches.
    """
    marks = list(_MARKER.finditer(answer))
    if marks:
        candidates = _lines(answer[marks[-1].end() :])[:1]
    else:
        lines = _lines(answer)
        candidates = [line for line in reversed(lines) if match_action(line, admissible)] or lines[-1:]
    text = candidates[0] if candidates else ""
    found = match_action(text, admissible)
    if found is None and admissible and nearest:
        found = nearest_action(text, admissible)
    return text.strip(_WRAPPING) if found is None else found


def _lines(text: str) -> list[str]:
    """The non-empty lines, without list marks."""
    stripped = (_LIST_MARK.sub("", line).strip() for line in text.splitlines())
    return [line for line in stripped if line.strip(_WRAPPING)]
