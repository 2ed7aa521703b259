"""Train the shipped actors by behaviour cloning of a task's expert on the actor-train split.

    python examples/train_actor.py tiny      # agents/checkpoints/sif/tiny: the default actor
    python examples/train_actor.py strong    # agents/checkpoints/sif/strong: the intervention "strong"
    python examples/train_actor.py tiny --family babyai    # agents/checkpoints/babyai/tiny
    python examples/train_actor.py tiny --evaluate 600     # then evaluate it on the train split, which it has not seen
    python examples/train_actor.py tiny --from-rollouts runs/demo/rollouts.sqlite --out runs/actor
                                             # train it further on states that help has reached

The size of an actor and the number of its training steps (`actor_recipes.py`) determine its success rate. The episodes
are those of `demonstrations.py`. The loss is the cross-entropy of the expert's action, plus a small weight on the
cross-entropy of the prompt. Training has two stages: the first uses shortened observations (`first_stage.py`), the
second whole observations.

`--from-rollouts STORE` trains a shipped actor further, on states of collected episodes that were reached by a step of
help (`stored_states.py`). `--states alone` is the control: as many states that were reached without help.

All draws come from one seed and run on one thread. On one machine with one torch version the weights are reproduced
bit by bit, and their hash in training.json can be compared; other processors round differently in the last digit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from actor_recipes import PROMPT_LOSS, RECIPES, Recipe
from demonstrations import FAMILIES, SPLIT, expert_decisions, read
from first_stage import lookups
from stored_states import STATES, stored_decisions

from selfreg_gym import EpisodeSpec, InterventionVectorEnv, run_episodes
from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.loading import limit_threads, load_causal, load_tokenizer
from selfreg_gym.lm.prompts import actor_prompt, answer_text
from selfreg_gym.lm.tokenizer import PromptEncoder, build_tokenizer
from selfreg_gym.lm.training import finetune, seeded
from selfreg_gym.utils.random_streams import Purpose, stream

CHECKPOINTS = Path(__file__).resolve().parent.parent / "agents" / "checkpoints"
NAMES = ("strong", "tiny")


def train(
    recipe: Recipe, out: Path, *, family: str = "sif", demonstrations: Path | None = None, device: str = "cpu"
) -> dict[str, Any]:
    """Build tokenizer and model, train, write the checkpoint to ``out`` and return the training record.

    Args:
        recipe: the hyperparameters.
        out: the folder of the checkpoint.
        family: the tasks, a key of :data:`demonstrations.FAMILIES`.
        demonstrations: a file of decisions that ``demonstrations.py`` wrote; None: they are made.
        device: a torch device. Weights depend on the kind of device in the last digits.
    """
    limit_threads()
    begun = time.perf_counter()
    if demonstrations is None:
        pairs = expert_decisions(FAMILIES[family], recipe.episodes, recipe.perturb, recipe.seed)
    else:
        pairs = read(demonstrations)
    tokenizer = build_tokenizer(f"{actor_prompt(text)}{answer_text(action)}" for text, action in pairs)
    encoder, pad, end = PromptEncoder(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.hidden * 8 // 3,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=2048,
        initializer_range=recipe.init,
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
    )
    with seeded(recipe.seed):
        model = transformers.LlamaForCausalLM(config).to(device)
    first = lookups(family, pairs, stream(Purpose(0x5407), recipe.seed)) if recipe.short_steps else []

    losses: list[float] = []
    for stage, steps, batch_size in (
        (first, recipe.short_steps, recipe.short_batch_size),
        (pairs, recipe.steps, recipe.batch_size),
    ):
        if not steps:
            continue
        examples = encoded(stage, encoder, end)
        log = finetune(
            model,
            examples,
            partial(answer_loss, prompt_loss=recipe.prompt_loss, pad=pad),
            lengths=[len(prompt) + len(answer) for prompt, answer in examples],
            seed=recipe.seed,
            lr=recipe.lr,
            batch_size=batch_size,
            steps=steps,
            progress=sys.stdout.isatty(),
        )
        losses += log.loss
    about = {
        "family": family, "split": SPLIT, "recipe": asdict(recipe), "device": device, "decisions": len(pairs),
        "data_sha256": digest_of(pairs),
    }  # fmt: skip
    return save(out, model, tokenizer, about, losses, begun)


def train_further(
    start: Path,
    store: Path,
    out: Path,
    *,
    states: str = "helped",
    steps: int = 300,
    count: int = 4000,
    lr: float = 3e-4,
    seed: int = 1,
) -> dict[str, Any]:
    """Train a checkpoint on expert actions at stored states, write it to ``out`` and return the training record.

    Args:
        start: the checkpoint to begin with.
        store: a rollout store of training tasks.
        out: the folder of the new checkpoint.
        states: "helped", "alone" or "all" (:func:`stored_decisions`).
        steps: optimiser steps with batches of 8.
        count: largest number of states, drawn at random.
        lr: peak learning rate; a tenth of that of the first training.
        seed: seed of the draw and of the batches.
    """
    limit_threads()
    begun = time.perf_counter()
    pairs = stored_decisions(store, states)
    order = stream(Purpose(0xF0A), seed).permutation(len(pairs))[:count]
    pairs = [pairs[i] for i in sorted(order.tolist())]
    model, tokenizer = load_causal(start), load_tokenizer(start)
    encoder, pad, end = PromptEncoder(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id
    examples = encoded(pairs, encoder, end)
    log = finetune(
        model,
        examples,
        partial(answer_loss, prompt_loss=PROMPT_LOSS, pad=pad),
        lengths=[len(prompt) + len(answer) for prompt, answer in examples],
        seed=seed,
        lr=lr,
        batch_size=8,
        steps=steps,
        progress=sys.stdout.isatty(),
    )
    about = {
        "start": start.name, "states": states, "steps": steps, "lr": lr, "seed": seed, "decisions": len(pairs),
        "data_sha256": digest_of(pairs),
    }  # fmt: skip
    return save(out, model, tokenizer, about, list(log.loss), begun)


def encoded(pairs: Sequence[tuple[str, str]], encoder: PromptEncoder, end: int) -> list[tuple[list[int], list[int]]]:
    """Tokens of the prompts and of the answers."""
    return [
        (encoder.prompt(actor_prompt(text)), [*encoder.continuation(answer_text(action)), end])
        for text, action in pairs
    ]


def answer_loss(
    net: Any, batch: Sequence[tuple[list[int], list[int]]], *, prompt_loss: float, pad: int
) -> torch.Tensor:
    """-log P(the action), plus ``prompt_loss`` times the mean cross-entropy of the prompt; mean over the batch."""
    ids = pad_right([prompt + answer for prompt, answer in batch], pad=pad)
    weight = torch.zeros(ids.shape[0], ids.shape[1] - 1)
    for row, (prompt, answer) in enumerate(batch):
        weight[row, : len(prompt) - 1] = prompt_loss / (len(prompt) - 1)
        weight[row, len(prompt) - 1 : len(prompt) - 1 + len(answer)] = 1.0
    ids, weight = ids.to(net.device), weight.to(net.device)
    logits = net(input_ids=ids, use_cache=False).logits[:, :-1]
    each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")  # (B, L - 1)
    return (each * weight).sum() / len(batch)


def digest_of(pairs: Sequence[tuple[str, str]]) -> str:
    """SHA-256 of training data."""
    return hashlib.sha256("\n\n".join(f"{o}\n{a}" for o, a in pairs).encode()).hexdigest()


def save(
    out: Path, model: Any, tokenizer: Any, about: dict[str, Any], losses: Sequence[float], begun: float
) -> dict[str, Any]:
    """Write a checkpoint with its training record, and return the record."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    weights = out / "model.safetensors"
    weights.chmod(0o644)  # safetensors makes it readable for the owner only
    record = {
        **about,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": [round(value, 4) for value in losses],
        "seconds": round(time.perf_counter() - begun, 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "machine": platform.machine(),
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def play(
    path: Path, *, episodes: int, temperature: float, mode: str, split: str = "train", family: str = "sif"
) -> dict[str, float]:
    """Return the success rate per kind of task in ``split``, and the share of episodes with an invalid action."""
    from selfreg_gym.agents.actors.lm import LM

    actor = LM(path, mode=mode, temperature=temperature)
    kwargs = {**FAMILIES[family].kwargs[0], "split": split}
    env = InterventionVectorEnv(16, FAMILIES[family].task, actor, [], task_kwargs=kwargs, autoreset_mode="Disabled")
    outcome: dict[str, list[bool]] = {}
    invalid = 0
    for episode in run_episodes(env, [EpisodeSpec(i, i, 0.0) for i in range(episodes)]):
        outcome.setdefault(episode.kind, []).append(episode.success)
        invalid += any(step.invalid for step in episode.steps)
    rates = {kind: round(float(np.mean(won)), 3) for kind, won in sorted(outcome.items())}
    rates["all"] = round(float(np.mean([won for part in outcome.values() for won in part])), 3)
    rates["invalid"] = round(invalid / episodes, 3)
    return rates


def main() -> None:
    """Parse the command line, train, and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--family", choices=sorted(RECIPES), default="sif", help="the tasks; default: sif")
    parser.add_argument("--out", type=Path, default=None, help="default: agents/checkpoints/FAMILY/NAME")
    parser.add_argument("--device", default="cpu", help="a torch device; default: cpu")
    parser.add_argument(
        "--demonstrations", type=Path, default=None, metavar="FILE", help="decisions that demonstrations.py wrote"
    )
    parser.add_argument(
        "--evaluate", type=int, default=0, metavar="N", help="then evaluate on N tasks of the train split"
    )
    parser.add_argument(
        "--from-rollouts", type=Path, default=None, metavar="STORE", help="train it further on states of a store"
    )
    parser.add_argument("--states", choices=STATES, default="helped", help="which states of the store; default: helped")
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps of the further training")
    parser.add_argument("--lr", type=float, default=3e-4, help="peak learning rate of the further training")
    parser.add_argument("--seed", type=int, default=1, help="seed of the further training")
    arguments = parser.parse_args()
    if arguments.from_rollouts is not None:
        if arguments.out is None:
            parser.error("--from-rollouts needs --out: it does not replace the shipped checkpoint.")
        out, start = arguments.out, CHECKPOINTS / arguments.family / arguments.name
        options = {"states": arguments.states, "steps": arguments.steps, "lr": arguments.lr, "seed": arguments.seed}
        record = train_further(start, arguments.from_rollouts, out, **options)
    else:
        out = arguments.out or CHECKPOINTS / arguments.family / arguments.name
        if arguments.name not in RECIPES[arguments.family]:
            names = ", ".join(RECIPES[arguments.family])
            parser.error(f"the family {arguments.family!r} has recipes for {names} only.")
        recipe = RECIPES[arguments.family][arguments.name]
        options = {"demonstrations": arguments.demonstrations, "device": arguments.device}
        record = train(recipe, out, family=arguments.family, **options)
    print(json.dumps({k: v for k, v in record.items() if k != "recipe"}, indent=1))
    if arguments.evaluate:
        for mode, temperature in (("rank", 1.0), ("rank", 0.0), ("generate", 1.0)):
            rates = play(out, episodes=arguments.evaluate, temperature=temperature, mode=mode, family=arguments.family)
            print(f"{mode} at temperature {temperature:g}: {rates}")


if __name__ == "__main__":
    main()
