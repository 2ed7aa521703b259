"""A task without any keys, made by the function on the page "Bring your own task": every stage of a run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfreg_gym import Rollouts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how_to" / "bring_your_own_task.md"


@pytest.mark.slow
@pytest.mark.parametrize("history", [None, 2])
def test_every_stage_works(tmp_path: Path, history: int | None) -> None:
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    (tmp_path / "blackjack.py").write_text(block.split("def actor(")[0])
    shell = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    sets = re.findall(r"--set (?:'([^']*)'|(\S+))", shell)
    options = [quoted or plain for quoted, plain in sets]
    assert "task.id=blackjack:make_task" in options
    options += ["collect.tasks=12", "evaluate.tasks=12", "calibrate.tasks=6"]
    options += [] if history is None else [f"task.history={history}"]
    out = tmp_path / "run"
    command = [sys.executable, "-m", "selfreg_gym", "run", "--preset", "smoke", "--out", str(out)]
    command += [part for option in options for part in ("--set", option)]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    with Rollouts.open(out / "rollouts.sqlite") as rollouts:
        columns = rollouts.columns("state_key", "observation", "feature_key", "feature_vector")
        assert columns["state_key"].values == columns["observation"].values
        assert (columns["feature_key"].codes == -1).all()
        assert any("\n> " in text for text in columns["observation"].values) is (history is not None)
    found = json.loads((out / "evaluation.json").read_text())
    assert {row["split"] for row in found["rows"]} == {"collected", "new"}
    assert all(row["errors"] == 0 for row in found["rows"])
    assert {"never", "always", "random", "dp", "fitted", "lm", "prm-threshold"} <= {
        row["helper"].partition("@")[0].partition(":")[0] for row in found["rows"]
    }
    assert (out / "report.html").exists()
