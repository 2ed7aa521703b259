"""A person at the terminal, as actor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.types import Act, Decision

__all__ = ["Human"]


class Human:
    """Shows each decision and asks a person what to do.

    The person answers with the number of an action, with its words (the beginning is enough when only one action begins
    so), or with ``q`` to quit, which raises ``KeyboardInterrupt``. Without a terminal every act carries an error, so
    an experiment that was started without a person at the terminal does not wait for ever.

    Args:
        read: asks a question and returns the answer (default: ``input``, if standard input is a terminal).
        write: shows text.
        title: headline above each decision.
        free: accept words that are no admissible action (the task then judges them). Default: ask again.
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
        """Ask for each decision in turn."""
        if self.read is None and not sys.stdin.isatty():
            return [Act("", error="a human is asked, and nobody is at the terminal") for _ in decisions]
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
    """Return the action that a typed answer means.

    Args:
        answer: a number from 1, or words.
        actions: what may be done, or None when any words may be said.
        free: hand through words that match nothing.

    Raises:
        InvalidArgumentError: no such number, or words that match no action or several.
    """
    if not answer:
        raise InvalidArgumentError("say something: a number, or the words of an action.")
    if actions is None:
        return answer
    if answer.isdecimal():
        if 1 <= int(answer) <= len(actions):
            return actions[int(answer) - 1]
        raise InvalidArgumentError(f"a number is from 1 to {len(actions)}, received {answer}.")
    exact = [action for action in actions if action.casefold() == answer.casefold()]
    close = exact or [action for action in actions if action.casefold().startswith(answer.casefold())]
    if len(close) == 1:
        return close[0]
    if free and not close:
        return answer
    raise InvalidArgumentError(
        f"{answer!r} could be {' or '.join(map(repr, close))}." if close else f"no action is called {answer!r}."
    )
