"""The report shows helpers and splits by what they declare: nothing in it depends on their names."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re

import numpy as np
import pytest
from rich.console import Console

from selfreg_gym import Helper, registry
from selfreg_gym.evaluation import Evaluation, evaluate
from selfreg_gym.helper import HelperDescription
from selfreg_gym.report import format_table, write_report
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.styles import PALETTE, styles_of
from selfreg_gym.report.summary import headline, tiles

ENV = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}


PLUGIN = """
import numpy as np

from selfreg_gym import Helper

__all__ = ["LuckyGuess"]


class LuckyGuess(Helper):
    role, label, marker, colour = "deployable", "Lucky <guess>", "D", "teal"

    def __init__(self, steps=1):
        self.steps = steps

    def decide(self, observations, state, start):
        t = np.where(start, 0, 0 if state is None else state + 1)
        return (t < self.steps).astype(int), t
"""


class Simple(Helper):
    """Asks always, and declares that it is a minor baseline."""

    role, minor = "baseline", True

    def decide(self, observations, state, start):
        return np.ones(len(start), dtype=int), state


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """An evaluation with a helper whose file was dropped into the folder of helpers, and has been removed since."""
    folder = tmp_path_factory.mktemp("helpers")
    (folder / "lucky_guess.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        package = importlib.import_module(registry.GROUPS["helpers"])
        patch.setattr(package.__spec__, "submodule_search_locations", [*package.__path__, str(folder)])
        patch.setattr(package, "__path__", [*package.__path__, str(folder)])
        assert "lucky-guess" in registry.names("helpers")
        lucky = registry.load("helpers", "lucky-guess")
    helpers = {name: registry.load("helpers", name)() for name in ("never", "always")}
    helpers |= {"plain@1": lambda observation: 1, "lucky-guess@0.5": lucky(1), "lucky-guess@1": lucky(2)}
    helpers["simple"] = Simple()
    success = {"plain@1": {"calibrated_success": 0.5}, "lucky-guess@1": {"calibrated_success": 0.9}}
    options = {"episodes": 2, "progress": False, "warn": False, "traces": 1, "expected": success}
    easy = evaluate(ENV, helpers, tasks=range(6), split="easy maps", fixed_tasks=True, **options)
    hard = evaluate(ENV, helpers, tasks=range(6, 12), split="hard maps", **options)
    return Evaluation.merge(easy, hard)


@pytest.fixture(scope="module")
def page(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report, made from files alone."""
    path = tmp_path_factory.mktemp("run")
    evaluation.save(path / "evaluation.json")
    titles = {"easy maps": "Easy maps, as collected", "hard maps": "Hard maps"}
    config = {"task": {"splits": {"hard maps": {}, "easy maps": {}}, "titles": titles}}
    (path / "manifest.json").write_text(json.dumps({"config": config}))
    return write_report(path).read_text(encoding="utf-8")


def test_a_plug_in_has_its_label_colour_and_trace(page: str) -> None:
    assert '<span class="dot" style="background:var(--teal)"></span>Lucky &lt;guess&gt;' in page
    assert re.search(r'<span class="dot" style="background:var\(--\w+\)"></span>plain', page)
    trace = page[page.index("One episode, ") if "One episode, " in page else page.index("<h3>Kind ") :]
    trace = trace[: trace.index("</svg>")]
    assert "var(--teal)" in trace, "its steps"


def test_the_headline_is_about_the_best_helper_in_calibration(evaluation: Evaluation) -> None:
    assert headline(evaluation).startswith('On split hard maps, the helper "Lucky <guess>" recovers ')
    meanings = [tile.meaning for tile in tiles(evaluation)]
    assert "of the gap: Lucky <guess>, split hard maps" in meanings
    assert "of the gap: plain, split hard maps" in meanings


def test_rows_of_deployable_helpers_are_bold(evaluation: Evaluation) -> None:
    console = Console(width=100, force_terminal=True)
    with console.capture() as capture:
        console.print(format_table(evaluation))
    bold = {line.split("m", 1)[1].split()[0] for line in capture.get().splitlines() if line.startswith("\x1b[1m")}
    assert {"plain", "lucky-guess"} <= bold
    assert "simple" not in bold


def test_splits_have_the_titles_and_the_order_of_the_config(page: str) -> None:
    headings = re.findall(r"<h3>(.*?)</h3>", page)
    assert headings[:2] == ["Hard maps", "Easy maps, as collected"]
    assert "houses" not in page


def test_the_heading_of_a_split_within_a_sentence_keeps_names(evaluation: Evaluation) -> None:
    titles = {"easy maps": "Easy maps", "hard maps": "SWE-bench Verified"}
    data = ReportData(evaluation, {"config": {"task": {"titles": titles}}})
    assert [data.inline_title(split) for split in titles] == ["easy maps", "SWE-bench Verified"]


def test_a_report_needs_no_plug_in(evaluation: Evaluation) -> None:
    """The evaluation records what the helpers declare."""
    assert "lucky-guess" not in registry.names("helpers")
    style = ReportData.of(evaluation).style("lucky-guess")
    assert (style.label, style.colour, style.marker) == ("Lucky <guess>", "teal", "D")
    assert style.emphasised


def test_an_evaluation_of_an_earlier_version_is_shown_by_what_registered_helpers_declare(
    evaluation: Evaluation,
) -> None:
    data = ReportData.of(dataclasses.replace(evaluation, meta={}))
    assert data.style("never").declared.reference == "lower"
    assert data.style("lucky-guess").label == "lucky-guess"
    assert data.style("random:strong").label == "random help: strong"


def test_colours_and_labels_are_distinct() -> None:
    declared = HelperDescription(label="Lucky <guess>", marker="D", colour="teal")
    styles = styles_of(dict.fromkeys(["a", "b", *map(str, range(len(PALETTE) + 5))], declared))
    assert styles["a"].colour == "teal"
    assert styles["b"].label == "b", "two helpers of one label have their ids"
    assert len({style.colour for style in styles.values()}) == len(PALETTE)
    odd = dataclasses.replace(declared, colour="#ff0000;}", marker="<b>")
    assert styles_of({"odd": odd})["odd"].colour in PALETTE


def test_a_variant_of_an_end_of_the_axis_is_a_baseline(evaluation: Evaluation) -> None:
    """``always:cheap`` always asks one of several interventions; the axis ends at ``always``."""
    style = ReportData.of(evaluation).style("always:cheap")
    assert style.label == "always: cheap"
    assert style.declared.reference is None
    assert not style.emphasised
