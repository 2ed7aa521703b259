"""Calls with a time limit: returned values, exceptions, interruption of the call, and context variables."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import sys
import threading
import time
from pathlib import Path

import pytest

from selfreg_gym.errors import SetupError
from selfreg_gym.utils import time_limit
from selfreg_gym.utils.time_limit import CallTimedOutError, Interrupted, call_within, raise_if_interrupted

LANGUAGE = contextvars.ContextVar("LANGUAGE", default="none")


def threads() -> int:
    return sum(thread.name == "call with a time limit" for thread in threading.enumerate())


def wait_for_threads(count: int) -> None:
    deadline = time.monotonic() + 20
    while threads() > count:
        assert time.monotonic() < deadline, "the interrupted call goes on"
        time.sleep(0.01)


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_the_value_and_the_exception_are_those_of_the_call(seconds: float | None) -> None:
    assert call_within(seconds, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(seconds, lambda: 1 // 0)
    with pytest.raises(SystemExit):
        call_within(seconds, lambda: (_ for _ in ()).throw(SystemExit(2)))


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_the_call_sees_the_context_variables_of_its_caller(seconds: float | None) -> None:
    token = LANGUAGE.set("English")
    try:
        assert call_within(seconds, LANGUAGE.get) == "English"
    finally:
        LANGUAGE.reset(token)


def test_without_a_limit_there_is_no_thread() -> None:
    assert call_within(None, threading.current_thread) is threading.current_thread()
    assert call_within(60.0, threading.current_thread) is not threading.current_thread()


def test_a_loop_of_python_code_is_interrupted_also_if_it_catches_exceptions() -> None:
    def spin() -> None:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.001)

    before = threads()
    with pytest.raises(CallTimedOutError):
        call_within(0.05, spin)
    wait_for_threads(before)


def test_a_call_that_was_blocked_stops_when_it_returns_to_python() -> None:
    door, done = threading.Event(), []

    def blocked() -> None:
        door.wait()
        done.append(1)

    before = threads()
    with pytest.raises(CallTimedOutError):
        call_within(0.05, blocked)
    door.set()
    wait_for_threads(before)
    assert not done


def test_a_call_that_catches_the_interruption_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin() -> None:
        while True:
            time.sleep(0.001)

    def stubborn() -> None:
        for _ in range(3):
            with contextlib.suppress(BaseException):
                spin()

    monkeypatch.setattr(time_limit, "_PAUSE", 0.0)
    before = threads()
    with pytest.raises(CallTimedOutError):
        call_within(0.05, stubborn)
    deadline = time.monotonic() + 20
    while threads() > before:
        assert time.monotonic() < deadline, "the interrupted call goes on"
        call_within(60.0, lambda: time.sleep(0.01))


def test_an_import_that_has_begun_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for seconds in (0.1, 0.4, 1.6, 6.4):  # until the import begins within the limit, also on a busy machine
        name = f"slow_{seconds}".replace(".", "_")
        (tmp_path / f"{name}.py").write_text(f"import time\nfor _ in range(300):\n    time.sleep({seconds} / 200)\n")
        importlib.invalidate_caches()
        with contextlib.suppress(CallTimedOutError):
            assert call_within(seconds, functools.partial(importlib.import_module, name)) is sys.modules[name]
            return
    raise AssertionError("the import was interrupted")


def test_a_limit_of_any_length_is_possible() -> None:
    assert call_within(1e300, lambda: time.sleep(0.2) or 3) == 3


def test_a_system_without_threads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(
        SetupError, match=r"starts no more \(can't start new thread\): 0 calls whose time is over go on"
    ):
        call_within(60.0, lambda: 3)


def test_the_call_can_ask_whether_its_time_is_over() -> None:
    raise_if_interrupted()  # not in the thread of a call
    answers: list[str] = []
    release = threading.Event()

    def ask() -> None:
        raise_if_interrupted()
        try:
            while not release.is_set():
                time.sleep(0.001)
        except Interrupted:
            pass  # a plug-in that catches everything
        try:
            raise_if_interrupted()
        except Interrupted:
            answers.append("over")

    before = threads()
    with pytest.raises(CallTimedOutError):
        call_within(0.05, ask)
    wait_for_threads(before)
    assert answers == ["over"]
