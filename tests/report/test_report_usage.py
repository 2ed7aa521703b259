"""Calls are not cost units: both are shown where they differ, by intervention; unmet budgets are named."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from selfreg_gym import Intervention, InterventionEnv, as_actor, registry
from selfreg_gym.evaluation import Evaluation, evaluate
from selfreg_gym.report import describe, format_table, write_report
from selfreg_gym.report.facts import headline, tiles
from selfreg_gym.report.material import Material


class Both:
    """Ask the first and the second intervention in turn."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        turn = 1 if state is None or (episode_start is not None and bool(episode_start)) else 3 - state
        return turn, turn


@pytest.fixture(scope="module")
def priced() -> Evaluation:
    """Two interventions: one of 1 unit, one of 0.25."""
    cheap = Intervention(as_actor(lambda observation: "heads"), name="cheap", cost=0.25)
    env = InterventionEnv("selfreg/Coin-v0", "scripted", ["expert", cheap])
    helpers = {name: registry.load("helpers", name)() for name in ("never", "always")} | {"mine@1": Both()}
    return evaluate(
        env, helpers, tasks=range(4), episodes=2, split="collected", traces=1, num_envs=1, progress=False, warn=False
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
    material = Material.of(priced)
    row = material.row("collected", "mine@1")
    assert row is not None
    assert not material.calls_are_units
    assert material.calls(row) > row["usage"]
    assert re.search(
        r"[\d.]+ cost units?( \([\d.]+ calls?\))? of help per episode, placed by the mine", headline(priced)
    )
    assert material.amount(0.981, 3.27) == "0.98 cost units (3.27 calls)"
    assert any("cost units (" in small for _, _, small in tiles(priced))


def test_where_every_call_costs_one_unit_they_are_calls(priced: Evaluation) -> None:
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
    helpers = {name: registry.load("helpers", name)() for name in ("never", "always")}
    found = evaluate(env, helpers, tasks=range(3), episodes=1, progress=False, warn=False)
    assert Material.of(found).unit == "calls"
    assert any(re.search(r"\d calls;", small) for _, _, small in tiles(found))


def test_usage_by_intervention_is_in_the_report(run: Path) -> None:
    text = (run / "report.html").read_text()
    assert (run / "plots" / "usage-by-intervention.png").is_file()
    section = text[text.index("Usage by intervention</h2>") :]
    assert "<th>expert</th><th>cheap</th>" in section
    assert "1 expert, 2 cheap" in text, "the numbers in the traces"
    assert "usage U (calls" not in text


def test_the_terminal_shows_calls_of_each(priced: Evaluation, run: Path) -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(describe(run)[0])
    text = capture.get()
    assert "calls for help per episode of expert + cheap" in " ".join(text.split())
    line = next(line for line in text.splitlines() if line.startswith("mine "))
    assert re.search(r"\d\.\d \+ \d\.\d", line)
    assert "1!" in line
    assert "! C was not met in calibration" in " ".join(text.split())


def test_a_budget_that_was_not_met_is_named(run: Path) -> None:
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


def test_no_sentence_calls_the_plan_optimistic(run: Path) -> None:
    assert "optimistic" not in (run / "report.html").read_text()


def test_a_share_that_is_read_off_at_c_says_what_was_used(run: Path, priced: Evaluation) -> None:
    """The helper was to use 1 cost unit and used 1.25 or less: the usage shown is what it used, not C."""
    item = Material.of(priced).comparison("collected", "mine", 1.0)
    assert item is not None
    assert item["adjusted"]
    used = f"{item['measured_usage']:.2f}"
    assert used != "1.00"
    text = (run / "report.html").read_text()
    table = text[text.index("Share of the gap recovered</h2>") : text.index("Usage by intervention</h2>")]
    assert f"U {used}<abbr" in table
    assert "U 1.00" not in table
    assert headline(priced).endswith(f"It used {used} cost units per episode: the share is read off its curve at 1.")


def test_the_legend_of_many_helpers_fits_into_the_plot(priced: Evaluation) -> None:
    """Long names of many helpers: fewer columns and a higher plot, and budgets at one point share one label."""
    from selfreg_gym.report.plots import frontier_figure

    table = priced.table()
    keys = ["mine@2", *(f"a helper with a long name: number {i}" for i in range(14))]
    columns = table.columns | {key: table.columns["mine@1"] for key in keys}
    many = dataclasses.replace(table, columns=columns, _weights={})
    evaluation = Evaluation({"collected": many}, {}, {}, [], {})
    figure = frontier_figure(Material.of(evaluation))
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height
    assert "1, 2" in [text.get_text() for text in figure.axes[0].texts]
