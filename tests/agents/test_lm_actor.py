"""The language-model actor in its two modes, the shipped checkpoints, and pickling by path."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.agents.actors.tiny import Tiny
from selfreg_gym.agents.interventions.strong import Strong
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError
from selfreg_gym.types import Decision


def sif_decisions(count: int, *, seed: int = 0, split: str = "train") -> list[Decision]:
    """Decisions of expert episodes, kinds mixed."""
    env = gym.make("selfreg/SIF-v0", split=split).unwrapped
    out: list[Decision] = []
    episode = 0
    while len(out) < count:
        observation, info = env.reset(seed=seed + episode, options={"episode": episode})
        over = False
        while not over:
            out.append(Decision(observation, info["admissible_actions"], key=(seed, len(out), 0)))
            observation, _, terminated, truncated, info = env.step(env.expert_action())
            over = terminated or truncated
        episode += 1
    return out[:count]


def again(decisions: list[Decision]) -> list[Decision]:
    """The same decisions with their random streams at the beginning."""
    return [Decision(d.observation, d.admissible_actions, key=d._key) for d in decisions]


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return Tiny()


def test_ranking_returns_admissible_actions_with_log_probabilities(tiny: Tiny) -> None:
    decisions = sif_decisions(24)
    for decision, act in zip(decisions, tiny.act(decisions), strict=True):
        assert act.text in decision.admissible_actions
        assert len(act.logprobs) == len(decision.admissible_actions)
        assert np.exp(act.logprobs).sum() == pytest.approx(1)
        assert act.tokens > 50
        assert act.error is None


def test_acts_do_not_depend_on_the_batch_and_are_reproducible(tiny: Tiny) -> None:
    decisions = sif_decisions(24)
    together = [act.text for act in tiny.act(decisions)]
    fresh = LM(tiny.checkpoint_dir, memo=0)
    assert [fresh.act([decision])[0].text for decision in again(decisions)] == together
    assert [act.text for act in fresh.act(again(decisions)[::-1])][::-1] == together


def test_it_samples_from_the_probabilities_it_reports(tiny: Tiny) -> None:
    [decision] = sif_decisions(1)
    acts = tiny.act([Decision(decision.observation, decision.admissible_actions, key=(i,)) for i in range(3000)])
    share = np.array([[act.text == action for act in acts] for action in decision.admissible_actions]).mean(axis=1)
    np.testing.assert_allclose(share, np.exp(acts[0].logprobs), atol=0.03)


def test_temperature_zero_takes_the_most_likely_action(tiny: Tiny) -> None:
    decisions = sif_decisions(8)
    for decision, act in zip(decisions, LM(temperature=0).act(decisions), strict=True):
        assert act.text == decision.admissible_actions[int(np.argmax(act.logprobs))]


def test_its_actions_are_better_than_random(tiny: Tiny) -> None:
    env = gym.make("selfreg/SIF-v0", split="actor-train").unwrapped
    decisions, expert = [], []
    for episode in range(30):
        observation, info = env.reset(seed=episode, options={"episode": episode})
        over = False
        while not over:
            decisions.append(Decision(observation, info["admissible_actions"]))
            expert.append(info["admissible_actions"].index(env.expert_action()))
            observation, _, terminated, truncated, info = env.step(env.expert_action())
            over = terminated or truncated
    right = [act.logprobs[best] for act, best in zip(tiny.act(decisions), expert, strict=True)]
    chance = [-np.log(len(decision.admissible_actions)) for decision in decisions]
    assert np.mean(right) > np.mean(chance) + 1


def test_generated_answers_do_not_depend_on_the_batch() -> None:
    actor = Tiny(mode="generate")
    decisions = sif_decisions(12)
    acts = actor.act(decisions)
    assert [act.text for act in acts] == [actor.act([decision])[0].text for decision in again(decisions)]
    assert all(act.logprobs is None and act.tokens > 50 for act in acts)
    assert any(act.text in decision.admissible_actions for act, decision in zip(acts, decisions, strict=True))


def test_without_admissible_actions_it_generates(tiny: Tiny) -> None:
    [with_list] = sif_decisions(1)
    acts = tiny.act([with_list, Decision(with_list.observation, None)])
    assert acts[0].logprobs is not None
    assert acts[1].logprobs is None
    assert isinstance(acts[1].text, str)


def test_no_admissible_action_raises(tiny: Tiny) -> None:
    with pytest.raises(InvalidArgumentError, match="at least one candidate"):
        tiny.act([Decision("x", ())])


def test_no_decisions_give_no_acts(tiny: Tiny) -> None:
    assert tiny.act([]) == []


def test_pickling_keeps_the_path_and_deepcopy_returns_the_actor(tiny: Tiny) -> None:
    tiny.act(sif_decisions(1))
    data = pickle.dumps(tiny)
    assert len(data) < 2000
    loaded = pickle.loads(data)
    assert [a.text for a in loaded.act(sif_decisions(3))] == [a.text for a in tiny.act(sif_decisions(3))]
    assert copy.deepcopy(tiny) is tiny


@pytest.mark.parametrize("name", ["tiny", "strong"])
def test_a_shipped_checkpoint_matches_its_record(name: str) -> None:
    folder = (Tiny().checkpoint_dir.parent / name).resolve()
    record = json.loads((folder / "training.json").read_text())
    assert record["weights_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert record["split"] == "actor-train"
    assert {"steps", "seed", "perturb"} <= set(record["recipe"])


@pytest.mark.parametrize("split", ["train", "test-unseen"])
def test_it_knows_every_word_of_the_task(tiny: Tiny, split: str) -> None:
    encoder = tiny.scorer.encoder
    for decision in sif_decisions(150, split=split):
        for text in (decision.observation, *decision.admissible_actions):
            assert encoder.tokenizer.unk_token_id not in encoder.prompt(text), text


def test_strong_is_an_intervention_and_acts() -> None:
    strong = Strong()
    assert (strong.name, strong.cost) == ("strong", 1.0)
    decisions = sif_decisions(4)
    for decision, act in zip(decisions, strong.actor.act(decisions), strict=True):
        assert act.text in decision.admissible_actions


def test_invalid_arguments_raise(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'rank'"):
        Tiny(mode="ranke")
    with pytest.raises(InvalidArgumentError, match="temperature"):
        Tiny(temperature=-1)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        LM(tmp_path)
