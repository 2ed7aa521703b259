"""The turns of a tokenizer's chat template: the user's turn, and the marks around a thought and an answer.

Needs no torch. Templates that print today's date get :data:`PROMPT_DATE` instead: a run that is resumed after
midnight must send the prompts that it began with.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from selfreg_gym.lm.controls import control_tokens, mark_controls
from selfreg_gym.lm.thoughts import closing_of, has_mark, open_thought

__all__ = ["PROMPT_DATE", "Turn", "chat", "has_template", "turn_of"]

#: The date that chat templates print (``strftime_now``); part of what defines a run.
PROMPT_DATE = date(2025, 1, 1)

_ASKED, _REPLIED = "Zq question qZ", "Zq reply qZ"


class Turn(NamedTuple):
    """The text that a chat template puts around an answer.

    Attributes:
        opened: the mark of the thought that the template opens before the answer ("<think>"), or "".
        closing: the text that closes that thought, or skips thinking as the template itself does for an answer without
            a thought (``<think>\\n\\n</think>``, ``<|channel|>final<|message|>``), or "".
        end: the control token that the template writes after an answer, or "".
    """

    opened: str = ""
    closing: str = ""
    end: str = ""


def has_template(tokenizer: Any) -> bool:
    """Whether there is a tokenizer with a chat template."""
    return bool(tokenizer is not None and getattr(tokenizer, "chat_template", None))


def chat(text: str, tokenizer: Any) -> str:
    """``text`` as a user's turn in the tokenizer's chat template, or as it is without one; cleaned and marked.

    Control tokens in ``text`` are marked (:mod:`selfreg_gym.lm.controls`), so that they are encoded as plain text.
    """
    marked = mark_controls(text, tokenizer)
    if not has_template(tokenizer):
        return marked
    return _render([{"role": "user", "content": marked}], tokenizer)


def turn_of(tokenizer: Any) -> Turn:
    """Read it off the chat template, once per tokenizer and template; all fields are empty without a template."""
    if not has_template(tokenizer):
        return Turn()
    template = str(tokenizer.chat_template)
    known = _known.get(tokenizer)
    if known is None or known[0] != template:
        known = _known[tokenizer] = (template, _read(tokenizer))
    return known[1]


_known: WeakKeyDictionary[Any, tuple[str, Turn]] = WeakKeyDictionary()


def _read(tokenizer: Any) -> Turn:
    asked = [{"role": "user", "content": _ASKED}]
    before = _render(asked, tokenizer)
    opened = open_thought(before.rpartition(_ASKED)[2])
    try:
        whole = _render([*asked, {"role": "assistant", "content": _REPLIED}], tokenizer, answered=True)
    except Exception:  # a template that allows no answers, or calls for more than text
        whole = ""
    begin, said, after = whole.rpartition(_REPLIED)
    closing = ""
    if opened:
        closing = ("\n" if before.endswith("\n") else "\n\n") + closing_of(opened) + "\n\n"
    elif said and begin.startswith(before) and has_mark(begin[len(before) :]):
        closing = begin[len(before) :]
    after = after.lstrip() if said else ""
    ends = [token for token in control_tokens(tokenizer) if after.startswith(token) and not has_mark(token)]
    return Turn(opened, closing, max(ends, key=len, default=""))


def _render(turns: list[dict[str, str]], tokenizer: Any, *, answered: bool = False) -> str:
    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = _dated(template)
    return tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=not answered, chat_template=template
    )


@lru_cache(maxsize=8)
def _dated(template: str) -> str:
    """``template`` with a ``strftime_now`` of its own, which knows :data:`PROMPT_DATE` only.

    Templates are given data, not functions, so this is a macro: it replaces each directive of a format.
    """
    then = datetime(PROMPT_DATE.year, PROMPT_DATE.month, PROMPT_DATE.day)
    known = [f"%{flag}{letter}" for letter in "aAwdbBmyYHIpMSfzZjUWcxXGuVDFTRe" for flag in ("-", "")]
    replaced = "".join(f"|replace({_quoted(one)}, {_quoted(then.strftime(one))})" for one in known)
    escaped = "|replace('%%', '\ufdd2')" + replaced + "|replace('\ufdd2', '%')"
    macro = "{%- macro strftime_now(format) -%}{{ format" + escaped + " }}{%- endmacro -%}{{ '' }}"
    return macro + re.sub(r"\A[ \t]+(?=\{[%#](?!\+))", "", template)  # as lstrip_blocks does at the beginning of a line


def _quoted(text: str) -> str:
    """A Jinja string literal."""
    return json.dumps(text, ensure_ascii=False)
