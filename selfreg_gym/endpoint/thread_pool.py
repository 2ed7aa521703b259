"""A pool of threads that work off jobs, and that do not keep a program from ending.

``concurrent.futures`` joins its threads at exit: after Ctrl-C a program would wait there for a server that hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["Crew"]


class Crew:
    """At most ``size`` daemon threads, begun when there is work for them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._todo: SimpleQueue[Any] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def work(self, jobs: Sequence[Callable[[], Any]]) -> Iterator[tuple[int, Any]]:
        """Yield ``(place in jobs, result)`` as they are done, in any order.

        Raises:
            Exception: what a job raised, as soon as that is known.
        """
        done: SimpleQueue[Any] = SimpleQueue()
        for place, job in enumerate(jobs):
            self._todo.put((place, job, done))
        while len(self._threads) < min(self.size, len(jobs)):
            thread = threading.Thread(target=self._serve, name="endpoint", daemon=True)
            self._threads.append(thread)
            thread.start()
        for _ in jobs:
            place, result, error = done.get()
            if error is not None:
                raise error
            yield place, result

    def dismiss(self) -> None:
        """Drop the jobs that were not begun, and end the threads."""
        try:
            while True:
                self._todo.get_nowait()
        except Empty:
            pass
        for _ in self._threads:
            self._todo.put(None)
        self._threads = []

    def _serve(self) -> None:
        while (task := self._todo.get()) is not None:
            place, job, done = task
            try:
                done.put((place, job(), None))
            except BaseException as error:  # raised again where the result is waited for
                done.put((place, None, error))
            del task, job, done  # a job refers to its connection, which could not be collected while this thread waits
