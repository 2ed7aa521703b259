"""Several processes on one store, and kill -9: no committed episode is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import stored
from stored import episode

from selfreg_gym.store.rollouts import Rollouts


def test_reading_sees_a_snapshot_while_others_write(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(episode(seed=seed) for seed in range(3))
    reader = rollouts.episodes()
    next(reader)
    with Rollouts.open(path) as writer:
        writer.add(episode(seed=seed) for seed in range(3, 6))
    assert len(list(reader)) == 2
    assert len(list(rollouts)) == 6


WRITER = """
    import sys
    sys.path.insert(0, {here!r})
    from stored import episode
    from selfreg_gym.store.rollouts import Rollouts
    first, last, run = map(int, sys.argv[2:])
    rollouts = Rollouts.open(sys.argv[1], check=False)
    for seed in range(first, last):
        rollouts.add(episode(seed % 7, seed), run=run)
        print(seed, flush=True)
"""


def start_writer(path: Path, first: int, last: int, run: int = 0) -> subprocess.Popen:
    code = textwrap.dedent(WRITER).format(here=str(Path(stored.__file__).parent))
    command = [sys.executable, "-c", code, str(path), str(first), str(last), str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_write_at_once(rollouts: Rollouts, path: Path) -> None:
    writers = [start_writer(path, 0, 150), start_writer(path, 100, 250), start_writer(path, 0, 100, run=1)]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert sorted(e.seed for e in rollouts.episodes(run=0)) == list(range(250))
    assert sorted(e.seed for e in rollouts.episodes(run=1)) == list(range(100))
    assert all(e == episode(e.seed % 7, e.seed) for e in rollouts)


def test_kill_9_loses_nothing_that_was_committed(rollouts: Rollouts, path: Path) -> None:
    """A writer is killed at a random time, eight times; each time all episodes that it reported are stored."""
    rng = np.random.default_rng(0)
    rollouts.close()
    done = 0
    for _ in range(8):
        writer = start_writer(path, done, 10_000)
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline())]
        time.sleep(float(rng.uniform(0, 0.15)))
        os.kill(writer.pid, signal.SIGKILL)
        reported += [int(line) for line in writer.stdout if line.endswith("\n")]
        writer.wait()
        with Rollouts.open(path) as survivor:
            stored = {e.seed: e for e in survivor}
        assert set(range(reported[-1] + 1)) <= stored.keys()
        assert all(e == episode(seed % 7, seed) for seed, e in stored.items())
        assert len(stored) <= reported[-1] + 2  # at most the one that was committed and not yet reported
        done = len(stored)
    assert done > 8
