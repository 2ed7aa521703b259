"""Chat templates: the user's turn, the text around an answer, and the tokens that end an answer.

This module does not import torch. Templates that print the current date receive :data:`PROMPT_DATE` instead, so that a
run that is resumed on another day sends the same prompts.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.control_tokens import control_tokens, mark_controls
from selfreg_gym.lm.reasoning_marks import closing_of, has_mark, open_reasoning

__all__ = ["PROMPT_DATE", "Turn", "chat", "has_template", "jinja_literal", "stop_tokens", "turn_of"]

PROMPT_DATE = date(2025, 1, 1)
"""The date that chat templates print (``strftime_now``); part of the definition of a run."""

_REMEDY = "correct chat_template.jinja (or chat_template in tokenizer_config.json), or remove the template"
_QUESTION, _REPLY = "Zq question qZ", "Zq reply qZ"

#: End-of-turn tokens of known model families. A model with such a token in its vocabulary ends its turns with it,
#: regardless of its configuration; a model that never writes it is not affected.
_END_OF_TURN = (
    *("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end_of_turn|>", "<|endofturn|>"),
    *("<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>", "<|return|>", "<end_of_utterance>", "<|endoftext|>"),
    *("<|end_of_text|>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
)


class Turn(NamedTuple):
    """The text that a chat template puts around an answer.

    Attributes:
        opened: the opening mark of the reasoning that the template begins before the answer ("<think>"), or "".
        closing: the text that closes this reasoning, or the text that the template writes before an answer without
            reasoning (``<think>\\n\\n</think>``, ``<|channel|>final<|message|>``), or "".
        end: the control token that the template writes after an answer, or "".
    """

    opened: str = ""
    closing: str = ""
    end: str = ""


def has_template(tokenizer: Any) -> bool:
    """Whether ``tokenizer`` is given and has a chat template."""
    return bool(tokenizer is not None and getattr(tokenizer, "chat_template", None))


def chat(text: str, tokenizer: Any) -> str:
    """Return ``text`` as a user's turn in the chat template, or ``text`` itself if there is no template.

    Control tokens in ``text`` are marked, so that they are encoded as plain text
    (:mod:`selfreg_gym.lm.control_tokens`).
    """
    marked = mark_controls(text, tokenizer)
    if not has_template(tokenizer):
        return marked
    return _render(_messages(marked, parts=_parsed(tokenizer).parts), tokenizer)


def _messages(text: str, *, parts: bool) -> list[dict[str, Any]]:
    """Return a conversation of one message by the user."""
    return [{"role": "user", "content": [{"type": "text", "text": text}] if parts else text}]


def turn_of(tokenizer: Any) -> Turn:
    """Return the text that the chat template puts around an answer; all fields are empty without a template.

    Raises:
        CheckpointError: the template fails on a message by the user, or leaves out its text.
    """
    return _parsed(tokenizer).turn if has_template(tokenizer) else Turn()


def stop_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of all tokens that end an answer, in ascending order.

    Ranking counts them (:mod:`selfreg_gym.lm.scoring`) and generation stops at them. They are the end-of-text tokens of
    the tokenizer, of the model's generation config and of its config, the token that the chat template writes after an
    answer, and the end-of-turn tokens of known families in the vocabulary. A pad token whose name contains "pad" is
    excluded, regardless of the config, and so are ids beyond the output layer.

    Raises:
        CheckpointError: a configured end-of-text token is not a token id.
    """
    found: set[int] = set()
    generation = getattr(model, "generation_config", None)
    for value in (
        tokenizer.eos_token_id,
        getattr(generation, "eos_token_id", None),
        getattr(model.config.get_text_config(), "eos_token_id", None),
    ):
        tokens = [token for token in (value if isinstance(value, list | tuple) else [value]) if token is not None]
        if not all(isinstance(token, int) or (isinstance(token, float) and token.is_integer()) for token in tokens):
            raise CheckpointError(
                "eos_token_id in generation_config.json and config.json must be a token id or a list of them, "
                f"received {value!r}: correct it, or save the checkpoint again."
            )
        found.update(map(int, tokens))
    controls = control_tokens(tokenizer)
    found.update(controls[token] for token in (turn_of(tokenizer).end, *_END_OF_TURN) if token in controls)
    pad = tokenizer.pad_token_id
    if pad is not None and pad != tokenizer.eos_token_id and "pad" in str(tokenizer.pad_token).lower():
        found.discard(int(pad))
    rows = model.get_output_embeddings().weight.shape[0] if model.get_output_embeddings() is not None else None
    return tuple(sorted(token for token in found if token >= 0 and (rows is None or token < rows)))


class _Parsed(NamedTuple):
    """What is known of a template; ``parts``: it reads a message as a list of parts and ignores a plain text."""

    template: str
    turn: Turn
    parts: bool


_cache: WeakKeyDictionary[Any, _Parsed] = WeakKeyDictionary()


def _parsed(tokenizer: Any) -> _Parsed:
    """Parse the template, once per tokenizer and template."""
    template = str(tokenizer.chat_template)
    found = _cache.get(tokenizer)
    if found is None or found.template != template:
        found = _cache[tokenizer] = _parse(template, tokenizer)
    return found


def _parse(template: str, tokenizer: Any) -> _Parsed:
    for parts in (False, True):
        before = _render(question := _messages(_QUESTION, parts=parts), tokenizer)
        if _QUESTION in before:
            break
    else:
        raise CheckpointError(
            f"a chat template must write the text of the user's message, received one of {_name_of(tokenizer)} that "
            f"writes {before[:100]!r} instead: {_REMEDY}."
        )
    opened = open_reasoning(before.rpartition(_QUESTION)[2])
    try:
        whole = _render([*question, {"role": "assistant", "content": _REPLY}], tokenizer, answered=True)
    except CheckpointError:  # the template accepts no answers, or needs more than a text
        whole = ""
    begin, reply, after = whole.rpartition(_REPLY)
    closing = ""
    if opened:
        closing = ("\n" if before.endswith("\n") else "\n\n") + closing_of(opened) + "\n\n"
    elif reply and begin.startswith(before) and has_mark(begin[len(before) :]):
        closing = begin[len(before) :]
    after = after.lstrip() if reply else ""
    ends = [token for token in control_tokens(tokenizer) if after.startswith(token) and not has_mark(token)]
    return _Parsed(template, Turn(opened, closing, max(ends, key=len, default="")), parts)


def _render(turns: list[dict[str, Any]], tokenizer: Any, *, answered: bool = False) -> str:
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            template = _dated(template)
        return tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=not answered, chat_template=template
        )
    except Exception as error:  # a template is a program and can raise anything
        raise CheckpointError(
            f"a chat template must turn one message of the user into a prompt, received one of {_name_of(tokenizer)} "
            f"that fails ({type(error).__name__}: {str(error)[:200]}): {_REMEDY}."
        ) from error


def _name_of(tokenizer: Any) -> str:
    return repr(str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__))


@lru_cache(maxsize=8)
def _dated(template: str) -> str:
    """Return ``template`` with its own ``strftime_now``, which formats :data:`PROMPT_DATE`.

    Templates receive data but no functions, so ``strftime_now`` becomes a macro that replaces each format directive.
    """
    then = datetime(PROMPT_DATE.year, PROMPT_DATE.month, PROMPT_DATE.day)
    known = [f"%{flag}{letter}" for letter in "aAwdbBmyYHIpMSfzZjUWcxXGuVDFTRe" for flag in ("-", "")]
    replaced = "".join(f"|replace({jinja_literal(one)}, {jinja_literal(then.strftime(one))})" for one in known)
    escaped = "|replace('%%', '\ufdd2')" + replaced + "|replace('\ufdd2', '%')"
    macro = "{%- macro strftime_now(format) -%}{{ format" + escaped + " }}{%- endmacro -%}{{ '' }}"
    return macro + re.sub(r"\A[ \t]+(?=\{[%#](?!\+))", "", template)  # lstrip_blocks, at the beginning of the template


def jinja_literal(text: str) -> str:
    """Return ``text`` as a Jinja string literal."""
    return json.dumps(text, ensure_ascii=False)
