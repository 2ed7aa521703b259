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

from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.controls import control_tokens, mark_controls
from selfreg_gym.lm.thoughts import closing_of, has_mark, open_thought

__all__ = ["PROMPT_DATE", "Turn", "chat", "has_template", "turn_of"]

#: The date that chat templates print (``strftime_now``); part of what defines a run.
PROMPT_DATE = date(2025, 1, 1)

_REMEDY = "correct chat_template.jinja (or chat_template in tokenizer_config.json), or remove it to do without"
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
    return _render(_user(marked, parts=_known_of(tokenizer)[2]), tokenizer)


def _user(text: str, *, parts: bool) -> list[dict[str, Any]]:
    """A conversation of one message."""
    return [{"role": "user", "content": [{"type": "text", "text": text}] if parts else text}]


def turn_of(tokenizer: Any) -> Turn:
    """Read it off the chat template, once per tokenizer and template; all fields are empty without a template.

    Raises:
        CheckpointError: the template cannot be used for a user's message, or leaves its text out.
    """
    if not has_template(tokenizer):
        return Turn()
    return _known_of(tokenizer)[1]


def _known_of(tokenizer: Any) -> tuple[str, Turn, bool]:
    """The template, its turn, and whether it reads a message as a list of parts and leaves a plain text out."""
    template = str(tokenizer.chat_template)
    known = _known.get(tokenizer)
    if known is None or known[0] != template:
        known = _known[tokenizer] = (template, *_read(tokenizer))
    return known


_known: WeakKeyDictionary[Any, tuple[str, Turn, bool]] = WeakKeyDictionary()


def _read(tokenizer: Any) -> tuple[Turn, bool]:
    parts = False
    before = _render(asked := _user(_ASKED, parts=False), tokenizer)
    if _ASKED not in before:
        parts = True
        before = _render(asked := _user(_ASKED, parts=True), tokenizer)
    if _ASKED not in before:
        raise CheckpointError(
            f"a chat template must write the text of the user's message, received one of {_named(tokenizer)} that "
            f"writes {before[:100]!r} instead: {_REMEDY}."
        )
    opened = open_thought(before.rpartition(_ASKED)[2])
    try:
        whole = _render([*asked, {"role": "assistant", "content": _REPLIED}], tokenizer, answered=True)
    except CheckpointError:  # a template that allows no answers, or calls for more than text
        whole = ""
    begin, said, after = whole.rpartition(_REPLIED)
    closing = ""
    if opened:
        closing = ("\n" if before.endswith("\n") else "\n\n") + closing_of(opened) + "\n\n"
    elif said and begin.startswith(before) and has_mark(begin[len(before) :]):
        closing = begin[len(before) :]
    after = after.lstrip() if said else ""
    ends = [token for token in control_tokens(tokenizer) if after.startswith(token) and not has_mark(token)]
    return Turn(opened, closing, max(ends, key=len, default="")), parts


def _render(turns: list[dict[str, Any]], tokenizer: Any, *, answered: bool = False) -> str:
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            template = _dated(template)
        return tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=not answered, chat_template=template
        )
    except Exception as error:  # a template is a program: it may fail in any way
        raise CheckpointError(
            f"a chat template must turn one message of the user into a prompt, received one of {_named(tokenizer)} "
            f"that fails ({type(error).__name__}: {str(error)[:200]}): {_REMEDY}."
        ) from error


def _named(tokenizer: Any) -> str:
    return repr(str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__))


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
