"""README and CONTRIBUTING are true: their commands are those of the Makefile, their plug-ins are found and pass."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    return [code for name, code in BLOCK.findall(path.read_text(encoding="utf-8")) if name == language]


def test_readme_keeps_its_order(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    marks = [
        "When should",
        "![",
        "make demo",
        "make test",
        "env.step(",
        "def my_actor",
        "data_flow.svg",
        "docs/files.md",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_readme_is_short(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert len(blocks(repository / "README.md", "python")[0].strip().splitlines()) <= 11, "ten lines step the env"


def test_readme_names_what_make_does(repository: Path) -> None:
    """The two pip lines under each command are what the Makefile runs."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    assert text.count("pip install -c constraints/py311.txt -e '.[dev]'") == 2
    assert "CONSTRAINTS ?= $(or $(wildcard constraints/$(VERSION).txt)" in makefile
    assert "install -q -c $(CONSTRAINTS) -e '.[dev]'" in makefile
    for line in ("run --preset tiny --out runs/demo", '-m "not slow"'):
        assert line in text
        assert line in makefile


@pytest.fixture(scope="module")
def copy_with_plugins(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package into which the files of CONTRIBUTING were dropped."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("selfreg_gym", "agents", "envs"):
        shutil.copytree(repository / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for code in blocks(repository / "CONTRIBUTING.md", "python"):
        first = code.splitlines()[0]
        if match := re.fullmatch(r"# ((?:agents|envs)/\S+\.py)", first):
            assert not (copy / match[1]).exists()
            (copy / match[1]).write_text(code, encoding="utf-8")
    return copy


def _python(copy: Path, code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_contributing_plugins_are_found_by_being_there(copy_with_plugins: Path) -> None:
    out = _python(copy_with_plugins, "from selfreg_gym.cli import main; main(['list', '--json'])")
    found = {group: {entry["name"] for entry in entries} for group, entries in json.loads(out).items()}
    assert "selfreg/Guess-v0" in found["envs"]
    assert "doubtful" in found["interventions"]
    assert "early" in found["helpers"]


def test_contributing_checks_pass(repository: Path, copy_with_plugins: Path) -> None:
    """The blocks that are no files are the contract checks; they run in the copy."""
    checks = [
        code
        for code in blocks(repository / "CONTRIBUTING.md", "python")
        if not code.startswith(("# agents/", "# envs/"))
    ]
    assert len(checks) == 3
    for code in checks:
        assert "check_" in code
        _python(copy_with_plugins, code)


def test_contributing_task_can_be_played(copy_with_plugins: Path) -> None:
    """With its own intervention and helper: who asks at each step wins nearly always, who never asks does not."""
    code = """
import gymnasium as gym, selfreg_gym
from selfreg_gym.agents.helpers.early import Early
from selfreg_gym.evaluation import evaluate
from selfreg_gym.agents.helpers.never import Never
env = {"task": "selfreg/Guess-v0", "actor": lambda text: "5", "interventions": ["doubtful"]}
from selfreg_gym import InterventionVectorEnv
env = InterventionVectorEnv(4, **env, autoreset_mode=gym.vector.AutoresetMode.DISABLED)
rows = evaluate(env, {"never": Never(), "early": Early(9.0)}, tasks=range(5), episodes=8, progress=False).rows
rate = {row["helper"]: row["success_rate"] for row in rows if row["kind"] == "all"}
assert rate["never"] < 0.4 and rate["early"] > 0.7, rate
"""
    _python(copy_with_plugins, code)
