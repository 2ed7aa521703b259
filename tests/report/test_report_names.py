"""Names from plug-ins: with any characters the report is complete, and nothing is written outside the run."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from selfreg_gym import registry
from selfreg_gym.errors import ConfigError
from selfreg_gym.evaluation import Evaluation, evaluate, evaluation_plan
from selfreg_gym.report import describe, format_table, write_report

ENV = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
HOSTILE = [
    "../../../../escape", "/tmp/escape", "nul\x00", "k" * 300, "$\\frac{1}{", "[/b]", "<script>alert(1)</script>",
    "\ud800", "\u202egnp.exe", "\x1b[2J", "--><img src=x>", "\n\n", "名前", "a&quot;'\"",
]  # fmt: skip

KINDS = [
    "../../../../escape", "/tmp/nul\x00", "k" * 300, "$\\frac{1}{[/b]", "<script>alert(1)</script>--><img src=x>",
    "\ud800\u202egnp.exe\x1b[2J",
]  # fmt: skip


def load(name, *args):
    return registry.load("helpers", name)(*args)


@pytest.fixture(scope="module")
def plain() -> Evaluation:
    helpers = {
        "never": load("never"),
        "always": load("always"),
        "mine@1": load("every-k", 2),
        "mine@2": load("every-k", 1),
    }
    traces = evaluation_plan(range(len(KINDS)), 1, seed=0)
    options = {"tasks": range(len(KINDS)), "episodes": 1, "traces": traces, "progress": False, "warn": False}
    return evaluate(ENV, helpers, split="collected", **options)


def hostile(plain: Evaluation, name: str, split: str) -> Evaluation:
    """The same evaluation with a hostile name for every kind, one helper called ``name``, and the split ``split``."""
    table = plain.table()
    renamed = {key.replace("mine", name): columns for key, columns in table.columns.items()}
    kinds = np.array([KINDS[task] for task in table.tasks], dtype=object)
    table = dataclasses.replace(table, split=split, kinds=kinds, columns=renamed, _weights={})
    traces = [
        {**trace, "key": trace["key"].replace("mine", name), "kind": KINDS[trace["task"]], "split": split}
        for trace in plain.traces
    ]
    return Evaluation({split: table}, {}, {}, traces, plain.meta)


@pytest.fixture(scope="module")
def run(plain: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a") / "b" / "c" / "d" / "<run> $\x07"
    path.mkdir(parents=True)
    hostile(plain, "[/b]$<b>\x1b[31m", "../../split\x00").save(path / "evaluation.json")
    (path / "calibration.json").write_text(
        json.dumps({"[/b]$<b>\x1b[31m@1": {"budget": 1.0, "usage": 0.25, "met": False}})
    )
    manifest = {"config": {"actor": {"id": "<i>\x00"}}, "stages": {"collect": {"warnings": ["<u>\x1b[2J"]}}}
    (path / "manifest.json").write_text(json.dumps(manifest))
    write_report(path)
    return path


def test_nothing_is_written_outside_the_run(run: Path) -> None:
    root = run.parents[3]
    outside = [path for path in root.rglob("*") if path.is_file() and run not in path.parents]
    assert outside == []
    for path in (run / "plots").iterdir():
        assert re.fullmatch(r"[a-z0-9-]{1,120}\.png", path.name)
    assert len(list((run / "plots").glob("trace-*.png"))) == len(KINDS), "one for each kind"
    assert not list(run.glob(".report-*"))


def test_names_are_text_in_the_page(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    for harmful in ("<script", "<img", "<b>\x1b", "\x1b", "\x00", "\u202e", "<u>", "<i>"):
        assert harmful not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\\u202egnp.exe" in text
    for figure in re.findall(r"<svg.*?</svg>", text, flags=re.S):
        ET.fromstring(figure)


def test_names_are_text_in_the_terminal(run: Path) -> None:
    table, notes = describe(run)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    assert "[/b]$<b>\\x1b[31m" in capture.get()
    assert "\x1b[31m" not in capture.get()
    assert any("1 of" not in note and "0.25 of 1, under" in note for note in notes)
    assert "collect: <u>\x1b[2J" in notes, "escaped where it is printed"


@pytest.mark.parametrize("name", ["plug-in", *HOSTILE])
def test_any_name_gives_a_table(plain: Evaluation, name: str) -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(format_table(hostile(plain, name.replace("@", ""), "collected")))
    assert len([line for line in capture.get().splitlines() if line.count("[") >= 1]) >= 4


def bare(plain: Evaluation, path: Path) -> Path:
    """A run directory with an evaluation that is quickly drawn."""
    path.mkdir(exist_ok=True)
    dataclasses.replace(plain, traces=[]).save(path / "evaluation.json")
    return path


def test_plots_of_an_earlier_report_are_removed(plain: Evaluation, tmp_path: Path) -> None:
    run = bare(plain, tmp_path)
    (run / "plots").mkdir()
    (run / "plots" / "old.png").write_bytes(b"")
    (run / ".report-killed").mkdir()
    write_report(run)
    assert not (run / "plots" / "old.png").exists()
    assert not (run / ".report-killed").exists()


def test_links_are_replaced_and_not_followed(plain: Evaluation, tmp_path: Path) -> None:
    run, elsewhere = bare(plain, tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("mine")
    (run / "plots").symlink_to(elsewhere)
    (run / "report.html").symlink_to(elsewhere / "precious")
    write_report(run)
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    assert (elsewhere / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["manifest.json", "calibration.json", "prm/prm.json", "prm/floor.json"])
@pytest.mark.parametrize("content", ["{", "[1]", '{"a": ' * 100_000, "\udc80"])
def test_a_damaged_file_is_named(plain: Evaluation, tmp_path: Path, name: str, content: str) -> None:
    bare(plain, tmp_path)
    (tmp_path / "prm").mkdir()
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=rf"{name}.* must be a JSON object.*again: selfreg"):
        write_report(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".report", "report"))) == []
