"""Export of trained models: safetensors only, the model card, the decision repository."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from selfreg_gym.agents.helpers._lm_sft_examples import answer_tokens
from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.lm.backbone import weights_hash
from selfreg_gym.lm.loading import load_causal, load_classifier, load_tokenizer
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Episode, Transition

OBSERVATIONS = (
    "Room 2 has: a table, a cup on a table.\nYou can: Go to Room 3, Pick up the cup, Done!",
    "red",
    "one two three\n\n four </s> five",
)


@dataclass(frozen=True, slots=True)
class Row:
    observation: str
    budget: float
    action: int
    weight: float
    task_id: str


def labels(count: int = 64) -> list[Row]:
    return [
        Row(OBSERVATIONS[i % 2] + f" Room {i % 7}", 1.0 + i % 2, (i // 2) % 2, 1.0, f"task-{i % 8}")
        for i in range(count)
    ]


def episodes(count: int = 24) -> list[Episode]:
    def moment(i: int, t: int) -> Transition:
        return Transition(
            t=t, observation=f"{OBSERVATIONS[i % 2]} Room {i % 7}", admissible_actions=("Done!",), state_key=f"{i}/{t}",
            feature_key=None, steps_left=2 - t, action=0, action_text="Done!", cost=0.0, reward=0.0,
            terminated=t == 1, truncated=False, invalid=False,
        )  # fmt: skip

    return [
        Episode(
            task_index=i % 8, seed=i, task_id=f"task-{i % 8}", kind="", help_probability=0.0, success=bool(i % 2),
            usage=(0.0,), steps=(moment(i, 0), moment(i, 1)),
        )
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def helper(checkpoint: Path) -> LMSFTHelper:
    return LMSFTHelper.train(labels(), backbone=checkpoint, seed=1, lr=1e-2, patience=2, share=0.25, progress=False)


@pytest.fixture(scope="module")
def prm(checkpoint: Path) -> ProcessRewardModel:
    return ProcessRewardModel.train(episodes(), backbone=checkpoint, seed=1, lr=1e-2, patience=2, progress=False)


def test_early_stopping_is_recorded_and_reproducible(
    helper: LMSFTHelper, prm: ProcessRewardModel, checkpoint: Path
) -> None:
    for info in (helper.info, prm.info):
        record = info["early_stopping"]
        assert record["patience"] == 2
        assert record["best_step"] in [step for step, _ in record["validation"]]
        assert min(record["validation"], key=lambda entry: entry[1])[0] == record["best_step"]
    again = LMSFTHelper.train(labels(), backbone=checkpoint, seed=1, lr=1e-2, patience=2, share=0.25, progress=False)
    np.testing.assert_array_equal(again.logits(OBSERVATIONS), helper.logits(OBSERVATIONS))
    assert helper.info["labels"] == 48  # six of the eight tasks


def test_labels_without_tasks_cannot_be_held_out(checkpoint: Path) -> None:
    @dataclass(frozen=True)
    class Bare:
        observation: str = "red"
        budget: float = 1.0
        action: int = 0
        weight: float = 1.0

    with pytest.raises(InvalidArgumentError, match="needs a task_id"):
        LMSFTHelper.train([Bare()], backbone=checkpoint, patience=2, progress=False)


def test_nothing_is_pickled(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("pickle was used")

    for owner, name in ((torch, "save"), (torch, "load"), (pickle, "dump"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr("selfreg_gym.lm.training._SAVE_SECONDS", 0.0)  # a state after every step
    monkeypatch.setattr("selfreg_gym.lm.training_state.TrainingState.remove", lambda self: None)
    more: dict[str, Any] = {"backbone": checkpoint, "patience": 9, "progress": False, "epochs": 2}
    trained: list[Any] = []
    for _ in range(2):  # the second finds the state of the first
        trained = [
            LMSFTHelper.train(labels(), resume=tmp_path / "h", **more),
            ProcessRewardModel.train(episodes(), resume=tmp_path / "p", **more),
        ]
    for i, model in enumerate(trained):
        model.save_pretrained(tmp_path / str(i))
        type(model).from_pretrained(tmp_path / str(i))
        model.export_decision(tmp_path / f"{i}-decision")
        transformers.pipeline("decision", model=str(tmp_path / f"{i}-decision"))
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".md", ".jinja"}


def test_pickled_weights_and_code_raise(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((checkpoint / name).read_text())
    torch.save(load_causal(checkpoint).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        load_causal(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(
            {**config, "model_type": "mine", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
        )
    )
    (tmp_path / "code.py").write_text("raise SystemExit('code of a checkpoint was run')")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_causal(tmp_path)


@pytest.mark.parametrize("kind", ["helper", "prm"])
def test_the_card_contains_the_training_record(
    kind: str, checkpoint: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from huggingface_hub import ModelCard

    model = request.getfixturevalue(kind)
    model.save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    record = card.data.to_dict()
    assert record["selfreg"] == json.loads(json.dumps(model.info))
    assert record["selfreg"]["backbone_sha256"] == weights_hash(checkpoint)
    assert {"selfreg-gym"} < set(record["tags"])
    [block] = [part for part in card.text.split("```") if part.startswith("python")]
    names: dict[str, Any] = {"observation": OBSERVATIONS[0]}
    exec(block.removeprefix("python").replace("PATH", str(tmp_path)), names)  # the code runs
    if kind == "prm":
        assert names["p"].tolist() == model.score(OBSERVATIONS[0]).tolist()
        measured = {one["type"]: one["value"] for one in record["model-index"][0]["results"][0]["metrics"]}
        assert measured == {name: model.info["held_out"][name] for name in ("auc", "ece", "brier")}
    else:
        assert int(names["action"]) == int(model.with_budget(1.0).predict(OBSERVATIONS[0])[0])


def test_the_exported_helper_answers_as_the_helper(helper: LMSFTHelper, tmp_path: Path) -> None:
    shifted = helper.with_budget(1.5).with_offset(0.7)
    shifted.export_decision(tmp_path, budget=2.0)
    pipe = transformers.pipeline("decision", model=str(tmp_path))
    assert type(pipe.model).__name__ == "JevForDecision"
    for budget, instructions in ((2.0, None), (2.0, "Should it ask?"), (0.5, "Budget 0.50. Help?")):
        gain = helper.with_budget(budget).logits(OBSERVATIONS)[:, 0] + 0.7
        for observation, value in zip(OBSERVATIONS, gain, strict=True):
            asked = {
                "yes": {"type": "noul", "instructions": instructions},
                "which": {"type": "choice", "instructions": instructions, "criteria": {"nohelp": None, "help": None}},
            }
            answers = pipe({"state": observation, "questions": asked})
            expected = 1 / (1 + np.exp(-value))
            assert answers["yes"]["noul"] == pytest.approx(expected, abs=1e-4)
            assert answers["which"]["probabilities"]["help"] == pytest.approx(expected, abs=1e-4)
            action = int(helper.with_budget(budget).with_offset(0.7).predict(observation)[0])
            assert answers["which"]["choice"] == ("nohelp", "help")[action]
    with pytest.raises(Exception, match="has the options nohelp, help"):
        pipe({"state": "red", "questions": {"q": {"type": "choice", "criteria": {"help": None, "nohelp": None}}}})


def test_the_exported_prm_answers_as_the_prm(prm: ProcessRewardModel, tmp_path: Path) -> None:
    prm.export_decision(tmp_path)
    pipe = transformers.pipeline("decision", model=str(tmp_path))
    asked = {
        "yes": {"type": "noul", "instructions": "Will it succeed?"},
        "level": {"type": "score", "criteria": ["failure", "success"]},
        "which": {"type": "choice", "criteria": {"failure": None, "success": None}},
    }
    for observation in OBSERVATIONS:
        answers, p = pipe({"state": observation, "questions": asked}), prm.score(observation)[0]
        assert answers["yes"]["noul"] == pytest.approx(p, abs=1e-4)
        assert answers["level"]["score"] == pytest.approx(p, abs=1e-4)
        assert answers["which"]["probabilities"]["success"] == pytest.approx(p, abs=1e-4)


def test_several_interventions_are_a_choice(checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(checkpoint)
    three = LMSFTHelper(load_causal(checkpoint), tokenizer, answers=answer_tokens(tokenizer, 2), budget=1.0)
    three.export_decision(tmp_path)
    pipe = transformers.pipeline("decision", model=str(tmp_path))
    criteria = dict.fromkeys(("nohelp", "help", "help2"))
    answer = pipe({"state": OBSERVATIONS[0], "questions": {"q": {"type": "choice", "criteria": criteria}}})["q"]
    gain = np.exp([0.0, *three.logits(OBSERVATIONS[:1])[0]])
    np.testing.assert_allclose(list(answer["probabilities"].values()), gain / gain.sum(), atol=1e-4)
    with pytest.raises(Exception, match="no noul question"):
        pipe({"state": OBSERVATIONS[0], "questions": {"q": {"type": "noul"}}})


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "GPT2": {"n_embd": 32, "n_layer": 1, "n_head": 2},
    "Qwen3": {**SMALL, "num_key_value_heads": 1, "head_dim": 16},
    "Gemma2": {**SMALL, "num_key_value_heads": 1, "head_dim": 16, "query_pre_attn_scalar": 16},
    "Granite": {**SMALL, "num_key_value_heads": 1, "logits_scaling": 3.0},
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tokenizer: Any, tmp_path: Path) -> tuple[str, Path]:
    """A checkpoint of another family, with a chat template and a tied head."""
    config = getattr(transformers, f"{request.param}Config")(
        vocab_size=len(tokenizer), initializer_range=0.2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=True, **FAMILIES[request.param],
    )  # fmt: skip
    kind = "GPT2LMHeadModel" if request.param == "GPT2" else f"{request.param}ForCausalLM"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, kind)(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}Room: {{ m.content | trim }} {% endfor %}Success:"
    )
    return request.param, tmp_path / "base"


def test_other_families_train_with_adapters_and_export(family: tuple[str, Path], tmp_path: Path) -> None:
    name, base = family
    assert load_tokenizer(base).chat_template
    helper = LMSFTHelper.train(labels(), backbone=base, lora=4, lr=1e-2, progress=False).with_budget(2.0)
    if name == "Granite":
        with pytest.raises(
            CheckpointError, match="checkpoint for AutoModelForSequenceClassification and cannot be loaded"
        ):
            ProcessRewardModel.train(episodes(), backbone=base, progress=False)  # transformers has none of this family
        with pytest.raises(CheckpointError, match="would answer differently"):  # this family divides its logits by 3
            helper.export_decision(tmp_path / "helper")
        return
    prm = ProcessRewardModel.train(episodes(), backbone=base, epochs=1, lr=1e-2, progress=False)
    prm.export_decision(tmp_path / "prm")
    pipe = transformers.pipeline("decision", model=str(tmp_path / "prm"))
    observation = f"  {OBSERVATIONS[0]}  "  # the template trims
    answer = pipe({"state": observation, "questions": {"q": {"type": "noul"}}})["q"]["noul"]
    assert answer == pytest.approx(prm.score(observation)[0], abs=1e-4)
    helper.export_decision(tmp_path / "helper")
    pipe = transformers.pipeline("decision", model=str(tmp_path / "helper"))
    answer = pipe({"state": observation, "questions": {"q": {"type": "noul"}}})["q"]["noul"]
    assert answer == pytest.approx(1 / (1 + np.exp(-helper.logits([observation])[0, 0])), abs=1e-4)


def test_a_loaded_model_keeps_its_dtype_and_falls_back_to_the_cpu(checkpoint: Path, tmp_path: Path) -> None:
    helper = LMSFTHelper.train(labels(16), backbone=checkpoint, lora=4, dtype="bfloat16", progress=False)
    helper.info["device"] = "cuda:7"  # trained elsewhere
    helper.save_pretrained(tmp_path)
    loaded = LMSFTHelper.from_pretrained(tmp_path)
    assert (loaded.model.dtype, loaded.model.device.type) == (torch.bfloat16, "cpu")
    np.testing.assert_array_equal(loaded.logits(OBSERVATIONS), helper.logits(OBSERVATIONS))
    exact = LMSFTHelper.from_pretrained(tmp_path, dtype="float32")
    np.testing.assert_allclose(exact.logits(OBSERVATIONS), helper.logits(OBSERVATIONS), atol=0.25)


def test_a_new_head_learns_in_float32_and_is_saved_in_the_models_dtype(checkpoint: Path, tmp_path: Path) -> None:
    from selfreg_gym.lm.training import add_lora, merge_lora

    net = add_lora(load_classifier(checkpoint, dtype="bfloat16"), task="SEQ_CLS", rank=4)
    assert {p.dtype for p in net.parameters() if p.requires_grad} == {torch.float32}
    ids = torch.tensor([[1, 5, 6, 7, 8]])
    with torch.inference_mode():
        before = net.eval()(input_ids=ids).logits
        plain = merge_lora(net)
        assert {p.dtype for p in plain.parameters()} == {torch.bfloat16}
        torch.testing.assert_close(plain(input_ids=ids).logits.float(), before.float(), rtol=0.02, atol=0.02)
    prm = ProcessRewardModel.train(episodes(), backbone=checkpoint, dtype="bfloat16", progress=False)
    prm.save_pretrained(tmp_path)
    np.testing.assert_array_equal(
        ProcessRewardModel.from_pretrained(tmp_path).score(OBSERVATIONS), prm.score(OBSERVATIONS)
    )


def test_merging_keeps_a_classifier_with_a_tied_backbone(family: tuple[str, Path]) -> None:
    from selfreg_gym.lm.training import add_lora, merge_lora

    if family[0] == "Granite":
        pytest.skip("transformers has no classifier of this family")
    net = add_lora(load_classifier(family[1]), task="SEQ_CLS", rank=4, seed=1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    ids = torch.tensor([[1, 5, 6, 7, 8]])
    with torch.inference_mode():
        before = net.eval()(input_ids=ids).logits
        merged = merge_lora(net)
        torch.testing.assert_close(merged(input_ids=ids).logits, before, rtol=1e-4, atol=1e-4)
