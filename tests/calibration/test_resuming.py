"""A calibration that was interrupted: what was finished is kept, and it comes out as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym.calibration import calibrate_many, search

MODULE = '''
"""Two helpers on the Coin task, the second of which dawdles while the variable DAWDLE is set."""

import os
import sys
import time

import numpy as np

from selfreg_gym import Intervention
from selfreg_gym.calibration import calibrate_many


def heads(text):
    return "heads"


class Expert:
    def act(self, decisions):
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]


class Rate:
    knob_bounds = (0.0, 1.0)

    def __init__(self, knob=0.5, seed=0):
        self.knob, self.seed = knob, seed

    def with_knob(self, x):
        return type(self)(x, self.seed)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        rng = np.random.default_rng(self.seed) if state is None else state
        return (rng.random(len(observation)) < self.knob).astype(int), rng


class SlowRate(Rate):
    def predict(self, *arguments, **more):
        time.sleep(float(os.environ.get("DAWDLE", 0)))
        return super().predict(*arguments, **more)


def run(folder, workers=1):
    env = {"task": "selfreg/Coin-v0", "actor": heads, "interventions": [Intervention(Expert(), name="see")]}
    requests = {"quick@0.5": (Rate(), 0.5), "quick@1": (Rate(), 1.0), "slow@1": (SlowRate(), 1.0)}
    found = calibrate_many(requests, env, tasks=range(8), episodes=96, resume=folder, workers=workers)
    return {key: helper.calibration for key, helper in found.items()}


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "dawdling.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "dawdling", raising=False)
    import dawdling  # type: ignore[import-not-found]

    yield dawdling
    sys.modules.pop("dawdling", None)


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_ctrl_c_only_the_unfinished_helper_is_played_again(
    module: Any, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = module.run(None)
    folder = tmp_path / "found"
    child = subprocess.Popen(
        [sys.executable, str(tmp_path / "dawdling.py"), str(folder), str(workers)],
        env={**os.environ, "DAWDLE": "30"},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 240
        while not list(folder.glob("*.json")):
            assert child.poll() is None, "it ended before it was interrupted"
            assert time.monotonic() < deadline, "no helper was finished"
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(60) != 0
    finally:
        child.kill()
    assert b"KeyboardInterrupt" in child.stderr.read()
    kept = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert kept == [{key: whole[key] for key in ("quick@0.5", "quick@1")}]

    played: list[str] = []
    real = search.run_episodes

    def spying(env: Any, specs: Any, helper: Any, **more: Any) -> Any:
        played.append(helper.type_name)
        return real(env, specs, helper, **more)

    monkeypatch.setattr(search, "run_episodes", spying)
    assert module.run(folder) == whole
    assert set(played) == {"SlowRate"}
    played.clear()
    assert module.run(folder) == whole
    assert not played


def test_a_changed_request_is_calibrated_again(module: Any, tmp_path: Path) -> None:
    help_ = [module.Intervention(module.Expert(), name="see")]
    env = {"task": "selfreg/Coin-v0", "actor": module.heads, "interventions": help_}
    asked: dict[str, Any] = {"tasks": range(2), "episodes": 4, "resume": tmp_path / "found"}
    requests = {"a": (module.Rate(), 0.0)}
    for change in ({}, {"seed": 1}, {"tolerance": 0.5}, {"episodes": 6}):
        calibrate_many(requests, env, **{**asked, **change})
    calibrate_many({"a": (module.SlowRate(), 0.0)}, env, **asked)
    calibrate_many({"a": (module.Rate(), 0.1)}, env, **asked)
    assert len(list((tmp_path / "found").glob("*.json"))) == 6


def test_tasks_by_key_and_common_models(module: Any) -> None:
    """Helpers with a common model stay in one process; each key has its own tasks."""
    from selfreg_gym.calibration.calibrating import _families
    from selfreg_gym.calibration.search import Group

    model = module.Expert()

    def holding(part: Any) -> Any:
        helper = module.Rate()
        helper.model = part
        return helper

    groups = [
        Group(helper, (), 0, {name: (1.0, 0.5)})
        for helper, name in [(holding(None), "a"), (holding(model), "b"), (holding(None), "c"), (holding(model), "d")]
    ]
    assert _families(groups) == [[1, 3], [0], [2]]
