"""A person at the terminal, as an actor."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from selfreg_gym.agents.actors._timed_read import TimedRead
from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.types import Act, Decision
from selfreg_gym.utils.arguments import check_number

__all__ = ["Human"]

ATTEMPTS = 10
"""Number of invalid answers to a question after which it is not repeated."""


class Human:
    """Shows each decision to a person and reads the action from the terminal.

    The person enters the number of an action, its words (a unique beginning suffices), or ``q`` to quit, which raises
    ``KeyboardInterrupt``. After an invalid answer the question is repeated; after ten in a row the act has an error. If
    standard input is not a terminal, every act has an error, so that an unattended run does not wait forever.

    Args:
        read: shows a prompt and returns the input; None is ``input``, if standard input is a terminal.
        write: shows text.
        title: headline above each decision.
        free: accept text that matches no admissible action (the task decides whether it is valid); otherwise ask again.
        timeout_s: seconds for an answer, repeated questions included; None: no limit.
        when_late: the answer after ``timeout_s`` seconds without one; None: the act has an error.
    """

    def __init__(
        self,
        *,
        read: Callable[[str], str] | None = None,
        write: Callable[[str], None] = print,
        title: str = "you act",
        free: bool = False,
        timeout_s: float | None = None,
        when_late: str | None = None,
    ) -> None:
        self.read = read
        self.write = write
        self.title = title
        self.free = free
        self.timeout_s = None if timeout_s is None else check_number("timeout_s (seconds)", timeout_s, above=True)
        self.when_late = when_late
        self._timed: TimedRead | None = None

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """Ask for one action per decision, in order."""
        if self.read is None and not sys.stdin.isatty():
            return [Act("", error="a human actor needs a terminal, and standard input is not one") for _ in decisions]
        return [self._ask(decision) for decision in decisions]

    def _ask(self, decision: Decision) -> Act:
        self.write(f"\n---- {self.title} ----\n{decision.observation}\n")
        actions = decision.admissible_actions
        for number, action in enumerate(actions or (), start=1):
            self.write(f"  {number:2d}  {action}")
        begin = time.monotonic()
        reason = ""
        for _ in range(ATTEMPTS):
            left = None if self.timeout_s is None else self.timeout_s - (time.monotonic() - begin)
            try:
                answer = self._line("your action (number or words, q quits): ", left)
            except EOFError:
                raise KeyboardInterrupt from None
            if answer is None and self.timeout_s is not None:
                return self._late()
            if isinstance(answer, str) and answer.strip().lower() in {"q", "quit", "exit"}:
                raise KeyboardInterrupt
            try:
                return Act(choose(answer, actions, free=self.free))
            except InvalidArgumentError as error:
                reason = str(error)
                self.write(f"  {reason}")
        return Act("", error=f"the person gave {ATTEMPTS} invalid answers in a row; the last one: {reason}")

    def _line(self, prompt: str, seconds: float | None) -> str | None:
        """The line that the person enters; None if the person enters no line within ``seconds``."""
        if seconds is None:
            return (self.read or input)(prompt)
        if self._timed is None:
            self._timed = TimedRead(self.read or input, self.write)
        return self._timed(prompt, seconds)

    def _late(self) -> Act:
        limit = f"no answer within {self.timeout_s:g} seconds"
        self.write(f"\n  {limit}: {self.when_late or 'the episode ends'}.")
        return Act("", error=f"the person gave {limit}.") if self.when_late is None else Act(self.when_late)

    def __deepcopy__(self, memo: dict[int, Any]) -> Human:
        return self


def choose(answer: Any, actions: Sequence[str] | None, *, free: bool = False) -> str:
    """Return the action for an input.

    Args:
        answer: a line with a number from 1, or with text.
        actions: the admissible actions, or None if any text is admissible.
        free: return text that matches no action unchanged.

    Raises:
        InvalidArgumentError: the input is not a str or is empty, the number is out of range, or the text matches no
            action or several.
    """
    if not isinstance(answer, str):
        raise InvalidArgumentError(f"read must return the line as a str, received {shown(answer)}.")
    answer = answer.strip()
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
