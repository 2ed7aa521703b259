"""Checkpoints of a run: it is not continued with another model of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfreg_gym.errors import InvalidArgumentError, RunDirectoryError, UnknownNameError
from selfreg_gym.pipeline import STAGES, advance, open_run
from selfreg_gym.pipeline.checkpoints import models_of
from selfreg_gym.pipeline.config import load_config


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """A directory that can be named as a backbone; only its bytes matter here."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def overrides(folder: Path) -> list[str]:
    return [f"prm.backbone={str(folder)!r}", f"helper.backbone={str(folder)!r}"]


def test_models_of_a_run(backbone: Path) -> None:
    models = models_of(load_config(preset="smoke", overrides=overrides(backbone)))
    assert set(models) == {"prm backbone", "helper backbone"}, "scripted and expert have no checkpoint"
    (backbone / "model.safetensors").write_bytes(b"other weights")
    assert models_of(load_config(preset="smoke", overrides=overrides(backbone))) != models


@pytest.mark.parametrize(
    ("override", "error", "says"),
    [
        ("prm.backbone=tinny", UnknownNameError, "unknown prm.backbone.*Did you mean 'tiny'"),
        ("helper.backbone=scripted", InvalidArgumentError, "received the actor 'scripted', which has no checkpoint"),
    ],
)
def test_invalid_backbones_raise_before_a_stage_runs(
    tmp_path: Path, backbone: Path, override: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        open_run(tmp_path / "r", preset="smoke", overrides=[*overrides(backbone), override])
    assert not (tmp_path / "r").exists()


def test_a_changed_model_raises_without_update(tmp_path: Path, backbone: Path) -> None:
    said: list[str] = []
    run = open_run(tmp_path / "r", preset="smoke", overrides=overrides(backbone), progress=False, say=said.append)
    advance(run, ["collect"])
    (backbone / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(RunDirectoryError, match=r"other checkpoints: helper backbone, prm backbone.*--update"):
        open_run(tmp_path / "r")
    with pytest.raises(RunDirectoryError, match="other checkpoints"):
        advance(run, ["collect"])
    run = open_run(tmp_path / "r", update=True, progress=False, say=said.append)
    said.clear()
    advance(run, ["collect"])
    assert said == [f"1/{len(STAGES)} collect: up to date"], "the collection does not depend on the backbones"


def test_a_folder_with_the_name_of_an_actor_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(preset="smoke", overrides=["prm.backbone=tiny", "helper.backbone=tiny"])
    expected = models_of(config)
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert models_of(config) == expected
