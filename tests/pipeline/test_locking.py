"""The lock of a run directory: one process at a time, released when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.pipeline import open_run
from selfreg_gym.pipeline.locking import LOCK, locked

HOLD = """
import sys, time
from selfreg_gym.pipeline.locking import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock of ``tmp_path``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_raises_until_the_first_is_killed(tmp_path: Path, holder) -> None:
    with pytest.raises(RunDirectoryError, match=rf"process {holder.pid} is working in .*--out"), locked(tmp_path):
        pass
    with pytest.raises(RunDirectoryError, match="is working in"):
        open_run(tmp_path, preset="smoke")
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK], "nothing was begun"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    assert open_run(tmp_path, preset="smoke").path == tmp_path, "a lock that was left behind begins a run as usual"


def test_the_lock_is_reentrant_in_one_thread_only(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def other() -> None:
        try:
            with locked(tmp_path / "."):
                pass
        except RunDirectoryError as error:
            caught.append(error)

    with locked(tmp_path), locked(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another thread" in str(caught[0])
    with locked(tmp_path):
        pass


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "r" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), locked(tmp_path / "r"):  # noqa: PT011
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_leftover_of_a_killed_process_does_not_block_the_directory(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.7.new").write_text("{")
    (tmp_path / LOCK).write_text("1")
    open_run(tmp_path, preset="smoke")
    assert not (tmp_path / ".manifest.json.7.new").exists()
