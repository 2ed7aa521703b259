"""Reading a line of a person within a time limit."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["TimedRead"]


class TimedRead:
    """Reads lines with a time limit, in a thread, since a read from a terminal cannot be interrupted.

    A read that is not finished in time goes on, and answers the next question. A line that is entered between the end
    of the time and the next question is discarded.

    Args:
        read: shows a prompt and returns the line.
        write: shows the prompt of a question for which an earlier read is still waiting.
    """

    def __init__(self, read: Callable[[str], str], write: Callable[[str], None]) -> None:
        self._read, self._write = read, write
        self._lines: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()
        self._waiting = False  # whether a read is in progress

    def __call__(self, prompt: str, seconds: float) -> str | None:
        """Show the prompt and return the line, or None if the person enters no line within ``seconds``.

        An exception of ``read`` is raised here.
        """
        with contextlib.suppress(queue.Empty):
            self._lines.get_nowait()
            self._waiting = False
        if self._waiting:
            self._write(prompt)
        else:
            self._waiting = True
            threading.Thread(target=self._put, args=(prompt,), daemon=True, name="timed read").start()
        try:
            line, error = self._lines.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return None
        self._waiting = False
        if error is not None:
            raise error
        return line

    def _put(self, prompt: str) -> None:
        try:
            self._lines.put((self._read(prompt), None))
        except BaseException as error:  # raised where the line is awaited
            self._lines.put(("", error))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._read, self._write)
