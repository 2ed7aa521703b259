"""Prompts of the actor, the process reward model and the helper, which share a trunk.

The observation always comes first and what differs comes last, so that all three read the same beginning.
"""

from __future__ import annotations

from typing import Any

from selfreg_gym.lm.chat_template import PROMPT_DATE, chat, has_template, turn_of

__all__ = [
    "ACTION_MARK",
    "PROMPT_DATE",
    "REASONING_REQUEST",
    "actor_prompt",
    "answer_text",
    "chat",
    "helper_prompt",
    "success_prompt",
    "turn",
]

ACTION_MARK = "Action:"

#: Asked of models that reason before they act; the default stack answers with the action alone.
REASONING_REQUEST = "Answer in two lines. Reasoning: why, in a sentence. Action: exactly one of the offered actions."


def actor_prompt(observation: str, *, tokenizer: Any = None, reasoning: bool = False) -> str:
    """The prompt after which an action (``reasoning=False``) or a whole answer is expected.

    Control tokens that the observation spells are marked, for :class:`selfreg_gym.lm.tokenizer.PromptEncoder` to
    encode them as plain text. Where the chat template opens a thought, it is closed before an action is asked for.

    Args:
        observation: what the task says.
        tokenizer: if given and it has a chat template, the template is applied.
        reasoning: ask for ``Reasoning: ... Action: ...`` instead of ending with ``Action:``.
    """
    if reasoning:
        return _whole_answer(f"{observation}\n{REASONING_REQUEST}", tokenizer)
    return _before_answer(observation, tokenizer) + ACTION_MARK


def answer_text(action: str) -> str:
    """An action as it follows ``Action:``."""
    return f" {action}"


def success_prompt(observation: str, *, tokenizer: Any = None) -> str:
    """What a process reward model reads: the observation up to the word after which the actor would act.

    There the actor's trunk has gathered what decides its action.
    """
    return actor_prompt(observation, tokenizer=tokenizer)


def helper_prompt(observation: str, budget: float, *, tokenizer: Any = None) -> str:
    """What a helper reads; the budget (two decimals) stands at the end, after the observation.

    With a chat template the observation is the user's turn, as it is for the actor, and the budget begins the answer.
    """
    return f"{_before_answer(observation, tokenizer)}Budget {budget:.2f}. Help?"


def turn(text: str, tokenizer: Any) -> str:
    """:func:`chat`, followed by the text that closes a thought or skips thinking, if the template has such text."""
    return chat(text, tokenizer) + turn_of(tokenizer).closing


def _before_answer(text: str, tokenizer: Any) -> str:
    """``text`` and what stands between it and an answer: the template's turn, or a line break."""
    return turn(text, tokenizer) if has_template(tokenizer) else f"{chat(text, tokenizer)}\n"


def _whole_answer(text: str, tokenizer: Any) -> str:
    """``text`` and what stands before an answer that may begin with a thought."""
    return chat(text, tokenizer) if has_template(tokenizer) else f"{chat(text, tokenizer)}\n"
