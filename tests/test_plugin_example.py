"""The example of plug-ins is a complete distribution: it is installed without network, found, checked and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

RUN = """
import sys
from pathlib import Path

from selfreg_gym import Rollouts, TransitionModel, collect, evaluate, registry, solve_budget, write_report
from selfreg_gym.intervention_env.interventions import build_interventions
from selfreg_gym.testing import check_actor, check_helper, check_intervention, check_task

TASK = "selfreg_lock/Lock-v0"
run = Path(sys.argv[1])
origins = {entry.name: entry.origin for group in registry.GROUPS for entry in registry.describe(group)}
mine = [name for name, origin in origins.items() if origin == "selfreg-lock"]
assert mine == [TASK, "lock-guesser", "lock-hint", "locksmith", "lock-last-tries"], mine

check_task(TASK)
check_actor(registry.load("actors", "lock-guesser")(), task=TASK)
interventions = build_interventions(["locksmith", "lock-hint"])
assert [(one.name, one.cost, one.privileged) for one in interventions] == [
    ("locksmith", 1.0, True), ("lock-hint", 0.3, False),
]
for one in interventions:
    check_intervention(one, task=TASK)
helper = registry.load("helpers", "lock-last-tries")
check_helper(helper(), task=TASK, interventions=["locksmith", "lock-hint"])

env = {"task": TASK, "actor": "lock-guesser", "interventions": ["locksmith", "lock-hint"]}
with collect(env, store=run / "rollouts.sqlite", tasks=range(6), episodes=33, progress=False) as rollouts:
    assert rollouts.is_complete
    model = TransitionModel.fit(rollouts, key="feature")
best = solve_budget(model, budget=0.6)
assert 0 < best.expected_usage <= 0.6 + 1e-9

helpers = {"never": registry.load("helpers", "never")(), "always": registry.load("helpers", "always")(),
           "lock-last-tries": helper(3.0)}
found = evaluate(env, helpers, tasks=range(6), episodes=4, progress=False, warn=False)
rate = {row["helper"]: row["success_rate"] for row in found.rows if row["kind"] == "all"}
assert rate["always"] == 1.0 > rate["never"], rate
found.save(run / "evaluation.json")
print(write_report(run))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the distribution is installed, from a copy, because a build writes into its source."""
    root = tmp_path_factory.mktemp("plugin")
    shutil.copytree(
        REPOSITORY / "examples/plugin", root / "source", ignore=shutil.ignore_patterns("build", "*.egg-info")
    )
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *options, "--target", str(root / "target"), str(root / "source")]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root / "target"


def test_the_plugins_are_found_checked_and_run(installed: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(installed), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "last tries" in report


def test_the_config_of_the_example_is_valid(installed: Path) -> None:
    code = (
        "from selfreg_gym.pipeline.config import load_config\n"
        "from selfreg_gym.pipeline.validation import validate\n"
        "import sys\n"
        "validate(load_config(path=sys.argv[1]))\n"
    )
    config = REPOSITORY / "examples/plugin/lock.toml"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(REPOSITORY)])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(config)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
