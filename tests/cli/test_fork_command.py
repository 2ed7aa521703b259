"""The command ``fork`` on a small run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from command_line import said

from selfreg_gym.cli.fork_command import _gain
from selfreg_gym.forks import Forks
from selfreg_gym.pipeline import advance, open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solved run on coins."""
    path = tmp_path_factory.mktemp("fork") / "coin"
    changes = ("task.id=selfreg/Coin-v0", "actor.id=scripted", "collect.episodes=6", "collect.workers=1")
    opened = open_run(path, preset="smoke", overrides=changes, progress=False, say=lambda line: None)
    advance(opened, ["collect", "fit", "solve"])
    return path


def test_a_run_is_forked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "fork", str(run), "--states", "6", "--repetitions", "4", "--workers", "1")
    assert (code, err) == (0, "")
    found = Forks.load(run / "forks" / "random-nohelp.json")
    assert found.success.shape == (6, 2, 4)
    assert "S(1) - S(0): mean over states" in out
    assert "correlation" in out
    assert (run / "forks" / "random-nohelp.csv").read_text().count("\n") == 13
    assert not list((run / "forks").glob(".*"))


def test_sequences_a_helper_and_another_file(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "fork",
        str(run),
        "--states",
        "3",
        "--repetitions",
        "2",
        "--by",
        "gain",
        "--then",
        "dp@1",
        "--workers",
        "1",
    ]
    code, out, err = said(capsys, *words, "--first", "0+1", "--first", "1+1", "--to", str(tmp_path / "f.json"))
    assert (code, err) == (0, "")
    assert json.loads((tmp_path / "f.json").read_text())["first_actions"] == [[0, 1], [1, 1]]
    assert "S(1+1) - S(0+1)" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "luck"], "unknown choice of states"),
        (["--first", "one"], "joined by"),
        (["--first", "7"], "first_actions"),
        (["--then", "nobody"], "nobody"),
        (["--by", "decisive", "--least", "1.5"], "smaller limit"),
    ],
)
def test_faults_are_explained(run: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, _, err = said(capsys, "fork", str(run), *words)
    assert code == 2
    assert message in err


def test_gains_have_no_negative_zero_and_no_nan() -> None:
    assert [_gain(value) for value in (math.nan, -0.001, -0.016)] == ["unknown", "+0.00", "-0.02"]
