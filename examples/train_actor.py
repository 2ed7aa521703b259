"""Make the shipped actors: behaviour cloning of SIF's expert on the actor-train split.

    python examples/train_actor.py tiny      # agents/checkpoints/tiny: the default actor
    python examples/train_actor.py strong    # agents/checkpoints/strong: the intervention "strong"
    python examples/train_actor.py tiny --evaluate 600     # and play it on train tasks, which it has not seen

What sets an actor's level is its size and the number of its training steps; nothing is planted. Episodes are the
expert's own, except that at each step, with probability 0.1, a random action is taken in the place of the expert's (the
label stays the expert's): without such steps a learner never sees what follows a mistake. The loss is the cross-entropy
of the expert's action, and a little of that of the prompt's own words.

There are two lessons. Which room to go to is a lookup, and a small Llama needs some 10,000 examples before it looks up
anything at all: until then it says every room number with the same probability. So the first lesson is on short pages
(what was said, the offered actions and where the robot is, without map and history), which are cheap and mostly about
lookups; the second is on whole pages. Whole pages alone gave a success rate of 0.17 after as much training.

Everything is drawn from one seed and runs on one thread: on one machine and one torch version the weights come out
equal to the bit, and their hash in training.json can be compared. Other processors round differently in the last digit.
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
from selfreg_gym.lm.loading import one_thread
from selfreg_gym.lm.prompts import actor_prompt, answer_text
from selfreg_gym.lm.tokenizer import PromptEncoder, build_tokenizer
from selfreg_gym.lm.training import finetune, seeded
from selfreg_gym.types import Decision
from selfreg_gym.utils.random_streams import Purpose, stream

CHECKPOINTS = Path(__file__).resolve().parent.parent / "agents" / "checkpoints"
SPLIT = "actor-train"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what comes out.

    Attributes:
        hidden, layers, heads: size of the Llama.
        episodes: expert episodes of the actor-train split, kinds in turn.
        short_steps: optimiser steps of the first lesson, on short pages.
        steps: optimiser steps of the second lesson, on whole pages. The actor's level is set here.
        short_batch_size, batch_size, lr: of the optimiser.
        prompt_loss: weight of the language-model loss, averaged over the prompt, beside that of the answer's tokens.
        perturb: probability of a random action at a step.
        init: scale of the first weights; transformers' 0.02 suits wide models, narrow ones take thrice as long with it.
        seed: of everything.
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

# Actions that need no lookup, and the share of them that stays in the first lesson.
_NO_LOOKUP, _NO_LOOKUP_SHARE = ("Done!", "Follow", "Give"), 0.25


def expert_decisions(recipe: Recipe) -> list[tuple[str, str]]:
    """Play the expert and return ``(observation, expert's action)`` of every decision."""
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


def short_page(text: str) -> str:
    """The page from what the human said on."""
    lines = text.split("\n")
    return "\n".join(lines[next(i for i, line in enumerate(lines) if "says:" in line or "said:" in line) :])


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Make the tokenizer and the model, train, write the checkpoint to ``out`` and return its record."""
    one_thread()
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
        (short_page(text), action)
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
    for lesson, steps, batch_size in (
        (lookups, recipe.short_steps, recipe.short_batch_size),
        (pairs, recipe.steps, recipe.batch_size),
    ):
        examples = [
            (encoder.prompt(actor_prompt(text)), [*encoder.continuation(answer_text(action)), end])
            for text, action in lesson
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
    weights.chmod(0o644)  # safetensors writes it for the owner alone
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
    """Success rate per kind on tasks of ``split``, sixteen episodes at a time."""
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
    """Parse the command line, train, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, default=None, help="default: agents/checkpoints/NAME")
    parser.add_argument(
        "--evaluate", type=int, default=0, metavar="N", help="play N tasks of the train split afterwards"
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
