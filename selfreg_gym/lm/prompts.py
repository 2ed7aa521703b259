"""What is put around an observation, in one place: the actor, the process reward model and the helper share a trunk.

The observation always comes first and what differs comes last, so that the parts agree on what the trunk has read.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ACTION_MARK", "REASONING_REQUEST", "actor_prompt", "answer_text", "chat", "helper_prompt", "success_prompt"]

ACTION_MARK = "Action:"

#: Asked of models that reason before they act; the default stack answers with the action alone.
REASONING_REQUEST = "Answer in two lines. Reasoning: why, in a sentence. Action: exactly one of the offered actions."


def actor_prompt(observation: str, *, tokenizer: Any = None, reasoning: bool = False) -> str:
    """The prompt after which an action (``reasoning=False``) or a whole answer is expected.

    Args:
        observation: what the task says.
        tokenizer: if given and it has a chat template, the template is applied.
        reasoning: ask for ``Reasoning: ... Action: ...`` instead of ending with ``Action:``.
    """
    if reasoning:
        return _before_answer(f"{observation}\n{REASONING_REQUEST}", tokenizer)
    return _before_answer(observation, tokenizer) + ACTION_MARK


def answer_text(action: str) -> str:
    """An action as it follows ``Action:``."""
    return f" {action}"


def success_prompt(observation: str, *, tokenizer: Any = None) -> str:
    """What a process reward model reads: the page up to the word after which the actor would act.

    There the actor's trunk has gathered what decides its action.
    """
    return actor_prompt(observation, tokenizer=tokenizer)


def helper_prompt(observation: str, budget: float, *, tokenizer: Any = None) -> str:
    """What a helper reads; the budget (two decimals) stands at the end, after the observation it shares.

    With a chat template the observation is the user's turn, as it is for the actor, and the budget begins the answer.
    """
    return f"{_before_answer(observation, tokenizer)}Budget {budget:.2f}. Help?"


def chat(text: str, tokenizer: Any) -> str:
    """``text`` as a user's turn in the tokenizer's chat template, or unchanged when it has none."""
    if not _has_template(tokenizer):
        return text
    turns = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def _before_answer(text: str, tokenizer: Any) -> str:
    """``text`` and what stands between it and an answer: the template's turn, or a line break."""
    return chat(text, tokenizer) if _has_template(tokenizer) else f"{text}\n"


def _has_template(tokenizer: Any) -> bool:
    return bool(tokenizer is not None and getattr(tokenizer, "chat_template", None))
