"""Train the shipped actors by behaviour cloning of SIF's expert on the actor-train split.

    python examples/train_actor.py tiny      # agents/checkpoints/tiny: the default actor
    python examples/train_actor.py strong    # agents/checkpoints/strong: the intervention "strong"
    python examples/train_actor.py tiny --evaluate 600     # then evaluate it on the train split, which it has not seen

The size of an actor and the number of its training steps determine its success rate. Episodes follow the expert, except
that each step takes a random action with probability 0.1 (its label is still the expert's action); otherwise a learner
never sees the states after a mistake. The loss is the cross-entropy of the expert's action, plus a small weight on the
cross-entropy of the prompt.

Training has two stages. The choice of a room is a lookup in the observation, which a small Llama learns only after some
10,000 examples; until then it assigns equal probability to all room numbers. The first stage therefore uses shortened
observations (the human's words, the admissible actions and the robot's position, without map and history), which are
cheap and consist mostly of lookups. The second stage uses whole observations. Whole observations alone gave a success
rate of 0.17 after the same amount of training.

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import transformers

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.loading import limit_threads
from selfreg_gym.lm.prompts import actor_prompt, answer_text
from selfreg_gym.lm.tokenizer import PromptEncoder, build_tokenizer
from selfreg_gym.lm.training import finetune, seeded
from selfreg_gym.types import Decision
from selfreg_gym.utils.random_streams import Purpose, stream

CHECKPOINTS = Path(__file__).resolve().parent.parent / "agents" / "checkpoints"
SPLIT = "actor-train"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The hyperparameters of an actor.

    Attributes:
        hidden, layers, heads: size of the Llama.
        episodes: number of expert episodes of the actor-train split; the task kinds alternate.
        steps: optimiser steps of the second stage, which determine the success rate.
        short_steps: optimiser steps of the first stage.
        short_batch_size, batch_size, lr: of the optimiser in the first stage, in the second stage, in both.
        prompt_loss: weight of the mean cross-entropy of the prompt, relative to that of the answer's tokens.
        perturb: probability of a random action at a step.
        init: standard deviation of the initial weights; with transformers' 0.02 narrow models need three times the
            steps.
        seed: seed of all draws.
    """

    hidden: int
    layers: int
    heads: int
    episodes: int
    steps: int
    short_steps: int = 1200
    short_batch_size: int = 32
    batch_size: int = 8
    lr: float = 3e-3
    prompt_loss: float = 0.5
    perturb: float = 0.1
    init: float = 0.06
    seed: int = 1


RECIPES = {
    "tiny": Recipe(hidden=96, layers=2, heads=3, episodes=6000, steps=800),
    "strong": Recipe(hidden=128, layers=2, heads=4, episodes=12000, steps=5000),
}

# Actions that need no lookup, and the share of them that is kept in the first stage.
_NO_LOOKUP, _NO_LOOKUP_SHARE = ("Done!", "Follow", "Give"), 0.25


def expert_decisions(recipe: Recipe) -> list[tuple[str, str]]:
    """Return ``(observation, expert's action)`` of every decision of the expert episodes."""
    env = gym.make("selfreg/SIF-v0", kind="mixed", split=SPLIT).unwrapped
    rng = stream(Purpose(0xE9), recipe.seed)
    pairs = []
    for episode in range(recipe.episodes):
        observation, info = env.reset(seed=int(rng.integers(2**31)), options={"episode": episode})
        over = False
        while not over:
            action = expert = env.expert_action()
            pairs.append((observation, expert))
            others = [a for a in info["admissible_actions"] if a not in (expert, "Done!")]
            if others and rng.random() < recipe.perturb:
                action = others[rng.integers(len(others))]
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
    return pairs


def shortened(text: str) -> str:
    """Return the part of an observation that begins with the human's words."""
    lines = text.split("\n")
    return "\n".join(lines[next(i for i, line in enumerate(lines) if "says:" in line or "said:" in line) :])


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Build tokenizer and model, train, write the checkpoint to ``out`` and return the training record."""
    limit_threads()
    begun = time.perf_counter()
    pairs = expert_decisions(recipe)
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
        model = transformers.LlamaForCausalLM(config)
    rng = stream(Purpose(0x5407), recipe.seed)
    lookups = [
        (shortened(text), action)
        for text, action in pairs
        if not action.startswith(_NO_LOOKUP) or rng.random() < _NO_LOOKUP_SHARE
    ]

    def loss(net: Any, batch: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
        ids = pad_right([prompt + answer for prompt, answer in batch], pad=pad)
        logits = net(input_ids=ids, use_cache=False).logits[:, :-1]
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")  # (B, L - 1)
        weight = torch.zeros_like(each)
        for row, (prompt, answer) in enumerate(batch):
            weight[row, : len(prompt) - 1] = recipe.prompt_loss / (len(prompt) - 1)
            weight[row, len(prompt) - 1 : len(prompt) - 1 + len(answer)] = 1.0  # -log P(the whole action)
        return (each * weight).sum() / len(batch)

    losses: list[float] = []
    for stage, steps, batch_size in (
        (lookups, recipe.short_steps, recipe.short_batch_size),
        (pairs, recipe.steps, recipe.batch_size),
    ):
        examples = [
            (encoder.prompt(actor_prompt(text)), [*encoder.continuation(answer_text(action)), end])
            for text, action in stage
        ]
        log = finetune(
            model,
            examples,
            loss,
            lengths=[len(prompt) + len(answer) for prompt, answer in examples],
            seed=recipe.seed,
            lr=recipe.lr,
            batch_size=batch_size,
            steps=steps,
            progress=sys.stdout.isatty(),
        )
        losses += log.loss
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    weights = out / "model.safetensors"
    weights.chmod(0o644)  # safetensors makes it readable for the owner only
    record = {
        "split": SPLIT,
        "recipe": asdict(recipe),
        "decisions": len(pairs),
        "data_sha256": hashlib.sha256("\n\n".join(f"{o}\n{a}" for o, a in pairs).encode()).hexdigest(),
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


def play(path: Path, *, episodes: int, temperature: float, mode: str, split: str = "train") -> dict[str, float]:
    """Return the success rate per kind of task in ``split``; 16 episodes are played at a time."""
    from selfreg_gym.agents.actors.lm import LM

    actor = LM(path, mode=mode, temperature=temperature)
    outcome: dict[str, list[bool]] = {}
    invalid = 0
    for begin in range(0, episodes, 16):
        rows = []
        for episode in range(begin, min(begin + 16, episodes)):
            env = gym.make("selfreg/SIF-v0", kind="mixed", split=split).unwrapped
            observation, info = env.reset(seed=episode, options={"episode": episode})
            rows.append([env, observation, info, 0, episode])
        while rows:
            decisions = [
                Decision(observation, info["admissible_actions"], key=(episode, t, 0))
                for _, observation, info, t, episode in rows
            ]
            going = []
            for row, act in zip(rows, actor.act(decisions), strict=True):
                _, kind = row[1], row[2]["kind"]
                row[1], _, terminated, truncated, row[2] = row[0].step(act.text)
                row[3] += 1
                if terminated or truncated:
                    outcome.setdefault(kind, []).append(bool(row[2]["success"]))
                    invalid += bool(row[2].get("invalid_action"))
                else:
                    going.append(row)
            rows = going
    rates = {kind: round(float(np.mean(won)), 3) for kind, won in sorted(outcome.items())}
    rates["all"] = round(float(np.mean([won for part in outcome.values() for won in part])), 3)
    rates["invalid"] = round(invalid / episodes, 3)
    return rates


def main() -> None:
    """Parse the command line, train, and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, default=None, help="default: agents/checkpoints/NAME")
    parser.add_argument(
        "--evaluate", type=int, default=0, metavar="N", help="then evaluate on N tasks of the train split"
    )
    arguments = parser.parse_args()
    out = arguments.out or CHECKPOINTS / arguments.name
    record = train(RECIPES[arguments.name], out)
    print(json.dumps({k: v for k, v in record.items() if k != "recipe"}, indent=1))
    if arguments.evaluate:
        for mode, temperature in (("rank", 1.0), ("rank", 0.0), ("generate", 1.0)):
            rates = play(out, episodes=arguments.evaluate, temperature=temperature, mode=mode)
            print(f"{mode} at temperature {temperature:g}: {rates}")


if __name__ == "__main__":
    main()
