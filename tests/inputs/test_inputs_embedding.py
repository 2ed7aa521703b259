"""The embedding of the text: hidden states by hand, batches, saved copies; stored decisions equal those in progress."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from selfreg_gym import InterventionEnv, InterventionVectorEnv, Rollouts, collect
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.inputs import DecisionTable, InputEncoder, fit_inputs
from selfreg_gym.inputs.backbones import backbone_folder, embedding_backbone
from selfreg_gym.inputs.embedding import _chosen_layers
from selfreg_gym.lm.loading import load_causal, load_tokenizer
from selfreg_gym.lm.prompts import actor_prompt
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.store.columns import Coded

ENV = {
    "task": "selfreg/SIF-v0", "task_kwargs": {"kind": "mixed"}, "actor": "tiny", "interventions": ["expert"]
}  # fmt: skip
NAMES = ("features", "steps_left", "calls_so_far", "embedding", "state", "actor")


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Rollouts:
    store = tmp_path_factory.mktemp("inputs") / "rollouts.sqlite"
    return collect(
        ENV,
        store=store,
        tasks=range(3),
        episodes=4,
        help_probabilities=(0.0, 0.5),
        ask_actor_always=True,
        progress=False,
    )


@pytest.fixture(scope="module")
def fitted(rollouts: Rollouts) -> tuple[InputEncoder, DecisionTable, np.ndarray]:
    encoder, table = fit_inputs(rollouts, NAMES)
    return encoder, table, encoder.encode(table)


def test_columns_are_hidden_states_of_the_last_token_and_the_mean_of_the_last_layer(
    fitted: tuple[InputEncoder, DecisionTable, np.ndarray],
) -> None:
    encoder, table, x = fitted
    folder = backbone_folder("tiny")
    model, tokenizer = load_causal(folder), load_tokenizer(folder)
    prompts, found = PromptEncoder(tokenizer), []
    for text in table.observation.values:
        ids = torch.tensor([prompts.prompt(actor_prompt(text, tokenizer=tokenizer))])
        with torch.inference_mode():
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
        found.append(torch.cat([*(one[0, -1] for one in hidden[1:]), hidden[-1][0].mean(0)]).numpy())
    values = np.array(found, np.float64)[table.observation.codes]
    expected = (values - values.mean(0)) / values.std(0)
    np.testing.assert_allclose(x[:, encoder.blocks["embedding"]], expected, atol=2e-3)


def test_the_batch_does_not_matter(fitted: tuple[InputEncoder, DecisionTable, np.ndarray]) -> None:
    encoder, table, x = fitted
    for row in (0, 7, len(table) - 1):
        alone = table.take(np.array([row]))
        alone = DecisionTable(
            **{**vars(alone), "observation": Coded.of([table.observation.values[alone.observation.codes[0]]])}
        )
        np.testing.assert_allclose(encoder.encode(alone)[0], x[row], atol=1e-4)


def test_stored_decisions_equal_those_in_progress(
    rollouts: Rollouts, fitted: tuple[InputEncoder, DecisionTable, np.ndarray]
) -> None:
    encoder, _, x = fitted
    env, row = InterventionEnv(**ENV), 0
    for episode in rollouts.episodes():
        _, info = env.reset(seed=episode.seed, options={"episode": episode.task_index})
        for step in episode:
            live = encoder.encode(DecisionTable.from_slots(env.slots, [env.actor_acts()]))[0]
            exact = np.ones(encoder.width, bool)
            exact[encoder.blocks["embedding"]] = exact[encoder.blocks["actor"]] = False
            np.testing.assert_array_equal(live[exact], x[row, exact])
            np.testing.assert_allclose(live, x[row], atol=1e-3)  # the actor rounds to 4 decimals, after batching
            *_, info = env.step(step.action)
            row += 1
        assert info["success"] == episode.success
    assert row == len(x)


def test_a_saved_encoder_contains_its_backbone(
    tmp_path: Path, fitted: tuple[InputEncoder, DecisionTable, np.ndarray]
) -> None:
    encoder, table, x = fitted
    encoder.subset(["embedding", "features"]).save(tmp_path / "inputs")
    again = InputEncoder.load(tmp_path / "inputs")
    assert (tmp_path / "inputs" / "backbone" / "model.safetensors").is_file()
    np.testing.assert_allclose(again.encode(table), x[:, encoder.columns(["embedding", "features"])], atol=1e-4)


def test_a_used_encoder_can_be_sent_to_another_process(
    fitted: tuple[InputEncoder, DecisionTable, np.ndarray],
) -> None:
    encoder, table, x = fitted
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_allclose(again.encode(table), x, atol=1e-4)
    assert len(pickle.dumps(again)) < 1.5 * len(pickle.dumps(encoder))


def test_batches_of_a_vector_env_equal_single_envs(fitted: tuple[InputEncoder, DecisionTable, np.ndarray]) -> None:
    encoder = fitted[0]
    envs = InterventionVectorEnv(4, **ENV, autoreset_mode="Disabled")
    envs.reset(seed=3)
    for _ in range(3):
        acts = envs.actor_acts()
        together = encoder.encode(DecisionTable.from_slots(envs.slots, acts))
        for i, slot in enumerate(envs.slots):
            alone = encoder.encode(DecisionTable.from_slots([slot], [acts[i]]))[0]
            np.testing.assert_allclose(alone, together[i], atol=1e-4)
        envs.step(np.array([0, 1, 0, 1]))


def test_backbones_by_name(rollouts: Rollouts, tmp_path: Path) -> None:
    assert backbone_folder("actor", spec={"env": {"actor": "tiny"}}) == backbone_folder("tiny")
    assert backbone_folder("prm", prm=tmp_path) == tmp_path
    assert backbone_folder("actor", spec=rollouts.spec) == backbone_folder("tiny")
    with pytest.raises(InvalidArgumentError, match="actor with a checkpoint"):
        backbone_folder("actor", spec={"env": {"actor": "scripted"}})
    with pytest.raises(InvalidArgumentError, match="loaded from a folder"):
        backbone_folder("prm")
    with pytest.raises(UnknownNameError, match="backbone"):
        backbone_folder("tinny")


def test_a_backbone_is_built_if_no_checkpoint_can_read_the_texts(rollouts: Rollouts) -> None:
    with embedding_backbone("auto", list(rollouts.columns("observation")["observation"].values)) as folder:
        assert folder == backbone_folder("tiny")
    texts = [f"stone {i} glitters quietly" for i in range(20)]
    with embedding_backbone("auto", texts) as folder:
        assert folder != backbone_folder("tiny")
        assert (folder / "model.safetensors").is_file()
    assert not folder.exists()


def test_deep_backbones_contribute_evenly_spaced_layers() -> None:
    assert _chosen_layers(2, 96) == (1, 2)
    assert _chosen_layers(30, 576) == (15, 30)
    assert _chosen_layers(16, 2048) == (16,)
    assert _chosen_layers(12, 256) == (2, 3, 5, 7, 9, 10, 12)
