"""Usage: calls and cost units where they differ, by intervention; and budgets that calibration did not meet."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from selfreg_gym import Intervention, InterventionEnv, as_actor, registry
from selfreg_gym.evaluation import Evaluation, evaluate
from selfreg_gym.helper import HelperKey
from selfreg_gym.report import describe, format_table, write_report
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.summary import headline, tiles


class Alternating:
    """Ask the first and the second intervention in turn."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        turn = 1 if state is None or (episode_start is not None and bool(episode_start)) else 3 - state
        return turn, turn


@pytest.fixture(scope="module")
def priced() -> Evaluation:
    """Two interventions: one of 1 unit, one of 0.25."""
    cheap = Intervention(as_actor(lambda observation: "heads"), name="cheap", cost=0.25)
    env = InterventionEnv("selfreg/Coin-v0", "scripted", ["expert", cheap])
    helpers = {name: registry.load("helpers", name)() for name in ("never", "always")} | {"mine@1": Alternating()}
    return evaluate(
        env,
        helpers,
        tasks=range(4),
        episodes=2,
        split="collected",
        fixed_tasks=True,
        traces=1,
        num_envs=1,
        progress=False,
        warn=False,
    )


@pytest.fixture(scope="module")
def run(priced: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    priced.save(path / "evaluation.json")
    config = {"interventions": {"ids": ["expert", "cheap"]}, "task": {"titles": {"collected": "The <same> tasks"}}}
    (path / "manifest.json").write_text(json.dumps({"config": config, "stages": {}}))
    found = {"mine@1": {"budget": 1.0, "usage": 0.6, "met": False}}
    (path / "calibration.json").write_text(json.dumps(found))
    write_report(path)
    return path


def test_the_headline_counts_units_and_calls(priced: Evaluation) -> None:
    data = ReportData.of(priced)
    row = data.row("collected", "mine@1")
    assert row is not None
    assert not data.calls_are_units
    assert row["calls"] > row["usage"]
    assert re.search(r"the helper mine recovers .* [\d.]+ cost units?( \([\d.]+ calls?\))? of help", headline(priced))
    assert data.amount(0.981, 3.27) == "0.98 cost units (3.27 calls)"
    assert any("cost units (" in tile.details for tile in tiles(priced))


def test_usage_is_in_calls_where_every_call_costs_one_unit(priced: Evaluation) -> None:
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
    helpers = {name: registry.load("helpers", name)() for name in ("never", "always")}
    found = evaluate(env, helpers, tasks=range(3), episodes=1, progress=False, warn=False)
    assert ReportData.of(found).unit == "calls"
    assert any(re.search(r"\d calls;", tile.details) for tile in tiles(found))


def test_usage_by_intervention_is_in_the_report(run: Path) -> None:
    text = (run / "report.html").read_text()
    assert (run / "plots" / "usage-by-intervention.png").is_file()
    section = text[text.index("Usage by intervention</h2>") :]
    assert "<th>expert (privileged)</th><th>cheap</th>" in section
    assert "1 expert (privileged), 2 cheap" in text, "the numbers in the traces"
    assert "usage U (calls" not in text


def test_the_terminal_shows_calls_of_each(priced: Evaluation, run: Path) -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(describe(run)[0])
    text = capture.get()
    assert "calls: for help per episode of expert (privileged) + cheap" in " ".join(text.split())
    line = next(line for line in text.splitlines() if line.startswith("mine "))
    assert re.search(r"\d\.\d \+ \d\.\d", line)
    assert "1!" in line
    assert "!: calibration did not meet C" in " ".join(text.split())


def test_a_missed_budget_is_named(run: Path) -> None:
    assert any("mine@1 (0.60 of 1, under)" in note for note in describe(run)[1])
    text = (run / "report.html").read_text()
    assert "mine@1 (0.60 of 1, under)" in text
    assert "not met: under" in text


def test_splits_have_their_own_headings(run: Path, priced: Evaluation) -> None:
    assert "The &lt;same&gt; tasks" in (run / "report.html").read_text()
    table = priced.table()
    other = Evaluation({"hard maps": dataclasses.replace(table, split="hard maps", _weights={})}, {}, {}, [], {})
    console = Console(width=100)
    with console.capture() as capture:
        console.print(format_table(other))
    assert "Split hard maps" in capture.get()


def test_an_interpolated_share_is_shown_with_the_usage(run: Path, priced: Evaluation) -> None:
    """Calibrated to 1 cost unit, the helper used 1.25 or less: its usage is shown, not C."""
    item = ReportData.of(priced).comparison("collected", "mine", 1.0)
    assert item is not None
    assert item["adjusted"]
    used = f"{item['measured_usage']:.2f}"
    assert used != "1.00"
    text = (run / "report.html").read_text()
    table = text[text.index("Share of the gap recovered</h2>") : text.index("Usage by intervention</h2>")]
    assert f"U {used}<abbr" in table
    assert "U 1.00" not in table
    assert f"with 1 cost unit of help per episode (interpolated: it used {used})" in headline(priced)


def test_the_legend_of_many_helpers_fits_into_the_figure(priced: Evaluation) -> None:
    """Many long names take fewer columns and a higher figure; budgets at one point share one label."""
    from selfreg_gym.report.plots import success_and_usage

    table = priced.table()
    keys = ["mine@2", *(f"a helper with a long name: number {i}" for i in range(14))]
    columns = table.columns | {key: table.columns[HelperKey("mine", 1.0)] for key in keys}
    many = dataclasses.replace(table, columns=columns, _weights={})
    evaluation = Evaluation({"collected": many}, {}, {}, [], {})
    figure = success_and_usage(ReportData.of(evaluation))
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height
    assert "1, 2" in [text.get_text() for text in figure.axes[0].texts]
