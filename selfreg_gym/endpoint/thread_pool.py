"""A thread pool that does not delay the end of the program.

``concurrent.futures`` joins its threads at exit, so after Ctrl-C the program would wait for a server that hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["ThreadPool"]

_POLL = 0.1  # seconds; a thread that waits without a limit receives no exception of another one


class ThreadPool:
    """At most ``size`` daemon threads, started when there are jobs."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def run(self, jobs: Sequence[Callable[[], Any]]) -> Iterator[tuple[int, Any]]:
        """Yield ``(index of the job, result)`` in the order of completion.

        If the caller stops before the last job, jobs that have not started are dropped.

        Raises:
            Exception: that of a job, when it is next in this order.
        """
        done: SimpleQueue[Any] = SimpleQueue()
        stopped = threading.Event()
        for index, job in enumerate(jobs):
            self._jobs.put((index, job, done, stopped))
        while len(self._threads) < min(self.size, len(jobs)):
            thread = threading.Thread(target=self._work, name="endpoint", daemon=True)
            self._threads.append(thread)
            thread.start()
        try:
            for _ in jobs:
                index, result, error = _next(done)
                if error is not None:
                    raise error
                yield index, result
        finally:
            stopped.set()

    def close(self) -> None:
        """Drop the jobs that have not started, and end the threads."""
        try:
            while True:
                self._jobs.get_nowait()
        except Empty:
            pass
        for _ in self._threads:
            self._jobs.put(None)
        self._threads = []

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            index, job, done, stopped = task
            try:
                if not stopped.is_set():
                    done.put((index, job(), None))
            except BaseException as error:  # run() raises it
                done.put((index, None, error))
            # A job refers to its connection, which must be collectable while this thread waits.
            del task, job, done, stopped


def _next(done: SimpleQueue[Any]) -> Any:
    """The next item, awaited in short intervals, so that a time limit can end the wait."""
    while True:
        try:
            return done.get(timeout=_POLL)
        except Empty:
            continue
