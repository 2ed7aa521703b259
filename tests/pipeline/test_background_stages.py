"""Background stages, which run in a process of their own."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from small_stages import opened

from selfreg_gym.pipeline.execution import Stage, run_stages

JOBS = '''
    import os, time

    def slow(run):
        """Ends only when the stage after it is done: so the two must have run at the same time."""
        with run.writing("slow", "slow.txt") as out:
            end = time.monotonic() + 60
            while not (run.path / "quick.txt").exists():
                if time.monotonic() > end:
                    raise TimeoutError("the other stage did not run at the same time")
                time.sleep(0.01)
            out.write_text(str(os.getpid()))
        return {"pid": os.getpid()}

    def quick(run):
        with run.writing("quick", "quick.txt") as out:
            out.write_text("quick")

    def both(run):
        with run.writing("both", "both.txt") as out:
            out.write_text((run.path / "slow.txt").read_text())

    def fails(run):
        (run.partial("slow") / "state").write_text("half done")
        raise ValueError("out of luck")
'''


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Functions of stages in a module, which the background process imports."""
    (tmp_path / "stage_jobs.py").write_text(textwrap.dedent(JOBS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stage_jobs", raising=False)
    return importlib.import_module("stage_jobs")


def test_a_background_stage_runs_with_stages_that_do_not_read_its_output(jobs: Any, tmp_path: Path) -> None:
    side = (
        Stage("slow", jobs.slow, (), ("slow.txt",), (), background=True),
        Stage("quick", jobs.quick, (), ("quick.txt",), ()),
        Stage("both", jobs.both, ("slow.txt", "quick.txt"), ("both.txt",), ()),
    )
    run, said = opened(tmp_path / "r", "collect.workers=2")
    run_stages(run, side)
    assert (run.path / "both.txt").read_text() == (run.path / "slow.txt").read_text() != str(os.getpid())
    assert [line.split()[1] for line in said if "done" in line] == ["quick:", "slow:", "both:"]
    again, said = opened(tmp_path / "r", "collect.workers=2")
    run_stages(again, side)
    assert all("up to date" in line for line in said)


def test_a_background_stage_that_fails_raises_and_continues_later(jobs: Any, tmp_path: Path) -> None:
    side = (
        Stage("slow", jobs.fails, (), ("slow.txt",), (), background=True),
        Stage("quick", jobs.quick, (), ("quick.txt",), ()),
    )
    run, _ = opened(tmp_path / "r", "collect.workers=2")
    with pytest.raises(ValueError, match="out of luck"):
        run_stages(run, side)
    assert "slow" not in run.manifest.data["stages"]
    assert "quick" in run.manifest.data["stages"]
    assert (run.partial("slow") / "state").read_text() == "half done", "what it had is kept for the next attempt"
