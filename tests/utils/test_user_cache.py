"""The user's cache directory: private, outside the package, with a substitute where the home is not writable."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from selfreg_gym.utils.user_cache import cache_directory, give_matplotlib_a_directory, is_usable


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    """A path below a file: no directory can be made there, not even by root."""
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file" / "home")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_xdg_cache_home_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory("a", "b") == tmp_path / "selfreg_gym" / "a" / "b"
    assert (tmp_path / "selfreg_gym").stat().st_mode & 0o777 == 0o700, "private, because cached code is executed"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="other places there")
def test_home_is_the_default_and_a_relative_value_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "selfreg_gym"


def test_temporary_files_are_the_substitute(nowhere: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
    found = cache_directory("compiled")
    assert found is not None
    assert temporary in found.parents
    assert found == cache_directory("compiled"), "the same for the next process of this user"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of POSIX")
def test_a_directory_that_others_can_write_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(temporary / "home"))
    shared = temporary / "home" / "selfreg_gym"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    assert not is_usable(shared)
    found = cache_directory()
    assert found is not None
    assert found != shared
    found.rmdir()
    found.symlink_to(shared)  # planted before this user's first call
    assert cache_directory() is None


def test_no_directory_at_all(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
    monkeypatch.setattr(tempfile, "tempdir", nowhere)
    assert cache_directory() is None


@pytest.fixture
def before_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)


@pytest.mark.usefixtures("before_matplotlib")
def test_matplotlib_gets_a_directory_only_if_its_own_is_not_writable(
    nowhere: str, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    give_matplotlib_a_directory()
    assert "MPLCONFIGDIR" not in os.environ
    assert not (tmp_path / "home").exists(), "looking makes nothing"

    monkeypatch.setenv("HOME", nowhere)
    monkeypatch.setenv("USERPROFILE", nowhere)
    monkeypatch.setenv("MPLCONFIGDIR", "the user's")
    give_matplotlib_a_directory()
    assert os.environ["MPLCONFIGDIR"] == "the user's"

    monkeypatch.delenv("MPLCONFIGDIR")
    give_matplotlib_a_directory()
    assert temporary in Path(os.environ.pop("MPLCONFIGDIR")).parents
