"""A real ``transformers serve`` on loopback with tiny models, compared with the numbers of transformers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.agents.helpers.endpoint import EndpointHelper
from selfreg_gym.agents.helpers.prm_threshold import PRMThreshold
from selfreg_gym.collection import collect
from selfreg_gym.endpoint.cache import AnswerCache
from selfreg_gym.endpoint.prm import EndpointPRM
from selfreg_gym.lm.parsing import parse_action
from selfreg_gym.testing import check_actor, check_helper
from selfreg_gym.types import Decision

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

OBSERVATIONS = tuple(f"Coin {i} of 3 lies under the cup. Call it: heads or tails?" for i in (1, 2, 3))
COIN = ("heads", "tails")
_WORDS = "user assistant Answer with exactly one of the offered actions and nothing else state question Which should be"
_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def _save(folder: Path, *, seed: int, decides: bool = False) -> Path:
    """Save a tiny Llama with a tokenizer, also as a decision model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.decision import DecisionConfig

    from selfreg_gym.lm.tokenizer import build_tokenizer

    letters = " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    tokenizer = build_tokenizer([*OBSERVATIONS, _WORDS, letters, " ".join(COIN)])
    tokenizer.chat_template = _TEMPLATE
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.3, **shape, **ids))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if decides:
        DecisionConfig(
            labels={"noul": ["yes", "no"]}, chat_template="{{ state }} {{ question.instructions }}<|mark|>"
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "llama": str(_save(folder / "llama", seed=1)),
        "decider": str(_save(folder / "decider", seed=2, decides=True)),
    }


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server, which loads the model that a request names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("hf")
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = "from transformers.cli.transformers import main; main()"
    arguments = ["serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = (home / "log").open("w+")
    process = subprocess.Popen([sys.executable, "-c", command, *arguments], env=env, stdout=log, stderr=log)
    try:
        for _ in range(1200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert json.load(answer)["status"] == "ok"
                    break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, (home / "log").read_text()[-2000:]
                time.sleep(0.2)
        else:
            pytest.fail(f"transformers serve did not come up: {(home / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait(timeout=20)
        log.close()


def options(model: str) -> dict[str, Any]:
    return {
        "model": model,
        "backoff": 0.001,
        "max_backoff": 0.01,
        "retries": 1,
        "timeout": 120.0,
        "load_timeout": 300.0,
    }


def decisions() -> list[Decision]:
    return [
        Decision(observation, COIN, key=(i, draw)) for i, observation in enumerate(OBSERVATIONS) for draw in range(3)
    ]


def test_the_probe_finds_supported_and_ignored_arguments(url: str, models: dict[str, str]) -> None:
    actor = EndpointActor(url, **options(models["llama"]))
    description = actor.describe()
    found = {name: entry["works"] for name, entry in description["capabilities"].items()}
    assert found == {
        "completions": True, "chat": True, "stop": False, "prompt_lists": False, "logprobs": False, "echo": False,
        "structured": False, "systemone": True,
    }  # fmt: skip
    why = {name: entry["why"] for name, entry in description["capabilities"].items()}
    assert "prompt must be a string" in why["prompt_lists"]
    assert why["logprobs"] == "the server accepts the request, and its response has no log-probabilities"
    assert "structured_outputs in chat (HTTP 422)" in why["structured"]
    assert "response_format in chat (ignored)" in why["structured"]
    assert description["strategy"] == "systemone"


def test_a_choice_has_the_probabilities_of_transformers(url: str, models: dict[str, str]) -> None:
    from transformers import pipeline

    actor = EndpointActor(url, **options(models["llama"]))
    assert actor.describe()["strategy"] == "systemone"
    before = actor.usage()["requests"]
    acts = actor.act(decisions())
    assert actor.usage()["requests"] == before + 3  # three observations, nine decisions
    pipe = pipeline("decision", model=models["llama"], device="cpu")
    for decision, act in zip(decisions(), acts, strict=True):
        question = {
            "type": "choice", "instructions": "Which of the offered actions should be done next?",
            "criteria": dict.fromkeys(COIN),
        }  # fmt: skip
        expected = pipe({"state": decision.observation, "questions": {"action": question}})["action"]["probabilities"]
        np.testing.assert_allclose(np.exp(act.logprobs), [expected[name] for name in COIN], atol=1e-3)
        assert act.text in COIN
        assert act.tokens > 30
    check_actor(actor)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_texts_are_those_of_generate(url: str, models: dict[str, str], api: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    actor = EndpointActor(url, strategy="text", api=api, temperature=0, max_tokens=5, **options(models["llama"]))
    tokenizer = AutoTokenizer.from_pretrained(models["llama"])
    model = AutoModelForCausalLM.from_pretrained(models["llama"])
    for observation, act in zip(
        OBSERVATIONS, actor.act([Decision(observation, COIN) for observation in OBSERVATIONS]), strict=True
    ):
        ids = tokenizer(f"{observation}\nAction:", return_tensors="pt")["input_ids"]
        if api == "chat":
            request = "Answer with exactly one of the offered actions and nothing else."
            turns = [{"role": "user", "content": f"{observation}\n{request}"}]
            ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
            ids = ids["input_ids"] if not hasattr(ids, "shape") else ids
        written = model.generate(ids, max_new_tokens=5, do_sample=False)[0, ids.shape[1] :]
        assert act.text == parse_action(tokenizer.decode(written, skip_special_tokens=True), COIN)
        assert act.tokens == ids.shape[1] + len(written)


def test_a_helper_and_a_prm_behind_systemone(url: str, models: dict[str, str]) -> None:
    from transformers import pipeline

    pipe = pipeline("decision", model=models["decider"], device="cpu")

    def yes(observation: str, instructions: str) -> float:
        return pipe({"state": observation, "questions": {"q": {"type": "noul", "instructions": instructions}}})["q"][
            "noul"
        ]

    prm = EndpointPRM(url, instructions="Action:", **options(models["decider"]))
    np.testing.assert_allclose(
        prm.score(OBSERVATIONS), [yes(observation, "Action:") for observation in OBSERVATIONS], atol=1e-5
    )
    assert np.ptp(prm.score(OBSERVATIONS)) > 1e-3
    middle = float(np.median(prm.score(OBSERVATIONS)))
    assert PRMThreshold(prm, middle).predict(OBSERVATIONS)[0].sum() == 1

    helper = EndpointHelper(url, budget=1, **options(models["decider"]))
    wanted = np.array([yes(observation, "Budget 1.00. Help?") for observation in OBSERVATIONS])
    for threshold in (0.0, 0.3, 0.5, 0.7, 1.0001):
        actions, _ = helper.with_knob(threshold).predict(OBSERVATIONS)
        assert actions.tolist() == (wanted > 1 - threshold).astype(int).tolist()
    check_helper(helper)


def test_a_collection_and_its_repetition_from_the_cache(url: str, models: dict[str, str], tmp_path: Path) -> None:
    env = {
        "task": "selfreg/Coin-v0", "actor": "endpoint", "interventions": ["expert"],
        "actor_kwargs": {"base_url": url, "cache": str(tmp_path / "answers.sqlite"), **options(models["llama"])},
    }  # fmt: skip
    settings = {"tasks": range(3), "episodes": 4, "help_probabilities": (0, 0.5), "seed": 1, "progress": False}
    with collect(env, store=tmp_path / "a.sqlite", **settings) as one:
        assert one.is_complete
        assert {step.action_text for episode in one for step in episode} == set(COIN)
        assert all(step.tokens > 0 for episode in one for step in episode if step.action == 0)
        played = list(one)
    known = len(AnswerCache(tmp_path / "answers.sqlite"))
    with collect(env, store=tmp_path / "b.sqlite", **settings) as other:
        assert list(other) == played
    assert len(AnswerCache(tmp_path / "answers.sqlite")) == known > 3
