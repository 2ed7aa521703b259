"""A whole run of a task without any keys: a state is an observation, and the task reports a feature vector."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selfreg_gym import Rollouts, TransitionModel


@pytest.mark.slow
def test_every_stage_works_without_keys(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "selfreg_gym", "run", "--preset", "smoke", "--out", str(out)]
    hidden = ["--set", "task.kwargs.keys=false", "--set", "task.kwargs.vector=true"]
    result = subprocess.run([*command, *hidden], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stdout + result.stderr
    with Rollouts.open(out / "rollouts.sqlite") as rollouts:
        columns = rollouts.columns("state_key", "observation", "feature_key", "feature_vector")
        assert columns["state_key"].values == columns["observation"].values
        assert (columns["feature_key"].codes == -1).all()
        assert columns["feature_vector"].shape == (rollouts.transition_count(), 41)
        assert rollouts.spec["env"]["task_kwargs"]["keys"] is False
    assert TransitionModel.load(out / "transitions.npz").coverage()["feature_nodes"] == 0
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    assert all(row["errors"] == 0 for row in rows)
    assert (out / "report.html").exists()
