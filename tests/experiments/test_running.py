"""``run_experiment``: what is measured, kept, measured again, and refused."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
from command_line import said

from selfreg_gym import registry
from selfreg_gym.errors import CheckpointError, ConfigError, InvalidArgumentError, RunDirectoryError, UnknownNameError
from selfreg_gym.experiments import Cell, Column, Experiment, Findings, Published, Results, Table, Trial, run_experiment
from selfreg_gym.experiments.running import config_of
from selfreg_gym.experiments.trial import of_seed
from selfreg_gym.helper import HelperKey

OVERRIDES = ["task.id=selfreg/Coin-v0", "actor.id=scripted", "collect.tasks=2", "collect.episodes=4"]


class Counting(Experiment):
    """Counts its measurements."""

    title = "Counting"
    question = "How often is a cell measured?"
    calls: ClassVar[list[tuple[str, int]]] = []
    fails: ClassVar[bool] = False

    def cells(self, config: object) -> Sequence[Cell]:
        return Cell("shared", shared=True), Cell("own"), Cell("others", reads_others=True)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        self.calls.append((cell, trial.seed))
        if self.fails and (cell, trial.seed) == ("own", 1):
            raise KeyboardInterrupt
        if cell == "others":
            return {"value": [other.config.collect.seed for other in trial.others()]}
        with trial.rollouts() as rollouts:
            return {"value": sum(one.success for one in rollouts.episodes()), "seed": trial.config.collect.seed}

    def findings(self, results: Results) -> Findings:
        rows = [{"seed": number, "value": one["value"]} for number, one in enumerate(results.of("own"))]
        table = Table("counts", "Counts", (Column("seed", "seed"), Column("value", "value")), rows)
        return Findings(["It is counted."], [table], published=[Published("answer", "42", None, "a book")])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the experiment ``counting`` in a folder of its own."""
    load = registry.load
    monkeypatch.setattr(
        registry,
        "load",
        lambda group, name: Counting if (group, name) == ("experiments", "counting") else load(group, name),
    )
    monkeypatch.setattr(Counting, "calls", [])
    monkeypatch.setattr(Counting, "fails", False)

    def start(**more: Any) -> Path:
        options = {"out": tmp_path / "out", "cache": tmp_path / "cache", "seeds": 2, "quick": True, "progress": False}
        return run_experiment("counting", **{**options, "overrides": OVERRIDES, "say": lambda line: None, **more})

    return start


def test_cells_are_measured_once_per_seed_and_kept(run: Any) -> None:
    folder = run()
    wanted = [("shared", 0), ("own", 0), ("others", 0), ("own", 1), ("others", 1)]
    assert Counting.calls == wanted
    first = (folder / "index.md").read_text()
    assert run() == folder
    assert Counting.calls == wanted, "a second run measures nothing"
    assert (folder / "index.md").read_text() == first
    run(seeds=3)
    assert Counting.calls[5:] == [("others", 0), ("others", 1), ("own", 2), ("others", 2)], "others read a third seed"
    run(redo=True)
    assert Counting.calls[9:] == wanted


def test_the_page_and_its_files(run: Any) -> None:
    folder = run()
    page = (folder / "index.md").read_text()
    for text in ("# Counting", "- It is counted.", "## Counts", "| answer | 42 | - |", "selfreg experiment counting"):
        assert text in page
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config"]["collect"]["episodes"] == 4
    assert [trial["collect"] for trial in manifest["seeds_of_trials"]] == [1001, 2001]
    assert {trial["evaluate"] for trial in manifest["seeds_of_trials"]} == {7001}
    assert len(manifest["units"]) == 5
    (machine,) = manifest["machines"]
    assert machine["python"] == platform.python_version()
    assert "numpy" in machine["versions"]
    rows = json.loads((folder / "results.json").read_text())["tables"]["counts"]["rows"]
    assert [row["seed"] for row in rows] == [0, 1]


def test_an_interrupted_experiment_continues(run: Any) -> None:
    Counting.fails = True
    with pytest.raises(KeyboardInterrupt):
        run()
    assert Counting.calls[-1] == ("own", 1)
    Counting.fails = False
    run()
    assert Counting.calls[4:] == [("own", 1), ("others", 1)], "what was measured before is kept"


def test_a_cell_is_measured_by_one_process_at_a_time(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, errors = Counting.measure, []

    def twice(self: Counting, trial: Trial, cell: str) -> Mapping[str, Any]:
        found = measure(self, trial, cell)
        if (cell, trial.seed) == ("own", 0):
            with ThreadPoolExecutor(1) as pool:
                errors.append(pool.submit(run).exception())
        return found

    monkeypatch.setattr(Counting, "measure", twice)
    folder = run()
    assert isinstance(errors[0], RunDirectoryError)
    assert re.search(r"may work in a cell of an experiment.* --cache", str(errors[0]))
    assert len(Counting.calls) == 5
    assert (folder / "index.md").exists()


def test_a_damaged_cell_is_named(run: Any, tmp_path: Path) -> None:
    run()
    units = sorted((tmp_path / "cache" / "units" / "counting").iterdir())
    assert len(units) == 5, "folders of finished parts are removed"
    units[0].write_text(units[0].read_text()[:-20])
    with pytest.raises(CheckpointError, match=rf"{units[0].name}.*a measured cell.*delete it"):
        run()
    units[0].unlink()
    units[1].unlink()
    run()
    assert len(Counting.calls) == 7


def test_finished_parts_of_a_cell_are_kept(tmp_path: Path) -> None:
    """Of a cell with two helpers, the one that was evaluated before an interruption is not played again."""
    config = config_of(Counting(), quick=True, overrides=OVERRIDES)
    lines: list[str] = []
    trial = Trial(0, of_seed(config, 0), tmp_path, False, lines.append, parts=tmp_path / "parts")
    helpers = {HelperKey(name): registry.load("helpers", name)() for name in ("never", "always")}
    whole = trial.played(helpers, splits=["collected"])
    assert lines == ["    never evaluated on collected", "    always evaluated on collected"]
    (part,) = (tmp_path / "parts").rglob("never*.json")
    part.unlink()
    assert trial.played(helpers, splits=["collected"]) == whole
    assert lines[2:] == ["    never evaluated on collected"]


def test_the_defaults_of_an_experiment_change_a_preset_and_not_a_file(repository: Path) -> None:
    experiment = registry.load("experiments", "several-interventions")()
    default = config_of(experiment)
    assert default.interventions.names == ("expert", "strong")
    assert default.interventions.kwargs == {"strong": {"cost": 0.3}}
    file = config_of(experiment, path=repository / "examples" / "several_interventions.toml")
    assert file.interventions.names == ("expert", "strong", "mcts")
    with pytest.raises(ConfigError, match=r"compares several interventions, and the config has one \(expert\)"):
        experiment.cells(config_of(experiment, overrides=["interventions.ids=['expert']"]))


def test_another_config_is_measured_on_its_own(run: Any) -> None:
    run(seeds=1)
    run(seeds=1, episodes=5)  # of the evaluation: the rollouts are the same
    assert len(Counting.calls) == 6
    runs = Path(run(seeds=1, overrides=[*OVERRIDES, "collect.episodes=6"])).parent / "cache" / "runs"
    assert len(list(runs.iterdir())) == 2, "one run per collection"


def test_a_folder_with_other_files_is_refused(run: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.md").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"which holds other files. Choose another with --out"):
        run()
    assert not Counting.calls


def test_the_results_of_another_experiment_are_refused(run: Any, tmp_path: Path) -> None:
    folder = run(seeds=1)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "experiment": "weighing"}))
    with pytest.raises(RunDirectoryError, match="for 'counting', which holds 'weighing'"):
        run(seeds=1)


def test_wrong_arguments(run: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown experiment: received 'self-regulatio'. Did you mean"):
        run_experiment("self-regulatio")
    with pytest.raises(InvalidArgumentError, match="the number of seeds must be an integer of at least 1"):
        run(seeds=0)
    with pytest.raises(InvalidArgumentError, match="episodes must be an integer of at least 1"):
        run(episodes=0)
    with pytest.raises(ConfigError, match="collect"):
        run(overrides=["collect.episodes=many"])


def test_the_command_lists_the_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "experiment")
    assert code == 0
    for name in registry.names("experiments"):
        assert name in out
    code, _, err = said(capsys, "experiment", "coverag")
    assert code == 2
    assert "Did you mean 'coverage'?" in err


class Everywhere(Counting):
    """Counts its measurements on several configs."""

    presets = ("smoke", "tiny", "nowhere")
    seeds = 2

    def overview(self, results: Mapping[str, Results], unavailable: Mapping[str, str]) -> Findings:
        rows = [{"config": name, "value": found.values("own", "value").value} for name, found in results.items()]
        rows += [{"config": name, "value": why} for name, why in unavailable.items()]
        return Findings(["All."], [Table("counts", "Counts", (Column("config", "config"), Column("value", "v")), rows)])


class TestSeveralConfigs:
    @pytest.fixture(autouse=True)
    def _everywhere(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        load = registry.load
        monkeypatch.setattr(registry, "load", lambda *name: Everywhere if name[1] == "counting" else load(*name))

    def test_all_presets_are_measured_and_missing_ones_say_why(self, run: Any) -> None:
        folder = run(seeds=None)
        rows = json.loads((folder / "results.json").read_text())["tables"]["counts"]["rows"]
        assert [row["config"] for row in rows] == ["smoke", "tiny", "nowhere"]
        assert "unknown preset" in rows[2]["value"]
        assert Counting.calls == [*EXPECTED, *EXPECTED]
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["seeds"] == 2
        assert manifest["configs"].keys() == {"smoke", "tiny"}
        assert [one["config"] for one in manifest["units"]] == ["smoke"] * 5 + ["tiny"] * 5
        run(seeds=None)
        assert Counting.calls == [*EXPECTED, *EXPECTED], "measured cells are kept"

    def test_a_preset_that_is_asked_for_is_measured_alone(self, run: Any) -> None:
        folder = run(seeds=2, preset="smoke")
        assert "configs" not in json.loads((folder / "manifest.json").read_text())
        assert Counting.calls == EXPECTED

    def test_an_error_in_every_config_is_raised(self, run: Any) -> None:
        with pytest.raises(ConfigError, match="unknown key"):
            run(overrides=[*OVERRIDES, "collect.tsks=2"])
        with pytest.raises(UnknownNameError, match="unknown preset"):
            run(preset="nowhere")


EXPECTED = [("shared", 0), ("own", 0), ("others", 0), ("own", 1), ("others", 1)]
