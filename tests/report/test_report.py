"""The report of a small evaluation: complete, self-contained, well-formed, and legible on dark pages."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from selfreg_gym import registry
from selfreg_gym.errors import ConfigError, RunDirectoryError
from selfreg_gym.evaluation import Evaluation, evaluate
from selfreg_gym.prm.reliability import calibration_table
from selfreg_gym.report import format_table, write_report
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.styles import COLOURS
from selfreg_gym.report.summary import headline

ENV = {
    "task": "selfreg/SIF-v0",
    "actor": "scripted",
    "interventions": ["expert"],
    "task_kwargs": {"kind": "mixed", "split": "train"},
}


class LengthScore:
    """A process reward model that scores the length of the text."""

    def score(self, observations):
        return np.array([(len(o) % 10) / 10 for o in observations])


EveryK = registry.load("helpers", "every-k")


class Trained(EveryK):
    """A helper that is shown like the trained one."""

    role, minor, label, marker, colour = "deployable", False, "LM helper", "o", "blue"


def load(name, *args, **kwargs):
    return registry.load("helpers", name)(*args, **kwargs)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    helpers = {
        "never": load("never"),
        "always": load("always"),
        "random@1": load("random", 0.15),
        "random@2": load("random", 0.3),
        "prm-threshold@1": load("prm-threshold", LengthScore(), 0.2),
        "lm@1": Trained(6),
        "lm@2": Trained(3),
        "every-k": load("every-k"),
    }
    expected = {"lm@1": {"calibrated_success": 0.7}, "random@1": {"calibrated_success": 0.6}}
    options = {"tasks": range(12), "episodes": 2, "traces": 2, "prm": LengthScore(), "progress": False, "warn": False}
    options["expected"] = expected
    splits = {"collected": True, "seen": False}
    parts = (evaluate(ENV, helpers, split=split, fixed_tasks=fixed, **options) for split, fixed in splits.items())
    return Evaluation.merge(*parts)


@pytest.fixture(scope="module")
def run(evaluation, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a <small> run"
    (path / "prm").mkdir(parents=True)
    evaluation.save(path / "evaluation.json")
    rng = np.random.default_rng(0)
    p = rng.random(400)
    table = calibration_table(p, (rng.random(400) < p).astype(float))
    tasks = {
        "task": list("abcd"),
        "score": [0.1, 0.2, 0.6, 0.7],
        "success": [0.0, 0.75, 0.25, 1.0],
        "rollouts": [4] * 4,
    }
    (path / "prm" / "prm.json").write_text(json.dumps({"info": {"held_out": table, "held_out_tasks": tasks}}))
    (path / "calibration.json").write_text(json.dumps({"prm-per-task@1": {"budget": 1.0, "knob": 0.65}}))
    (path / "prm" / "floor.json").write_text(json.dumps({"bag_of_words": table}))
    manifest = {
        "created": "2026-01-02T03:04:05",
        "config": {"task": {"id": "selfreg/SIF-v0"}, "actor": {"id": "scripted"}, "interventions": {"ids": ["expert"]}},
        "stages": {"fit": {"figures": {"states": 1234, "recurrence": 0.91}}},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    write_report(path)
    return path


class Page(HTMLParser):
    """Headings, ids and balance of tags."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.addresses, self.tags = [], [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_page_has_every_section(run):
    page = Page((run / "report.html").read_text())
    assert page.headings == [
        "Success against usage", "Share of the gap recovered", "Selection of a helper", "Expected and measured",
        "Toggling", "Process reward model", "By kind of task", "Data and coverage", "All rows", "Glossary",
        "How the run was made",
    ]  # fmt: skip
    assert page.open == []


def cells(text: str, first: str) -> list[str]:
    """The cells of the table row that begins with ``first``, without their tags."""
    row = next(row for row in re.findall(r"<tr>(.*?)</tr>", text) if re.sub("<[^>]*>", "", row).startswith(first))
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]


def test_hard_tasks_are_counted_at_the_calibrated_threshold(run):
    text = (run / "report.html").read_text()
    assert cells(text, "one half") == [
        "one half",
        "0.500",
        "4",
        "2",
        "2",
        "1",
        "50\N{NO-BREAK SPACE}%",
        "50\N{NO-BREAK SPACE}%",
    ]
    assert cells(text, "PRM, once per task at C = 1")[1:] == [
        "0.650",
        "4",
        "2",
        "3",
        "2",
        "67\N{NO-BREAK SPACE}%",
        "100\N{NO-BREAK SPACE}%",
    ]


def test_the_selection_table_has_the_calibrated_and_the_oracle_choice(run, evaluation):
    text = (run / "report.html").read_text()
    section = text[text.index("Selection of a helper") :]
    found = evaluation.selection["helpers"][0]
    assert (found["selected"], found["among"]) == ("lm", ["lm", "random"])
    row = cells(section, "LM helper")
    assert row[2] == "1"
    assert row[4] == ReportData.of(evaluation).style(found["oracle"]).label


def test_the_page_loads_nothing(run):
    text = (run / "report.html").read_text()
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & page.tags
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_ids_are_unique_and_references_resolve(run):
    text = (run / "report.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    wanted = {address[1:] for address in page.addresses} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(page.ids)


def test_figures_use_the_colours_of_the_page(run):
    text = (run / "report.html").read_text()
    body = text[text.index("<body>") :]
    for light, _ in COLOURS.values():
        assert light not in body
    assert "prefers-color-scheme: dark" in text
    defined = set(re.findall(r"(--[\w-]+):", text))
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= defined


def test_figures_are_well_formed(run):
    text = (run / "report.html").read_text()
    figures = re.findall(r"<svg.*?</svg>", text, flags=re.S)
    assert len(figures) >= 3
    for figure in figures:
        ET.fromstring(figure)
    assert len(list((run / "plots").glob("*.png"))) == len(figures)


def test_names_are_escaped(run):
    text = (run / "report.html").read_text()
    assert "a &lt;small&gt; run" in text
    assert "a <small> run" not in text


def test_the_same_numbers_give_the_same_file(run):
    first = (run / "report.html").read_bytes()
    write_report(run)
    assert (run / "report.html").read_bytes() == first


def test_a_bare_evaluation_is_enough(evaluation, tmp_path):
    evaluation.save(tmp_path / "evaluation.json")
    text = write_report(tmp_path).read_text()
    assert "Process reward model" not in Page(text).headings
    assert "Success against usage" in Page(text).headings


def test_without_both_ends_the_headline_says_what_is_missing(tmp_path):
    alone = evaluate(ENV, {"never": load("never")}, tasks=range(3), episodes=1, progress=False, warn=False)
    alone.save(tmp_path / "evaluation.json")
    text = write_report(tmp_path).read_text()
    assert "has no result of always asking" in text
    assert "There is no share of the gap" in text


def test_the_headline_is_computed(evaluation):
    text = headline(evaluation).replace("\N{NO-BREAK SPACE}", " ")
    share = evaluation.recovery("lm", budget=1.0, split="seen").share
    assert text.startswith("On split seen, the LM helper recovers ")
    assert f"{100 * share.value:.0f} % (95 % interval {100 * share.low:.0f} to {100 * share.high:.0f})" in text
    assert "random help recovers" in text


def test_the_terminal_table_has_a_line_per_row(evaluation):
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(format_table(evaluation))
    text = capture.get()
    for row in evaluation.rows:
        if row["kind"] == "all":
            assert f"{row['usage']:.2f}" in text
    assert sum(line.startswith("never") for line in text.splitlines()) == 2
    assert "Split seen" in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text  # nothing was cut off


def test_errors_name_the_missing_evaluation(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"no evaluation\.json"):
        write_report(tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(ConfigError, match="Evaluate the run again"):
        write_report(tmp_path)
