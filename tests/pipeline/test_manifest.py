"""The manifest: its contents, and the directories and configs that it rejects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.manifest import Manifest, fingerprint

CONFIG = load_config(preset="smoke")


def test_a_new_directory(tmp_path: Path) -> None:
    manifest = Manifest.open(tmp_path / "a" / "run", CONFIG)
    data = json.loads((tmp_path / "a" / "run" / "manifest.json").read_text())
    assert data == json.loads(json.dumps(manifest.data))
    assert manifest.config == CONFIG
    assert data["seeds"] == {
        "collect": 1, "prm": 2, "helper": 3, "calibrate": 4, "evaluate": 5, "rl": 6, "values": 7, "select": 8,
    }  # fmt: skip
    assert {"numpy", "torch", "gymnasium", "selfreg-gym"} <= set(data["versions"])
    assert data["python"]
    assert data["platform"]


def test_the_manifest_names_no_person_and_no_path(tmp_path: Path) -> None:
    Manifest.open(tmp_path, CONFIG)
    text = (tmp_path / "manifest.json").read_text()
    assert str(Path.home()) not in text
    assert str(Path(__file__).parent) not in text


def test_the_same_config_continues_the_run(tmp_path: Path) -> None:
    Manifest.open(tmp_path, CONFIG).note(models={"tiny": "abc"})
    again = Manifest.open(tmp_path, load_config(preset="smoke", overrides=["collect.workers=2"]))
    assert again.data["models"] == {"tiny": "abc"}
    assert again.config.collect.workers == 2


def test_another_config_raises_and_names_the_keys_that_differ(tmp_path: Path) -> None:
    Manifest.open(tmp_path, CONFIG)
    other = load_config(preset="smoke", overrides=["collect.episodes=9", "actor.id=tiny"])
    with pytest.raises(RunDirectoryError) as caught:
        Manifest.open(tmp_path, other)
    message = str(caught.value)
    assert f"collect.episodes: {CONFIG.collect.episodes} -> 9" in message
    assert "actor.id: 'scripted' -> 'tiny'" in message
    assert "--out" in message
    assert "--update" in message
    assert Manifest.load(tmp_path).config == CONFIG, "a refusal must change nothing"
    assert Manifest.open(tmp_path, other, update=True).config == other


def test_a_directory_with_other_files_raises(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(RunDirectoryError, match="holds other files"):
        Manifest.open(tmp_path, CONFIG)
    with pytest.raises(RunDirectoryError, match="has none"):
        Manifest.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError):
        Manifest.open(tmp_path / "file", CONFIG)


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ('{"format": 99}', "received 99"), ("{}", "cannot be read")],
)
def test_messages_of_invalid_manifests(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=says):
        Manifest.load(tmp_path)


def test_message_of_a_config_of_another_version(tmp_path: Path) -> None:
    manifest = Manifest.open(tmp_path, CONFIG)
    manifest.data["config"]["collect"]["episods"] = 3
    manifest.save()
    with pytest.raises(RunDirectoryError, match=r"not valid in this version.*Did you mean 'episodes'"):
        _ = Manifest.load(tmp_path).config


def test_a_stage_is_current_with_the_same_settings_inputs_and_outputs(tmp_path: Path) -> None:
    manifest = Manifest.open(tmp_path, CONFIG)
    (tmp_path / "in").write_text("1")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "weights").write_text("2")
    what = {"inputs": ["in"], "outputs": ["out"]}
    assert not manifest.is_current("s", settings={"a": 1}, **what)
    manifest.finish("s", settings={"a": 1}, seconds=1.0, **what)
    assert Manifest.load(tmp_path).is_current("s", settings={"a": 1}, **what)
    assert not manifest.is_current("s", settings={"a": 2}, **what)
    (tmp_path / "in").write_text("changed")
    assert not manifest.is_current("s", settings={"a": 1}, **what)
    (tmp_path / "in").write_text("1")
    assert manifest.is_current("s", settings={"a": 1}, **what)
    (tmp_path / "out" / "weights").unlink()
    assert not manifest.is_current("s", settings={"a": 1}, **what)


def test_a_missing_output_is_never_current(tmp_path: Path) -> None:
    manifest = Manifest.open(tmp_path, CONFIG)
    manifest.finish("s", settings={}, inputs=[], outputs=["never-written"], seconds=0.0)
    assert not manifest.is_current("s", settings={}, inputs=[], outputs=["never-written"])


def test_fingerprints_follow_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = fingerprint(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprint(tmp_path / "b") == first, "a copy elsewhere is the same"
    (tmp_path / "b" / "x").rename(tmp_path / "b" / "y")
    assert fingerprint(tmp_path / "b") != first
