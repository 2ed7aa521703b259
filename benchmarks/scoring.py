"""Speed of scoring: CPU time per decision for each path, compared with separate scoring and with the bare forward pass.

    python benchmarks/scoring.py [--path CHECKPOINT] [--decisions 96]

Prompts of the household task, one thread, process time (other load on the machine matters less). Goals: tree packing is
at least 4 times as fast as separate scoring, and reaches at least 0.7 of the speed of a forward pass on the same
tokens.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.lm.batching import micro_batches
from selfreg_gym.lm.prompts import actor_prompt, answer_text
from selfreg_gym.lm.scoring import CandidateScorer


def expert_decisions(count: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return prompts and candidate actions of expert episodes."""
    env = gym.make("selfreg/SIF-v0", split="train").unwrapped
    prompts: list[str] = []
    offered: list[tuple[str, ...]] = []
    episode = 0
    while len(prompts) < count:
        observation, info = env.reset(seed=episode, options={"episode": episode})
        over = False
        while not over:
            prompts.append(actor_prompt(observation))
            offered.append(tuple(map(answer_text, info["admissible_actions"])))
            observation, _, terminated, truncated, info = env.step(env.expert_action())
            over = terminated or truncated
        episode += 1
    return prompts[:count], offered[:count]


def milliseconds(function: Callable[[], object], count: int, repeats: int = 3) -> float:
    """Return the smallest CPU time per decision over some repeats, after a warm-up."""
    function()
    best = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        function()
        best = min(best, time.process_time() - begun)
    return 1e3 * best / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, default=None, help="a checkpoint; default: the shipped tiny actor")
    parser.add_argument("--decisions", type=int, default=96)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prompts, offered = expert_decisions(arguments.decisions)
    count = len(prompts)
    shipped = LM(arguments.path).scorer
    model, tokenizer, encoder = shipped.model, shipped.encoder.tokenizer, shipped.encoder

    def scorer(path: str) -> CandidateScorer:
        return CandidateScorer(model, tokenizer, path=path, memo=0)

    rows = [encoder.prompt(prompt) for prompt in prompts]
    tries = [shipped.trie(offer) for offer in offered]
    lengths = [len(row) + trie.size for row, trie in zip(rows, tries, strict=True)]
    print(
        f"{count} decisions: {np.mean([len(row) for row in rows]):.0f} prompt tokens, "
        f"{np.mean([len(offer) for offer in offered]):.1f} candidates, "
        f"{np.mean([trie.size for trie in tries]):.0f} tree nodes"
    )

    def bare() -> None:
        with torch.inference_mode():
            for chunk in micro_batches(lengths, rows=8, tokens=8192):
                model(input_ids=torch.zeros(len(chunk), max(lengths[i] for i in chunk), dtype=torch.long),
                      use_cache=False, logits_to_keep=1)  # fmt: skip

    encode = milliseconds(lambda: [encoder.prompt(prompt) for prompt in prompts], count)
    forward = milliseconds(bare, count)
    tree = milliseconds(lambda: scorer("tree").score(prompts, offered), count)
    single = milliseconds(
        lambda: [scorer("tree").score([p], [o]) for p, o in zip(prompts, offered, strict=True)], count
    )
    expand = milliseconds(lambda: scorer("kv").score(prompts, offered), count)
    naive = milliseconds(lambda: scorer("naive").score(prompts, offered), count, repeats=1)
    for name, value in (
        ("tokenising (cached lines)", encode),
        ("bare forward, same tokens", forward),
        ("tree packing, batches of 8", tree),
        ("tree packing, one prompt at a time", single),
        ("key-value cache", expand),
        ("separate candidates", naive),
    ):
        print(f"  {name:34} {value:7.2f} ms per decision")
    print(f"tree against separate candidates: {naive / tree:.1f}x (goal 4)")
    print(f"tree against bare forward: {forward / tree:.2f} (goal 0.7)")


if __name__ == "__main__":
    main()
