"""The programs in examples/ run, and show what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from example_files import load_example

from selfreg_gym import evaluate, registry


def test_the_helper_of_compare_helpers_beats_random(repository: Path) -> None:
    """Each of its cost units gains more success than one that is spent at random, and it spends less."""
    example = load_example(repository / "examples" / "compare_helpers.py")
    helpers = {"never": registry.load("helpers", "never")(), "random": registry.load("helpers", "random")(0.15)}
    helpers["when-lost"] = example.WhenLost(2)
    found = evaluate(example.env("test-seen"), helpers, tasks=range(84), episodes=3, progress=False)
    rows = {row["helper"]: row for row in found.rows if row["kind"] == "all"}
    alone = rows["never"]["success_rate"]
    gain = {name: (rows[name]["success_rate"] - alone) / rows[name]["usage"] for name in ("random", "when-lost")}
    assert rows["when-lost"]["usage"] <= rows["random"]["usage"]
    assert gain["when-lost"] > 1.3 * gain["random"] > 0


def test_a_batch_of_when_lost_is_its_rows(repository: Path) -> None:
    helper = load_example(repository / "examples" / "compare_helpers.py").WhenLost(1)
    lost = 'Earlier the human said: "I had a snack there."\nYou can: Done!\nYou are in Room 4 and hold nothing.'
    found = lost.replace("Done!", "Pick up the cup, Done!")
    actions, state = helper.predict([lost, found])
    assert actions.tolist() == [1, 0]
    assert helper.predict([lost, lost], state)[0].tolist() == [0, 1], "one call per episode"
    assert helper.predict([lost, lost], state, [True, False])[0].tolist() == [1, 1]
    assert helper.predict(lost)[0] == 1


def test_collect_runs(repository: Path, tmp_path: Path) -> None:
    program = repository / "examples" / "collect.py"
    command = [sys.executable, program, tmp_path / "r.sqlite", "--tasks", "2", "--episodes", "4"]
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "recurrence" in run.stdout
