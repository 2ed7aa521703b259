"""The cache of answers: keys, ``kill -9``, several processes, foreign files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym.endpoint.cache import AnswerCache, request_key
from selfreg_gym.errors import StoreError
from selfreg_gym.store.rollouts import Rollouts


def test_the_key_depends_on_the_whole_request() -> None:
    keys = {
        request_key("/completions", {"model": "m", "prompt": "p", "temperature": 1}, 5),
        request_key("/completions", {"model": "m", "prompt": "p", "temperature": 1}, 6),
        request_key("/completions", {"model": "m", "prompt": "p", "temperature": 1}, None),
        request_key("/completions", {"model": "m", "prompt": "p", "temperature": 0}, 5),
        request_key("/completions", {"model": "n", "prompt": "p", "temperature": 1}, 5),
        request_key("/chat/completions", {"model": "m", "prompt": "p", "temperature": 1}, 5),
    }
    assert len(keys) == 6
    assert request_key("/x", {"a": 1, "b": 2}, 0) == request_key("/x", {"b": 2, "a": 1}, 0)


def test_the_first_answer_of_a_key_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.sqlite"
    one, other = AnswerCache(path), AnswerCache(path)
    one.put(b"k", {"text": "\ud83d \u0000 идти"})
    other.put(b"k", {"text": "later"})
    assert other.get(b"k") == one.get(b"k") == {"text": "\ud83d \u0000 идти"}
    assert other.get(b"none") is None
    assert len(one) == 1
    one.close()
    assert AnswerCache(path).get(b"k")


def test_any_thread_can_use_it(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.sqlite")
    found: list[Any] = []

    def use() -> None:
        cache.put(b"k", 1)
        found.append(cache.get(b"k"))
        cache.close()

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [1]


def test_other_files_are_refused_and_unchanged(tmp_path: Path) -> None:
    store = tmp_path / "rollouts.sqlite"
    Rollouts.create(store, spec={}).close()
    with pytest.raises(StoreError, match="not a cache of answers"):
        AnswerCache(store)
    Rollouts.open(store).close()
    foreign = tmp_path / "other.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="another database"):
        AnswerCache(foreign)
    text = tmp_path / "notes.txt"
    text.write_text("notes " * 1000)
    with pytest.raises(StoreError, match=r"notes\.txt cannot be used as a cache"):
        AnswerCache(text)
    assert text.read_text() == "notes " * 1000


WRITER = """
    import sys
    from selfreg_gym.endpoint.cache import AnswerCache
    cache, name = AnswerCache(sys.argv[1]), sys.argv[2]
    for i in range(100_000):
        cache.put(f"{name} {i}".encode(), {"text": f"answer {i} of {name} " * 20})
        print(i, flush=True)
"""


def test_kill_9_loses_no_stored_answer_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    processes = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True, start_new_session=True) for name in "ab"
    ]
    last = []
    for process in processes:
        assert process.stdout is not None
        for _ in range(60):
            process.stdout.readline()
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    for process in processes:
        assert process.stdout is not None
        lines = process.stdout.read().split()
        last.append(int(lines[-1]) if lines else 59)
        process.wait(timeout=20)
    cache = AnswerCache(path)
    for name, count in zip("ab", last, strict=True):
        for i in (0, count // 2, count):
            assert cache.get(f"{name} {i}".encode()) == {"text": f"answer {i} of {name} " * 20}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
