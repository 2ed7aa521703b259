"""Errors of the system (space, permissions, paths) and damaged files: one line and an exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command_line import said

from selfreg_gym.pipeline import open_run
from selfreg_gym.pipeline.locking import locked


def one_line(code: int, err: str) -> str:
    """Check that an error is one line and an exit code; return the line."""
    assert code in (1, 2), err
    assert err.startswith("selfreg: "), err
    assert len(err.splitlines()) == 1, err
    return err


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rollouts are collected and whose transition model is solved, with a helper that reads labels."""
    from selfreg_gym.pipeline import advance

    path = tmp_path_factory.mktemp("runs") / "begun"
    begun = open_run(path, preset="smoke", overrides=["helper.id=lm-sft"], progress=False, say=lambda line: None)
    advance(begun, ["collect", "fit", "solve"])
    return path


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """A copy of the run, which a test may damage."""
    return shutil.copytree(begun, tmp_path / "run")


def test_a_file_in_place_of_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "x"):
        for words in (["run", "--preset", "smoke"], ["report"], ["evaluate", "--redo"], ["collect"]):
            code, _, err = said(capsys, *words, "--out", str(out))
            assert str(out) in one_line(code, err)
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("link", ["loop", "nowhere"])
def test_dangling_links(capsys: pytest.CaptureFixture[str], tmp_path: Path, link: str) -> None:
    (tmp_path / "link").symlink_to("link" if link == "loop" else "nowhere")
    for words in (["run", "--preset", "smoke"], ["report"]):
        code, _, err = said(capsys, *words, "--out", str(tmp_path / "link"))
        one_line(code, err)


@pytest.mark.parametrize("name", ["manifest.json", "rollouts.sqlite", "transitions.npz", ".partial", ".lock"])
def test_a_folder_in_place_of_a_file(capsys: pytest.CaptureFixture[str], run: Path, name: str) -> None:
    path = run / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.write_text("") if name == ".partial" else path.mkdir()
    code, _, err = said(capsys, "train-helper", "--out", str(run))
    one_line(code, err)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("rollouts.sqlite", "flip"),
        ("rollouts.sqlite", "empty"),
        ("transitions.npz", "cut"),
        ("solution.npz", "foreign"),
    ],
)
def test_messages_of_damaged_inputs(capsys: pytest.CaptureFixture[str], run: Path, name: str, damage: str) -> None:
    data = bytearray((run / name).read_bytes())
    data[len(data) // 2] ^= 1
    content = {
        "flip": bytes(data),
        "cut": bytes(data[: len(data) // 2]),
        "foreign": b"PK\x03\x04 foreign",
        "empty": b"",
    }
    (run / name).write_bytes(content[damage])
    before = (run / name).read_bytes()
    for words in (["train-helper"], ["train-helper", "--redo"]):
        code, _, err = said(capsys, *words, "--out", str(run))
        assert f"{name} in " in one_line(code, err)
        assert "content has changed" in err
        assert "again" in err
    assert (run / name).read_bytes() == before
    assert not (run / "labels.jsonl").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "nan", '{"format": 1}', '{"format": 1, "config": {}, "stages": {"fit": 3}}', "[" * 100_000],
)
def test_messages_of_damaged_manifests(capsys: pytest.CaptureFixture[str], run: Path, content: str) -> None:
    (run / "manifest.json").write_text(content)
    for words in (["solve"], ["run"], ["report"]):
        code, _, err = said(capsys, *words, "--out", str(run))
        assert "manifest.json" in one_line(code, err)
    assert (run / "manifest.json").read_text() == content


def test_a_message_names_the_other_process_in_the_directory(run: Path) -> None:
    with locked(run):
        command = [sys.executable, "-m", "selfreg_gym", "solve", "--redo", "--out", str(run)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"process {os.getpid()} is working in" in one_line(result.returncode, result.stderr)


def test_of_two_simultaneous_runs_one_finishes(tmp_path: Path) -> None:
    """The second ends with an error at any time, and the first one's artifacts are complete."""
    out = tmp_path / "r"
    words = ["collect", "--preset", "smoke", "--set", "collect.episodes=60", "--out", str(out)]
    command = [sys.executable, "-m", "selfreg_gym", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    ends = [(process.communicate(timeout=120), process.returncode) for process in both]
    assert "Traceback" not in "".join(err for (_, err), _ in ends)
    assert sorted(code for _, code in ends) in ([0, 2], [0, 0]), ends
    manifest = json.loads((out / "manifest.json").read_text())
    assert list(manifest["stages"]) == ["collect"]


FULL = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)   # a file that grows beyond the limit is an OSError, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
sys.argv = ["selfreg", *sys.argv[2:]]
runpy.run_module("selfreg_gym", run_name="__main__")
"""


@pytest.mark.parametrize(("limit", "words"), [(20_000, ["collect", "--redo"]), (500, ["solve", "--redo"])])
def test_a_full_disk(run: Path, limit: int, words: list[str]) -> None:
    command = [sys.executable, "-c", FULL, str(limit), *words, "--out", str(run)]
    before = (run / "manifest.json").read_bytes()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    one_line(result.returncode, result.stderr)
    json.loads((run / "manifest.json").read_text())
    assert not list(run.glob("*.new"))
    if limit < 4_000:
        assert (run / "manifest.json").read_bytes() == before, "whole or not at all"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_standard_output_on_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "selfreg_gym", "list"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "No space left" in one_line(result.returncode, result.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_unreadable_and_unwritable(begun: Path) -> None:
    """In a child process without root's rights, which ignore permissions."""
    folder = Path(tempfile.mkdtemp())  # tmp_path is closed to others
    run = shutil.copytree(begun, folder / "run")
    folder.chmod(0o755)
    child = (
        "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.environ['HOME'] = '/nonexistent'\n"
        "from selfreg_gym.cli import main\n"
        "for words in (['solve', '--redo'], ['report'], ['run']):\n"
        "    try: main([*words, '--out', sys.argv[1]])\n"
        "    except SystemExit as end: print('code', end.code)\n"
        "assert os.getuid() == 65534\n"
    )
    for place in (Path(sys.base_prefix), Path(sys.prefix), Path(__file__).resolve()):
        if any(not parent.stat().st_mode & 0o001 for parent in place.parents):
            pytest.skip(f"{place} is closed to others")
    for mode in (0o555, 0o000):
        run.chmod(mode)
        result = subprocess.run([sys.executable, "-c", child, str(run)], capture_output=True, text=True, check=False)
        run.chmod(0o755)
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        errors = [line for line in result.stderr.splitlines() if line.startswith("selfreg: ")]
        assert len(errors) == 3, result.stderr
        assert all("ermission" in line for line in errors), errors
    shutil.rmtree(folder)
