"""Calls with a time limit: each runs in a thread of its own, which is interrupted when the limit is over."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from selfreg_gym.errors import SetupError

__all__ = ["CallTimedOutError", "Interrupted", "call_within", "raise_if_interrupted"]

T = TypeVar("T")

_LONGEST_IMPORT = 120.0  # seconds
_PAUSE = 1.0  # seconds between two interruptions of a call, in which it can clean up

_late: list[_CallThread[Any]] = []


class CallTimedOutError(Exception):
    """A call did not return within its time limit."""


class Interrupted(BaseException):
    """Raised in the thread of a call whose time is over."""


def call_within(seconds: float | None, call: Callable[[], T]) -> T:
    """Return ``call()``, or raise if it takes too long.

    With a limit, the call runs in a daemon thread, with a copy of the caller's context variables. When the limit is
    over, or when the waiting thread is interrupted itself (Ctrl-C), :class:`Interrupted` is raised in the call's thread
    as soon as it executes Python code. A call that waits in compiled code goes on until it returns to Python. If a call
    catches the exception and goes on, the next calls with a limit raise it again. An import that is in progress when
    the limit is over is awaited first, up to two minutes: many modules that are imported in part cannot be imported
    again.

    Args:
        seconds: the limit, above 0; None: no limit, and no thread.
        call: a function without arguments.

    Raises:
        CallTimedOutError: the limit is over.
        SetupError: the system starts no more threads.
        BaseException: the exception that ``call`` raised.
    """
    if seconds is None:
        return call()
    _interrupt_again()
    thread = _CallThread(call)
    try:
        thread.start()
    except RuntimeError as error:
        others = sum(isinstance(one, _CallThread) for one in threading.enumerate())
        raise SetupError(
            f"a call with a time limit needs a thread, and the system starts no more ({error}): {others} calls whose "
            "time is over go on, because they wait outside of Python. Repair what they wait for."
        ) from error
    try:
        ended = thread.ended.wait(min(seconds, threading.TIMEOUT_MAX))
        latest = time.monotonic() + _LONGEST_IMPORT
        while not ended and _imports(thread) and time.monotonic() < latest:
            ended = thread.ended.wait(0.01)
    except BaseException:
        thread.interrupt()
        raise
    if not ended:
        thread.interrupt()
        raise CallTimedOutError
    return thread.result()


def raise_if_interrupted() -> None:
    """Raise :class:`Interrupted` in the thread of a call whose time is over; do nothing in other threads."""
    thread = threading.current_thread()
    if isinstance(thread, _CallThread) and thread.interrupted:
        raise Interrupted


def _interrupt_again() -> None:
    """Raise ``Interrupted`` in the threads of earlier calls that still run."""
    for thread in _late[:]:
        if thread.ended.is_set() or not thread.is_alive():
            with contextlib.suppress(ValueError):  # another thread has removed it
                _late.remove(thread)
        elif time.monotonic() >= thread.interrupted_at + _PAUSE:
            thread.interrupt()


def _imports(thread: threading.Thread) -> bool:
    """Whether a thread is importing a module."""
    frame = None if thread.ident is None else sys._current_frames().get(thread.ident)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


class _CallThread(threading.Thread, Generic[T]):
    """The thread of one call."""

    def __init__(self, call: Callable[[], T]) -> None:
        super().__init__(name="call with a time limit", daemon=True)
        self.ended = threading.Event()
        self.interrupted = False
        self.interrupted_at = 0.0  # of time.monotonic
        self._call, self._context = call, contextvars.copy_context()
        self._ending = threading.Lock()
        self._returned: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        with contextlib.suppress(Interrupted):
            try:
                self._returned.append(self._context.run(self._call))
            except BaseException as error:
                if not self.interrupted:  # else no thread waits for it
                    self._error = error
            with self._ending:
                self.ended.set()

    def interrupt(self) -> None:
        """Raise ``Interrupted`` in this thread, unless it has ended."""
        if not self.interrupted:
            _late.append(self)
        self.interrupted, self.interrupted_at = True, time.monotonic()
        with self._ending:
            if self.ident is not None and not self.ended.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(Interrupted))

    def result(self) -> T:
        """The value that the call returned; its exception is raised."""
        error, self._error = self._error, None  # an error refers to its frames, and these to this thread
        if error is not None:
            raise error
        return self._returned.pop()
