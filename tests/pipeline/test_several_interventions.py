"""A whole run with two interventions that act alike and have different costs, so that the cheap one is the optimum."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from selfreg_gym import Rollouts, TransitionModel, solve_budget
from selfreg_gym.errors import ConfigError
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.runner import advance, open_run

TWO = (
    "task.id=selfreg/Coin-v0", "task.kwargs={}", "interventions.ids=['expert', 'cheap=expert']",
    "interventions.kwargs={cheap={cost=0.25}}", "collect.tasks=8", "collect.episodes=20",
    "collect.help_probabilities=[0.1, 0.3, 0.5, 0.7, 0.9]", "collect.help_shares=[0.3, 0.7]",
    "calibrate.tasks=8", "calibrate.episodes=24", "calibrate.max_episodes=24", "evaluate.tasks=8",
    "evaluate.episodes=4", "evaluate.budgets=[0.5]", "prm.max_states=32",
    "evaluate.helpers=['never', 'always', 'random', 'every-k', 'dp', 'fitted', 'lm']", "values.rounds=8",
)  # fmt: skip


@pytest.mark.slow
def test_every_stage_works_with_two_interventions(tmp_path: Path) -> None:
    out = tmp_path / "run"
    advance(open_run(out, preset="smoke", overrides=TWO, progress=False, say=lambda line: None))
    with Rollouts.open(out / "rollouts.sqlite") as rollouts:
        columns = rollouts.columns("action", "propensities", "help_probability")
        for p, chances in zip(columns["help_probability"], columns["propensities"], strict=True):
            np.testing.assert_allclose(chances, [1 - p, 0.3 * p, 0.7 * p], atol=1e-6)
        assert np.bincount(columns["action"]).argmin() == 1
        assert rollouts.spec["help_shares"] == [0.3, 0.7]
    model = TransitionModel.load(out / "transitions.npz")
    limited = solve_budget(model, budget=[0.0, 0.5])
    assert limited.expected_success >= solve_budget(model, budget=0.5).expected_success - 0.05
    found = json.loads((out / "evaluation.json").read_text())
    rows = {row["key"]: row for row in found["rows"] if row["kind"] == "all"}
    assert {"always", "always:cheap", "every-k:expert@1", "every-k:cheap@1", "random@0.5"} <= rows.keys()
    for name in ("dp@0.5", "fitted@0.5", "lm@0.5"):
        usage, calls = rows[name]["usage_by_intervention"], rows[name]["calls_by_intervention"]
        assert len(usage) == len(calls) == 2
        assert sum(usage) == pytest.approx(rows[name]["usage"])
        assert usage[0] == pytest.approx(calls[0])
        assert usage[1] == pytest.approx(0.25 * calls[1])
    for name in ("dp@0.5", "fitted@0.5"):
        assert rows[name]["calls_by_intervention"][1] > 2 * rows[name]["calls_by_intervention"][0]
    assert rows["always"]["usage"] == pytest.approx(4 * rows["always:cheap"]["usage"])
    page = (out / "report.html").read_text()
    assert "Usage by intervention" in page
    assert all(name in page for name in ("expert", "cheap"))


@pytest.mark.parametrize("shares", ["[0.5]", "[0.5, 0.6]", "[0.2, 0.3, 0.5]"])
def test_shares_must_fit_the_interventions(shares: str) -> None:
    with pytest.raises(ConfigError, match=r"help_shares must have one number per intervention \(2\), with the sum 1"):
        load_config(overrides=["interventions.ids=['expert', 'strong']", f"collect.help_shares={shares}"])


def test_equal_shares_do_not_change_the_identity_of_a_run() -> None:
    assert "help_shares" not in load_config(preset="tiny").collect.identity()
