"""Prompts of actors, process reward models and helpers, which share a backbone.

Every prompt begins with the observation; the differences follow at the end, so that all three read the same prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfreg_gym.lm.chat_template import PROMPT_DATE, chat, has_template, turn_of

__all__ = [
    "ACTION_MARK",
    "PROMPT_DATE",
    "REASONING_REQUEST",
    "actor_prompt",
    "answer_text",
    "chat",
    "gain_prompt",
    "helper_prompt",
    "success_prompt",
    "turn",
]

ACTION_MARK = "Action:"

#: Request to models that reason before they act; the default actor answers with the action alone.
REASONING_REQUEST = "Answer in two lines. Reasoning: why, in a sentence. Action: exactly one of the offered actions."


def actor_prompt(observation: str, *, tokenizer: Any = None, reasoning: bool = False) -> str:
    """Return the prompt before an action (``reasoning=False``) or before an answer with reasoning.

    Control tokens in the observation are marked, so that :class:`selfreg_gym.lm.tokenizer.PromptEncoder` encodes them
    as plain text. If the chat template opens reasoning, it is closed before an action.

    Args:
        observation: the observation of the task.
        tokenizer: its chat template is applied, if it has one.
        reasoning: ask for ``Reasoning: ... Action: ...`` instead of ending with ``Action:``.
    """
    if reasoning:
        asked = chat(f"{observation}\n{REASONING_REQUEST}", tokenizer)
        return asked if has_template(tokenizer) else f"{asked}\n"
    return _before_answer(observation, tokenizer) + ACTION_MARK


def answer_text(action: str) -> str:
    """Return an action as it follows ``Action:``."""
    return f" {action}"


def success_prompt(observation: str, *, tokenizer: Any = None) -> str:
    """Return the prompt of a process reward model: the actor's own prompt before an action.

    At its last token the hidden state of the actor's backbone determines the action.
    """
    return actor_prompt(observation, tokenizer=tokenizer)


def helper_prompt(observation: str, budget: float, *, tokenizer: Any = None) -> str:
    """Return the prompt of a helper: the observation, then the budget with two decimals.

    With a chat template the observation is the user's turn, as for the actor, and the budget begins the answer.
    """
    return f"{_before_answer(observation, tokenizer)}Budget {budget:.2f}. Help?"


def gain_prompt(
    observation: str,
    *,
    facts: str | None = None,
    steps_left: int | None = None,
    calls: Sequence[int] = (),
    tokenizer: Any = None,
) -> str:
    """Return the prompt of a helper with value heads: the observation, what the text does not tell, and ``Help?``.

    Args:
        observation: the observation of the task.
        facts: a description of the state by the task (its feature key), which becomes a line of the observation.
        steps_left: steps until the task ends the episode, if they are known.
        calls: calls of each intervention so far in the episode.
        tokenizer: its chat template is applied, if it has one.
    """
    text = observation if facts is None else f"{observation}\nFacts: {facts}"
    left = "" if steps_left is None else f"Steps left {steps_left}. "
    asked = f"Calls {' '.join(map(str, calls))}. " if len(calls) else ""
    return f"{_before_answer(text, tokenizer)}{left}{asked}Help?"


def turn(text: str, tokenizer: Any) -> str:
    """Return :func:`chat` with the template's text that closes or skips reasoning, if there is one."""
    return chat(text, tokenizer) + turn_of(tokenizer).closing


def _before_answer(text: str, tokenizer: Any) -> str:
    """Return ``text`` in the template's turn, or with a line break, before an answer without reasoning."""
    return turn(text, tokenizer) if has_template(tokenizer) else f"{chat(text, tokenizer)}\n"
