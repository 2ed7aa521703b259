"""The command line: help, lists, errors, and runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import said

from selfreg_gym import __version__, registry
from selfreg_gym.pipeline import STAGES
from selfreg_gym.pipeline.config import preset_names

COMMANDS = (
    "run", "collect", "train-prm", "solve", "fit-values", "train-helper", "evaluate", "report", "list", "play",
    "experiment", "fork",
)  # fmt: skip


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version") == (0, f"selfreg_gym {__version__}\n", "")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--help")
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = said(capsys, command, "--help")
    assert code == 0
    assert f"selfreg {command}" in out.replace(f"Usage: selfreg {command}", ""), "an example of how to call it"


def test_until_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "run", "--help")
    words = out[out.index("--until") : out.index("--update")].replace(",", " ").replace(".", " ").split()
    assert [word for word in words if word in {stage.name for stage in STAGES}] == [stage.name for stage in STAGES]


def test_the_docs_of_run_directories_name_every_stage_and_its_command(repository: Path) -> None:
    page = (repository / "docs" / "run_directory.md").read_text(encoding="utf-8")
    lines = page[page.index("| stage | command |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]
    told = {stage: command for stage, command, *_ in rows}
    assert list(told) == [stage.name for stage in STAGES]
    for command in set(told.values()):
        assert command.removeprefix("selfreg ") in COMMANDS


@pytest.mark.parametrize("words", [[], ["run"], ["list"], ["report"]])
def test_flags_are_shown_as_flags(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    _, out, _ = said(capsys, *words, "--help")
    assert "--help" in out
    assert "bool" not in out
    assert "<path>" not in out


def test_a_stage_without_out_uses_the_latest_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfreg_gym.pipeline import open_run

    monkeypatch.chdir(tmp_path)
    code, _, err = said(capsys, "solve")
    assert code == 2
    assert "none in runs/" in err
    for name in ("first", "second", "third"):
        open_run(f"runs/{name}", preset="smoke")
    (tmp_path / "runs" / "a file").write_text("")
    for i, name in enumerate(("third", "first", "second")):
        os.utime(f"runs/{name}/manifest.json", (10 + i, 10 + i))
    code, out, err = said(capsys, "solve")
    assert out.startswith(f"run: {Path('runs') / 'second'} (the latest of 3 in runs/")
    assert "'runs/second'" in err, "and the stage says what it lacks there"


def test_another_task_drops_the_arguments_of_the_preset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words in (["--task", "selfreg/Coin-v0"], ["--set", "task.id=selfreg/FrozenLake-v0"]):
        out = tmp_path / words[0]
        code, _, err = said(capsys, "collect", "--preset", "smoke", *words, "--out", str(out))
        assert (code, "unknown argument" in err) == (0, False), err
        assert json.loads((out / "manifest.json").read_text())["config"]["task"]["kwargs"] == {}


def test_an_outdated_report_is_not_shown_as_the_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "r")
    assert said(capsys, "run", "--preset", "smoke", "--until", "collect", "--out", out)[0] == 0
    (tmp_path / "r" / "report.html").write_text("of an earlier run")
    (tmp_path / "r" / "evaluation.json").write_text("{}")
    code, printed, _ = said(capsys, "run", "--until", "collect", "--out", out)
    assert code == 0
    assert "The report:" not in printed
    assert "report.html is outdated" in printed


def test_list_shows_plug_ins_of_other_distributions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "other_pack-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-pack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[selfreg_gym.helpers]\nmy-own = other_pack.helper:Mine\n")
    (tmp_path / "other_pack").mkdir()
    (tmp_path / "other_pack" / "__init__.py").write_text("")
    (tmp_path / "other_pack" / "helper.py").write_text('"""Ask on [bold]Mondays[/bold]."""\n\nclass Mine: ...\n')
    monkeypatch.syspath_prepend(tmp_path)
    code, out, _ = said(capsys, "list", "helpers")
    assert code == 0
    assert "my-own" in out
    assert "other-pack" in out


def test_list_shows_markup_in_names_as_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.Entry("a[/b]c\x1b[2J", "helpers", "m[/red]", "dist[/x]", None, "says [/bold] \u202e")
    monkeypatch.setattr(registry, "describe", lambda group: [entry])
    code, out, _ = said(capsys, "list", "helpers")
    assert code == 0
    assert "a[/b]c\\x1b[2J" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_list_shows_one_id_of_a_task_with_many_variants(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ids = registry.names("envs")
    levels = [name for name in ids if name.startswith("selfreg/BabyAI-")]
    _, short, _ = said(capsys, "list", "tasks")
    assert f"{len(levels) - 1} variants" in " ".join(short.split())
    shown = [name for name in ids if f"  {name} " in short]
    assert shown == [name for name in ids if name not in levels or name == "selfreg/BabyAI-v0"]
    _, everything, _ = said(capsys, "list", "tasks", "--all")
    assert all(name in everything for name in ids)
    assert "variants" not in everything


def test_list_accepts_both_names_of_the_group_of_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("tasks", "envs"):
        code, out, _ = said(capsys, "list", word)
        assert code == 0
        assert "selfreg/Coin-v0" in out
        assert "tasks" in out.splitlines()[1]
    code, _, err = said(capsys, "list", "taks")
    assert code == 2
    known = "actors, experiments, helpers, interventions, presets, tasks"
    assert f"unknown group: received 'taks'. Did you mean 'tasks'? Known: {known}." in err


def test_play_shows_a_malformed_task_argument(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "play", "--set", "kind")
    assert code == 2
    assert "a task argument must be KEY=VALUE (--set kind=pnp), received 'kind'" in err


def test_messages_have_no_control_characters_and_a_bounded_length(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "list", "x\x1b[2J\u202e" + "y" * 1_000_000)
    assert code == 2
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert len(err) < 10_000


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from selfreg_gym.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'scipy', 'openai', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "list", "--json")
    assert code == 0
    found = json.loads(out)
    presets = found.pop("presets")
    assert [entry["name"] for entry in presets] == preset_names()
    assert all(entry["summary"].endswith(".") for entry in presets)
    assert set(found) == set(registry.GROUPS)
    for group, entries in found.items():
        assert [entry["name"] for entry in entries] == registry.names(group)
        assert all(entry["module"].startswith("selfreg_gym.") for entry in entries)
    code, out, _ = said(capsys, "list", "helpers")
    assert code == 0
    assert all(name in out for name in registry.names("helpers"))
    assert "selfreg/Coin-v0" not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "helper"], "Did you mean 'helpers'"),
        (["run", "--preset", "tinny", "--out", "{tmp}/r"], "Did you mean 'tiny'"),
        (["run", "--preset", "tyni", "--out", "{tmp}/r"], "Did you mean 'tiny'"),
        (["run", "--preset", "smoke", "--set", "collect.episods=3", "--out", "{tmp}/r"], "Did you mean 'episodes'"),
        (["run", "--preset", "smoke", "--config", "x.toml", "--out", "{tmp}/r"], "received both"),
        (["run", "--preset", "smoke", "--until", "evalute", "--out", "{tmp}/r"], "Did you mean 'evaluate'"),
        (["run", "--preset", "smoke", "--set", "actor.id=scriptd", "--out", "{tmp}/r"], "Did you mean 'scripted'"),
        (["run", "--preset", "smoke", "--set", "task.kwargs.kind=pnpp", "--out", "{tmp}/r"], "Did you mean 'pnp'"),
        (["run", "--preset", "smoke", "--set", "task.kwargs.kinds=pnp", "--out", "{tmp}/r"], "Did you mean 'kind'"),
        (
            ["run", "--preset", "smoke", "--set", "task.splits.seen.split=tets-seen", "--out", "{tmp}/r"],
            "Did you mean 'test-seen'",
        ),
        (["report", "--out", "{tmp}/none"], "has none"),
        (["run", "--out", "{tmp}"], "holds other"),
        (["play", "--role", "actr", "--task", "selfreg/Coin-v0"], "Did you mean 'actor'"),
        (["play", "--task", "selfreg/Coins-v0"], "Did you mean 'selfreg/Coin-v0'"),
    ],
)
def test_errors_are_one_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "something").write_text("else")
    code, out, err = said(capsys, *(word.format(tmp=tmp_path) for word in words))
    assert code == 2
    assert says in err
    assert "Traceback" not in err + out
    assert not (tmp_path / "r").exists(), "a refused command leaves nothing behind"


def test_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "selfreg_gym", "list", "helper"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, "Traceback" in plain.stderr) == (2, False)
    assert "Traceback" in debug.stderr


def test_a_message_about_a_missing_input_names_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from selfreg_gym.pipeline import open_run

    open_run(tmp_path / "r", preset="smoke")
    code, _, err = said(capsys, "solve", "--out", str(tmp_path / "r"))
    assert code == 2
    assert "rollouts.sqlite" in err
    assert "--until collect" in err


def test_play_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        code, _, err = said(capsys, "play", "--task", "selfreg/Coin-v0")
    assert code == 2
    assert "needs a terminal" in err
    assert "truncated" not in err, "one error, and no warning that says the same"


def test_ctrl_c_keeps_finished_work_and_prints_how_to_continue(tmp_path: Path) -> None:
    """Interrupt a collection in the middle, go on, and end with every planned episode exactly once."""
    out = tmp_path / "r"
    settings = ("collect.tasks=10", "collect.episodes=300", "collect.workers=2")
    options = ["--out", str(out), "--preset", "smoke", *(word for one in settings for word in ("--set", one))]
    command = [sys.executable, "-m", "selfreg_gym", "collect", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _rows(out / "rollouts.sqlite") < 20:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    kept = _rows(out / "rollouts.sqlite")
    assert process.returncode == 130, err
    assert f"selfreg run --out {out}" in err
    assert "Traceback" not in err
    assert 20 <= kept < 3000
    again = subprocess.run([*command[:4], "--out", str(out)], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert _rows(out / "rollouts.sqlite") == 3000


def _rows(path: Path) -> int:
    import sqlite3

    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM episodes").fetchone()[0]
    except sqlite3.OperationalError:  # just being made
        return 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.toml", "--config", "b.toml"], "a run has one config, received 'a.toml' and --config 'b.toml'"),
        (["folder"], "a config is a TOML file, received the folder 'folder': write --out folder"),
        (["none.toml"], "a config file must be readable, received 'none.toml'"),
        (["smoke"], "'smoke' is a preset: write --preset smoke"),
        (["key.toml"], "the config 'key.toml' is invalid: unknown key: received 'colect'. Did you mean 'collect'?"),
        (["own.toml"], "no-such-actor"),
    ],
)
def test_a_run_takes_its_config_as_an_argument(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "key.toml").write_text("[colect]\ntasks = 3\n")
    (tmp_path / "own.toml").write_text('[actor]\nid = "no-such-actor"\n')
    code, _, err = said(capsys, "run", *words)
    assert code == 2
    assert message in " ".join(err.split())
