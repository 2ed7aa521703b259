"""Damaged weights and records raise errors that name the file, the fault and the remedy."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.agents.helpers._lm_sft_examples import answer_tokens
from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.loading import load_causal, load_classifier, load_tokenizer
from selfreg_gym.lm.training_state import Best, Progress, TrainingState
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Decision
from tests.lm.test_lm_export import episodes

Tensors = dict[str, torch.Tensor]
LAYER = "model.layers.0.mlp.up_proj.weight"


def lost(weights: Tensors) -> None:
    del weights[LAYER]


def unknown(weights: Tensors) -> None:
    weights["model.layers.7.mlp.up_proj.weight"] = weights[LAYER].clone()


def misshapen(weights: Tensors) -> None:
    weights[LAYER] = weights[LAYER][:3].clone()


def not_finite(weights: Tensors) -> None:
    weights[LAYER][0, 0] = float("nan")


def no_embedding(weights: Tensors) -> None:
    del weights["model.embed_tokens.weight"]


DAMAGES: dict[Callable[[Tensors], None], str] = {
    lost: rf"{LAYER} is missing",
    unknown: r"model.layers.7.mlp.up_proj.weight belongs to no layer",
    misshapen: r"up_proj.weight has the shape \(3, 32\) and must have \(64, 32\)",
    not_finite: rf"{LAYER} holds NaN or infinity",
    no_embedding: r"model.embed_tokens.weight is missing",
}


def damage(folder: Path, change: Callable[[Tensors], None], name: str = "model.safetensors") -> None:
    weights = load_file(folder / name)
    change(weights)
    save_file(weights, folder / name, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def saved(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A causal LM, a trained process reward model and a helper."""
    root = tmp_path_factory.mktemp("saved")
    shutil.copytree(checkpoint, root / "actor")
    ProcessRewardModel.train(episodes(), backbone=checkpoint, lora=None, epochs=1, progress=False).save_pretrained(
        root / "prm"
    )
    tokenizer = load_tokenizer(checkpoint)
    LMSFTHelper(load_causal(checkpoint), tokenizer, answers=answer_tokens(tokenizer, 1)).save_pretrained(
        root / "helper"
    )
    return {name: root / name for name in ("actor", "prm", "helper")}


LOADERS: dict[str, Callable[[Path], Any]] = {
    "actor": lambda folder: LM(folder).act([Decision("red", ("one", "two"), key=(1,))]),
    "prm": ProcessRewardModel.from_pretrained,
    "helper": LMSFTHelper.from_pretrained,
}


@pytest.mark.parametrize("change", DAMAGES)
@pytest.mark.parametrize("what", LOADERS)
def test_damaged_weights_raise(
    what: str, change: Callable[[Tensors], None], saved: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved[what], tmp_path / what))
    LOADERS[what](folder)
    damage(folder, change)
    with pytest.raises(
        CheckpointError, match=rf"{what}.*model\.safetensors.*{DAMAGES[change]}.*save the checkpoint again"
    ):
        LOADERS[what](folder)


def test_constants_saved_by_older_versions_are_ignored(checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "old"))
    buffers = {"attn.masked_bias": torch.tensor(-1e4), "self_attn.rotary_emb.inv_freq": torch.ones(4)}
    damage(folder, lambda weights: weights.update({f"model.layers.0.{k}": v for k, v in buffers.items()}))
    assert load_causal(folder).dtype == torch.float32


@pytest.mark.parametrize("change", DAMAGES)
def test_training_requires_a_complete_backbone(
    change: Callable[[Tensors], None], checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "backbone"))
    damage(folder, change)
    with pytest.raises(CheckpointError, match=DAMAGES[change]):
        ProcessRewardModel.train(episodes(), backbone=folder, progress=False)


def test_only_training_accepts_a_missing_head(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["prm"], tmp_path / "prm"))
    damage(folder, lambda weights: weights.pop("score.weight"))  # type: ignore[arg-type,return-value]
    with pytest.raises(CheckpointError, match=r"score\.weight is missing"):
        ProcessRewardModel.from_pretrained(folder)
    assert load_classifier(folder).num_labels == 1
    with pytest.raises(CheckpointError, match=r"score\.weight is missing"):
        load_classifier(saved["actor"], trained=True)
    with pytest.raises(CheckpointError, match=r"score\.weight belongs to no layer"):
        load_causal(saved["prm"])


NESTED = "[" * 100_000
RECORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "prm": ("prm.json", {"scale": [1.0], "info": [], "format": None}),
    "helper": ("helper.json", {"answers": ["help"], "budget": "1", "offset": None, "costs": ["1"], "info": 3}),
}


@pytest.mark.parametrize("what", RECORDS)
def test_damaged_records_raise(what: str, saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[what], tmp_path / what))
    file, wrong = folder / RECORDS[what][0], RECORDS[what][1]
    text = file.read_text()
    record = json.loads(text)
    damaged = [text[: len(text) // 2], "", "[]", "{}", NESTED, "\x00", '{"format": NaN}']
    damaged += [json.dumps({**record, key: value}) for key, value in wrong.items()]
    damaged += [json.dumps({name: value for name, value in record.items() if name != key}) for key in record]
    for content in damaged:
        file.write_text(content)
        with pytest.raises(CheckpointError, match=rf"{file.name}.*(again|train)"):
            LOADERS[what](folder)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=file.name):
        LOADERS[what](folder)


@pytest.mark.parametrize("content", ["{", NESTED, "[]", ""])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_other_damaged_files_of_a_checkpoint_raise(name: str, content: str, checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match="model"):
        LOADERS["actor"](folder)


def test_answers_beyond_the_output_layer_raise(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["helper"], tmp_path / "helper"))
    record = json.loads((folder / "helper.json").read_text())
    (folder / "helper.json").write_text(json.dumps({**record, "answers": [1, 10**6]}))
    with pytest.raises(CheckpointError, match=r"helper\.json.*1000000"):
        LMSFTHelper.from_pretrained(folder)


def test_saved_weights_have_the_mode_of_other_files(saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode & 0o777
    for what in ("prm", "helper"):
        modes = {file.name: file.stat().st_mode & 0o777 for file in saved[what].iterdir()}
        assert set(modes.values()) == {usual}, modes
    before = os.umask(0o027)
    try:
        LMSFTHelper.from_pretrained(saved["helper"]).save_pretrained(tmp_path / "helper")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "helper").iterdir()} == {0o640}


def state(folder: Path) -> tuple[TrainingState, dict[str, torch.nn.Parameter], torch.optim.Optimizer]:
    trainable = {name: torch.nn.Parameter(torch.ones(shape)) for name, shape in (("a", (2, 3)), ("b", (4,)))}
    return TrainingState(folder, fingerprint="run"), trainable, torch.optim.AdamW(trainable.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("weights/a"), "weights/a is missing"),
        (lambda t: t.pop("optimizer/exp_avg/b"), "optimizer/exp_avg/b is missing"),
        (lambda t: t.pop("best/b"), "best/b is missing"),
        (lambda t: t.update({"weights/c": torch.ones(1)}), "weights/c is unknown"),
        (lambda t: t.update({"weights/a": torch.ones(3)}), r"weights/a has the shape \(3,\) and must have \(2, 3\)"),
        (lambda t: t.update({"weights/b": torch.full((4,), torch.nan)}), "weights/b holds NaN"),
    ],
)
def test_a_damaged_training_state_raises(change: Any, message: str, tmp_path: Path) -> None:
    store, trainable, optimizer = state(tmp_path)
    sum(p.sum() for p in trainable.values()).backward()  # type: ignore[union-attr]
    optimizer.step()
    best = Best(0.5, {name: p.detach().clone() for name, p in trainable.items()})
    store.save(Progress(1, [0.5], [(1, 0.5)], best), trainable, optimizer)
    store, fresh, optimizer = state(tmp_path)
    assert store.load(fresh, optimizer)[0] == 1
    assert store.path is not None
    from safetensors import safe_open

    with safe_open(store.path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(store.path)
    change(tensors)
    save_file(tensors, store.path, metadata=header)
    store, fresh, optimizer = state(tmp_path)
    with pytest.raises(CheckpointError, match=rf"training_state.*{message}.*delete it"):
        store.load(fresh, optimizer)
    assert all((p == 1).all() for p in fresh.values())
    assert not optimizer.state


@pytest.mark.parametrize("record", ["{", NESTED, "[]", '{"fingerprint": "run"}', '{"fingerprint": "run", "done": 3, '
                                    '"losses": [], "validation": [], "best": null}'])  # fmt: skip
def test_a_training_state_with_a_damaged_record_raises(record: str, tmp_path: Path) -> None:
    store, trainable, optimizer = state(tmp_path)
    assert store.path is not None
    save_file({f"weights/{name}": p.detach() for name, p in trainable.items()}, store.path, metadata={"state": record})
    with pytest.raises(CheckpointError, match=r"training_state.*delete it"):
        store.load(trainable, optimizer)
    store.path.write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"training_state.*delete it"):
        store.load(trainable, optimizer)
