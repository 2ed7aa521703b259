"""The report of long episodes and of many kinds of tasks: small budgets are enlarged, and tables stay narrow."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from long_tasks import LongTask

from selfreg_gym import registry
from selfreg_gym.evaluation import Evaluation, evaluate
from selfreg_gym.report import write_report
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.plots import success_and_usage
from selfreg_gym.report.sections import TRACED_KINDS

TASKS = 9
Random = registry.load("helpers", "random")


class Deployed(Random):
    """Random help that is shown like a trained helper."""

    role, minor, label, reference = "deployable", False, "Deployed", None


def evaluated(deployed: dict[str, float]) -> Evaluation:
    """Episodes of 50 steps under never, always and random help; each task is of a kind of its own."""
    helpers = {name: registry.load("helpers", name)() for name in ("never", "always")}
    helpers |= {key: Deployed(probability) for key, probability in deployed.items()}
    env = {"task": lambda: LongTask(steps=50, actions=10), "actor": "noisy", "interventions": ["expert"]}
    env["actor_kwargs"] = {"noise": 0.9}
    options = {"tasks": range(TASKS), "episodes": 2, "traces": 1, "progress": False, "warn": False}
    found = evaluate(env, helpers, split="new", fixed_tasks=False, **options)
    table = found.table()
    kinds = np.array([f"kind-{task}" for task in table.task_index], dtype=object)
    traces = [{**trace, "task": task, "kind": f"kind-{task}"} for trace in found.traces for task in range(TASKS)]
    return Evaluation({"new": dataclasses.replace(table, kinds=kinds, _weights={})}, {}, {}, traces, found.meta)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluated({"deployed@1": 0.02, "deployed@2": 0.04})


@pytest.fixture(scope="module")
def page(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    run = tmp_path_factory.mktemp("run")
    evaluation.save(run / "evaluation.json")
    write_report(run)
    return (run / "report.html").read_text(encoding="utf-8"), run / "plots"


def test_many_kinds_are_rows(page: tuple[str, Path]) -> None:
    table = page[0].split("By kind of task</h2>")[1].split("<h2>")[0]
    heads = [re.sub("<[^>]*>", "", cell).lower() for cell in re.findall(r"<th[^>]*>(.*?)</th>", table)]
    assert heads[:2] == ["kind", "episodes"]
    assert len(heads) == 5  # never, always, random
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(<td.*?)</tr>", table)]
    assert [row[:2] for row in rows] == [[f"kind-{task}", "2"] for task in range(TASKS)]
    assert all("U 50.00" in row[heads.index("always")] for row in rows)


def test_of_many_kinds_some_have_a_figure(page: tuple[str, Path]) -> None:
    text, plots = page
    assert len(list(plots.glob("trace-*.png"))) == TRACED_KINDS < TASKS
    assert f"for the {TRACED_KINDS} of {TASKS} kinds with the most of them" in text


def test_small_budgets_are_enlarged(evaluation: Evaluation, page: tuple[str, Path]) -> None:
    assert "The lower panels enlarge the small usages" in page[0]
    figure = success_and_usage(ReportData.of(evaluation))
    figure.canvas.draw()
    whole, enlarged = figure.axes
    used = [row["usage"] for row in evaluation.summary_rows if row["budget"] is not None]
    assert whole.get_xlim()[1] > 50
    assert max(used) < enlarged.get_xlim()[1] < 2 * max(used)
    assert {"1", "2"} <= {text.get_text() for text in enlarged.texts}
    assert not {"1", "2"} & {text.get_text() for text in whole.texts}
    intervals = [row["success_rate_ci"] for row in evaluation.summary_rows if row["budget"] is not None]
    low, high = enlarged.get_ylim()
    assert all(low <= ends[0] and ends[1] <= high for ends in intervals)


def test_budgets_that_are_not_small_have_one_panel() -> None:
    assert len(success_and_usage(ReportData.of(evaluated({"deployed@20": 0.4}))).axes) == 1
