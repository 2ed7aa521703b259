"""A person at the terminal, as an actor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Act, Decision

__all__ = ["Human"]


class Human:
    """Shows each decision to a person and reads the action from the terminal.

    The person enters the number of an action, its words (a unique beginning suffices), or ``q`` to quit, which raises
    ``KeyboardInterrupt``. If standard input is not a terminal, every act carries an error, so that an unattended run
    does not wait forever.

    Args:
        read: shows a prompt and returns the input; None is ``input``, if standard input is a terminal.
        write: shows text.
        title: headline above each decision.
        free: accept text that matches no admissible action (the task decides whether it is valid); otherwise ask again.
    """

    def __init__(
        self,
        *,
        read: Callable[[str], str] | None = None,
        write: Callable[[str], None] = print,
        title: str = "you act",
        free: bool = False,
    ) -> None:
        self.read = read
        self.write = write
        self.title = title
        self.free = free

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """Ask for one action per decision, in order."""
        if self.read is None and not sys.stdin.isatty():
            return [Act("", error="a human actor needs a terminal, and standard input is not one") for _ in decisions]
        return [Act(self._ask(decision)) for decision in decisions]

    def _ask(self, decision: Decision) -> str:
        self.write(f"\n---- {self.title} ----\n{decision.observation}\n")
        actions = decision.admissible_actions
        for number, action in enumerate(actions or (), start=1):
            self.write(f"  {number:2d}  {action}")
        while True:
            try:
                answer = (self.read or input)("your action (number or words, q quits): ").strip()
            except EOFError:
                raise KeyboardInterrupt from None
            if answer.lower() in {"q", "quit", "exit"}:
                raise KeyboardInterrupt
            try:
                return choose(answer, actions, free=self.free)
            except InvalidArgumentError as error:
                self.write(f"  {error}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Human:
        return self


def choose(answer: str, actions: Sequence[str] | None, *, free: bool = False) -> str:
    """Return the action for an input.

    Args:
        answer: a number from 1, or text.
        actions: the admissible actions, or None if any text is admissible.
        free: return text that matches no action unchanged.

    Raises:
        InvalidArgumentError: the input is empty, the number is out of range, or the text matches no action or several.
    """
    if not answer:
        raise InvalidArgumentError("an action is a number or text, received an empty input.")
    if actions is None:
        return answer
    if answer.isdecimal():
        if 1 <= int(answer) <= len(actions):
            return actions[int(answer) - 1]
        raise InvalidArgumentError(f"a number must be from 1 to {len(actions)}, received {answer}.")
    exact = [action for action in actions if action.casefold() == answer.casefold()]
    close = exact or [action for action in actions if action.casefold().startswith(answer.casefold())]
    if len(close) == 1:
        return close[0]
    if free and not close:
        return answer
    raise InvalidArgumentError(
        f"{answer!r} could be {' or '.join(map(repr, close))}." if close else f"no action has the name {answer!r}."
    )
