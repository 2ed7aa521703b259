"""The contract of every registered task: transcripts, snapshots, hostile actions, and what a process leaves behind.

Tasks of one class are tested in one process. In ``make test`` these are at most three ids of a class, in
``make test-all`` all of them, with more snapshots and actions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from alfworld_games import write_game

from selfreg_gym import registry

REPOSITORY = Path(__file__).resolve().parents[2]
SLOW_STEPS = {"ScienceWorld": 20, "ALFWorld": 10}
"""Classes whose steps take longer -> the number by which snapshots and actions are divided."""


def classes() -> dict[str, list[str]]:
    """Class of tasks -> its ids."""
    found: dict[str, list[str]] = {}
    for entry in registry.describe("envs"):
        if entry.origin == "selfreg_gym":
            found.setdefault(f"{entry.attribute}", []).append(entry.name)
    return found


CLASSES = classes()


@pytest.fixture(autouse=True)
def made_games(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small games in place of the data that users of ALFWorld download."""
    if "ALFWORLD_DATA" in os.environ or not (find_spec("alfworld") and find_spec("fast_downward")):
        return
    root = tmp_path_factory.getbasetemp() / "alfworld_data"
    train = root / "json_2.1.1" / "train"
    if not root.exists():
        for trial in range(3):
            write_game(train / "pick_and_place_simple-Mug-None-CounterTop-3" / f"trial_{trial}", cabinets=2 + trial)
        heat = "pick_heat_then_place_in_recep"
        write_game(train / f"{heat}-Apple-None-Fridge-7" / "trial_0", heat)
    monkeypatch.setenv("ALFWORLD_DATA", str(root))


def some(ids: list[str], count: int = 3) -> list[str]:
    """At most ``count`` of the ids, evenly spaced."""
    return ids if len(ids) <= count else [ids[i * (len(ids) - 1) // (count - 1)] for i in range(count)]


def start(folder: Path, *words: str, hash_seed: str = "0") -> subprocess.Popen[str]:
    """A process with the stress test of tasks, in an empty folder and in a session of its own."""
    for name in ("work", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": hash_seed, "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "selfreg_gym.testing", *words],
        cwd=folder / "work", env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def session(leader: int) -> list[str]:
    """The processes of a session that still run, without the leader."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:  # it has ended
            continue
        state, _, _, number = rest.split()[:4]
        if int(number) == leader and state != "Z" and path.parent.name != str(leader):
            found.append(name)
    return found


def gone(leader: int, seconds: float = 20.0) -> list[str]:
    """The processes of a session that still run after a while."""
    end = time.monotonic() + seconds
    while (left := session(leader)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def run(folder: Path, *words: str, hash_seed: str = "0") -> list[dict[str, Any]]:
    """The lines of a process; it must leave no file and no process."""
    process = start(folder, *words, hash_seed=hash_seed)
    out, errors = process.communicate(timeout=1800)
    assert process.returncode == 0, errors
    assert gone(process.pid) == []
    assert not list((folder / "work").iterdir()), "files in the working directory"
    assert not [path for path in (folder / "tmp").iterdir() if not path.name.startswith("hsperfdata")]
    return [json.loads(line) for line in out.splitlines() if line.startswith('{"task"')]


def check(folder: Path, ids: list[str], *, snapshots: int, hostile: int) -> None:
    counts = ("--snapshots", str(snapshots), "--hostile", str(hostile))
    first = run(folder / "a", *ids, *counts)
    if any(one["missing"] or "data" in (one["error"] or "") for one in first):
        pytest.skip(first[0]["error"])
    assert [one["task"] for one in first] == ids
    assert {one["task"]: one["error"] for one in first} == dict.fromkeys(ids)
    again = run(folder / "b", *ids, "--snapshots", "0", "--hostile", "0", hash_seed="7")
    assert [one["digest"] for one in again] == [one["digest"] for one in first], "another transcript in a fresh process"


@pytest.mark.parametrize("name", CLASSES)
def test_a_task_keeps_its_contract_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    slower = SLOW_STEPS.get(name, 1)
    check(tmp_path, some(CLASSES[name]), snapshots=max(50 // slower, 5), hostile=200 // slower)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_a_task_keeps_its_contract_for_long(name: str, tmp_path: Path) -> None:
    slower = SLOW_STEPS.get(name, 1)
    for number, task in enumerate(some(CLASSES[name])):
        check(tmp_path / str(number), [task], snapshots=1000 // slower, hostile=10_000 // slower)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, ids in CLASSES.items() if len(ids) > 3])
def test_every_id_keeps_the_contract(name: str, tmp_path: Path) -> None:
    check(tmp_path, CLASSES[name], snapshots=50, hostile=200)


@pytest.mark.parametrize("name", CLASSES)
def test_a_killed_process_leaves_no_process(name: str, tmp_path: Path) -> None:
    process = start(tmp_path, *[CLASSES[name][0]] * 99, "--snapshots", "0", "--hostile", "50")
    assert process.stdout is not None
    process.stdout.readline()  # it has played the first of its tasks, and goes on
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert gone(process.pid) == []
