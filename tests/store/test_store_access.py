"""Read-only stores, closed stores, and values outside SQLite's range."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from selfreg_gym import Episode, Rollouts, Transition
from selfreg_gym.errors import InvalidArgumentError, StoreError

SCRIPT = """
import os, sys
from selfreg_gym import Episode, Rollouts, Transition
from selfreg_gym.errors import StoreError
if os.getuid() == 0: os.setgid(65534); os.setuid(65534)  # the permissions of files do not bind root
rollouts = Rollouts.open(sys.argv[1])
print(len(rollouts), [episode.task_id for episode in rollouts], rollouts.is_complete)
step = Transition(0, "s", None, "s", None, None, 0, "a", 0.0, 0.0, True, False, False)
try: rollouts.add(Episode(1, 1, "t", "", None, False, (), (step,)))
except StoreError as error: print(error)
"""


def episode(**changes: object) -> Episode:
    values = {"tokens": None, "steps_left": None, "episode": 0, **changes}
    step = Transition(
        0, "s", None, "s", None, values["steps_left"], 0, "a", 0.0, 0.0, True, False, False, values["tokens"]
    )  # type: ignore[arg-type]  # fmt: skip
    return Episode(values["episode"], 0, "t", "", None, False, (), (step,))  # type: ignore[arg-type]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_read_only_store_can_be_read_but_not_continued(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    with Rollouts.create(folder / "r.sqlite", spec={}) as rollouts:
        rollouts.add(episode())
    for path in [tmp_path, *tmp_path.parents[:3]]:
        path.chmod(0o755)
    (folder / "r.sqlite").chmod(0o444)
    folder.chmod(0o555)
    try:
        found = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder / "r.sqlite")], capture_output=True, text=True, timeout=120
        )
    finally:
        folder.chmod(0o755)
    assert found.returncode == 0, found.stderr
    first, second = found.stdout.splitlines()
    assert first == "1 ['t'] True"
    assert "It is read-only" in second


def test_a_closed_store_raises(tmp_path: Path) -> None:
    rollouts = Rollouts.create(tmp_path / "r.sqlite", spec={})
    rollouts.close()
    for use in (rollouts.count, rollouts.missing, rollouts.summary, lambda: rollouts.add(episode())):
        with pytest.raises(StoreError, match=r"Open it again"):
            use()
    assert "closed" in repr(rollouts)


@pytest.mark.parametrize("change", [{"tokens": 2**63}, {"steps_left": 10**30}, {"episode": 2**63}, {"tokens": -1}])
def test_an_integer_beyond_sqlites_range_raises(change: dict, tmp_path: Path) -> None:
    with Rollouts.create(tmp_path / "r.sqlite", spec={}) as rollouts:
        with pytest.raises(InvalidArgumentError, match=r"0 \.\. 2\*\*63 - 1"):
            rollouts.add(episode(**change))
        assert rollouts.add(episode()) == 1
