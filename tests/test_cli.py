"""The command line as a person meets it: help, lists, errors, and the whole smoke run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfreg_gym import __version__, registry
from selfreg_gym.cli import main
from selfreg_gym.pipeline import STAGES

COMMANDS = ("run", "collect", "train-prm", "solve", "train-helper", "evaluate", "report", "list", "play")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, stdout and stderr."""
    code = 0
    try:
        main(list(words))
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version") == (0, f"selfreg_gym {__version__}\n", "")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--help")
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = said(capsys, command, "--help")
    assert code == 0
    assert f"selfreg {command}" in out.replace(f"Usage: selfreg {command}", ""), "an example of how to call it"


def test_until_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "run", "--help")
    words = out[out.index("--until") : out.index("--update")].replace(",", " ").replace(".", " ").split()
    assert [word for word in words if word in {stage.name for stage in STAGES}] == [stage.name for stage in STAGES]


def test_the_page_on_run_directories_names_every_stage_and_its_command(repository: Path) -> None:
    page = (repository / "docs" / "run_directory.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    told = {cells[0].strip(" `"): cells[1].strip(" `") for cells in rows if len(cells) == 3}
    assert list(told) == [stage.name for stage in STAGES]
    for command in set(told.values()):
        assert command.removeprefix("selfreg ") in COMMANDS


def test_help_loads_nothing_heavy() -> None:
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
        (["run", "--out", "{tmp}"], "holds something else"),
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
    command = [sys.executable, "-m", "selfreg_gym.cli", "list", "helper"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, "Traceback" in plain.stderr) == (2, False)
    assert "Traceback" in debug.stderr


def test_a_stage_without_its_input_says_what_to_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from selfreg_gym.pipeline import open_run

    open_run(tmp_path / "r", preset="smoke")
    code, _, err = said(capsys, "solve", "--out", str(tmp_path / "r"))
    assert code == 2
    assert "rollouts.sqlite" in err
    assert "--until collect" in err


def test_play_with_nobody_at_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        code, _, err = said(capsys, "play", "--task", "selfreg/Coin-v0")
    assert code == 2
    assert "nobody is at the terminal" in err


def test_ctrl_c_keeps_what_is_there_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Interrupt a collection in the middle, go on, and end with every planned episode exactly once."""
    out = tmp_path / "r"
    settings = ("collect.tasks=10", "collect.episodes=300", "collect.workers=2")
    options = ["--out", str(out), "--preset", "smoke", *(word for one in settings for word in ("--set", one))]
    command = [sys.executable, "-m", "selfreg_gym.cli", "collect", *options]
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
