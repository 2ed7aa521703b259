"""Atomic replacement of files, and file modes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from selfreg_gym.utils.files import atomic_path, remove, set_default_modes, write_text


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file"]


def test_a_block_that_raises_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_without_overwrite_an_existing_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with atomic_path(path, overwrite=False) as temporary:
        temporary.write_text("first")
    with pytest.raises(FileExistsError), atomic_path(path, overwrite=False) as temporary:
        temporary.write_text("second")
    assert path.read_text() == "first"

    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    with atomic_path(tmp_path / "other", overwrite=False) as temporary:
        temporary.write_text("x")
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_a_stale_temporary_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / f".file.{os.getpid()}.new").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "file", "x")
    assert (tmp_path / "precious").read_text() == "mine"


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "folder" / "file", "x")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    assert (tmp_path / "folder" / "file").exists()
    remove(tmp_path / "folder")
    remove(tmp_path / "missing")
    assert not list(tmp_path.iterdir())


def test_default_modes(tmp_path: Path) -> None:
    write_text(tmp_path / "usual", "x")
    write_text(tmp_path / "folder" / "private", "x")
    (tmp_path / "folder" / "private").chmod(0o600)
    set_default_modes(tmp_path / "folder")
    assert (tmp_path / "folder" / "private").stat().st_mode == (tmp_path / "usual").stat().st_mode
