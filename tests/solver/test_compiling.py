"""The cache of compiled code: its place, and results with damaged or missing files."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym.solver import compiling

numba = pytest.importorskip("numba")


def double(x: Any) -> Any:
    return x + x


def make() -> Any:
    """``double``, compiled as in a new process."""
    return compiling.compiled(double)


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory."""
    monkeypatch.setattr(compiling, "_directory", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def no_cached_directory() -> Any:
    """Clear the cached result of ``_directory`` before and after the test."""
    compiling._directory.cache_clear()
    yield
    compiling._directory.cache_clear()


def test_compiled_code_is_loaded_again(directory: Path) -> None:
    assert make()(2) == 4
    assert list(directory.rglob("*.nbi"))
    again = make()
    assert again(2) == 4
    assert hits(again) == 1


def test_kernels_are_not_cached_in_the_source_folder(repository: Path) -> None:
    from selfreg_gym.solver import kernels, kernels_batch, kernels_caps

    for function in (kernels.sweep, kernels.evaluate, kernels_batch.sweep_many, kernels_caps.sweep_caps):
        assert repository not in Path(function.stats.cache_path).parents


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04nonsense"])
def test_a_damaged_file_is_compiled_again(directory: Path, pattern: str, content: bytes) -> None:
    make()(2)
    for path in directory.rglob(pattern):
        path.write_bytes(content)
    assert make()(2) == 4
    healed = make()
    assert healed(2) == 4
    assert hits(healed) == 1


def test_code_of_another_signature_is_not_used(directory: Path) -> None:
    """Two processes that save at the same time may use the same file name."""
    function = make()
    assert function(2) == 4
    assert function(0.25) == 0.5
    first, second = sorted(directory.rglob("*.nbc"))
    first.write_bytes(second.read_bytes())
    again = make()
    assert again(2) == 4
    assert isinstance(again(2), int)


def test_a_full_disk_does_not_raise(directory: Path) -> None:
    function = make()
    place = Path(function.stats.cache_path)
    place.rmdir()
    place.write_text("no directory any more")
    assert function(2) == 4


@pytest.mark.usefixtures("no_cached_directory")
def test_numba_cache_dir_is_used_and_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert tmp_path in Path(make().stats.cache_path).parents
    assert str(tmp_path) == numba.config.CACHE_DIR


@pytest.mark.usefixtures("no_cached_directory")
def test_without_a_directory_there_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiling, "cache_directory", lambda *parts: None)
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR"):
        function = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make()
    assert function(2) == 4


def test_the_folder_name_depends_on_all_sources_of_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of a kernel, kernels in other files that call it are compiled again."""
    import importlib.resources

    before = compiling._key()
    for source in importlib.resources.files("selfreg_gym.solver").iterdir():
        if source.name.endswith(".py"):
            (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    assert compiling._key() == before
    with (tmp_path / "kernels.py").open("a") as file:
        file.write("# changed\n")
    assert compiling._key() != before


SOLVE = """
import numpy as np, selfreg_gym
step = np.array([[0, 1.0], [0, 0]])
model = selfreg_gym.TransitionModel(P=[step, step], success=np.array([[0, 0.5], [0, 0.9]]), start=np.array([1.0, 0]))
print(selfreg_gym.solve(model, help_cost=0.1).expected_success)
"""


def test_several_processes_without_a_home_directory(repository: Path, tmp_path: Path) -> None:
    """Three processes without a writable home share an empty cache among the temporary files."""
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "home")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**os.environ, "HOME": nowhere, "XDG_CACHE_HOME": nowhere, "TMPDIR": str(temporary)}
    env |= {"PYTHONPATH": str(repository)}
    env.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-W", "error::UserWarning", "-c", SOLVE]
    processes = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in processes:
        out, err = process.communicate()
        assert not err
        assert np.isclose(float(out), 0.9)
    assert list(temporary.rglob("*.nbi"))
