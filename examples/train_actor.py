"""Train the shipped actors by behaviour cloning of a task's expert on the actor-train split.

    python examples/train_actor.py tiny      # agents/checkpoints/sif/tiny: the default actor
    python examples/train_actor.py strong    # agents/checkpoints/sif/strong: the intervention "strong"
    python examples/train_actor.py tiny --family babyai    # agents/checkpoints/babyai/tiny
    python examples/train_actor.py tiny --evaluate 600     # then evaluate it on the train split, which it has not seen
    python examples/train_actor.py tiny --from-rollouts runs/demo/rollouts.sqlite --out runs/actor
                                             # train it further on states that help has reached

The size of an actor and the number of its training steps determine its success rate. The episodes are those of
`demonstrations.py`. The loss is the cross-entropy of the expert's action, plus a small weight on the cross-entropy of
the prompt.

Training on SIF has two stages. The choice of a room is a lookup in the observation, which a small Llama learns only
after some 10,000 examples; until then it assigns equal probability to all room numbers. The first stage therefore uses
shortened observations (the human's words, the admissible actions and the robot's position, without map and history),
which are cheap and consist mostly of lookups. The second stage uses whole observations. Whole observations alone gave a
success rate of 0.17 after the same amount of training. In CookingWorld the lookup is in the recipe: the first stage has
the recipe, the inventory, and the decisions that prepare an ingredient. In BabyAI it is the place of the mission's
object: the first stage has the objects, and the decisions in which this object is in view.

`--from-rollouts STORE` trains a shipped actor further, on states of collected episodes that were reached by a step of
help. Its own training has none of them: it follows the expert or its own mistakes, and never a mixture of both. The
targets are the expert's actions in these states (DAgger: Ross, Gordon and Bagnell 2011, with the mixture of actor and
help as the policy that visits). `--states alone` is the control: as many states that were reached without help.

All draws come from one seed and run on one thread. On one machine with one torch version the weights are reproduced
bit by bit, and their hash in training.json can be compared; other processors round differently in the last digit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import transformers
from demonstrations import FAMILIES, SPLIT, expert_decisions, read

from selfreg_gym import EpisodeSpec, InterventionVectorEnv, run_episodes
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.loading import limit_threads, load_causal, load_tokenizer
from selfreg_gym.lm.prompts import actor_prompt, answer_text
from selfreg_gym.lm.tokenizer import PromptEncoder, build_tokenizer
from selfreg_gym.lm.training import finetune, seeded
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.utils.random_streams import Purpose, stream

CHECKPOINTS = Path(__file__).resolve().parent.parent / "agents" / "checkpoints"
STATES = ("helped", "alone", "all")
PROMPT_LOSS = 0.5


@dataclass(frozen=True, slots=True)
class Recipe:
    """The hyperparameters of an actor.

    Attributes:
        hidden, layers, heads: size of the Llama.
        episodes: number of expert episodes of the actor-train split; the task kinds alternate.
        steps: optimiser steps with whole observations, which determine the success rate.
        short_steps: optimiser steps of the first stage, with shortened observations.
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
    prompt_loss: float = PROMPT_LOSS
    perturb: float = 0.1
    init: float = 0.06
    seed: int = 1


RECIPES = {
    "sif": {
        "tiny": Recipe(hidden=96, layers=2, heads=3, episodes=6000, steps=800),
        "strong": Recipe(hidden=128, layers=2, heads=4, episodes=12000, steps=5000),
    },
    "cookingworld": {
        "tiny": Recipe(
            hidden=96, layers=2, heads=3, episodes=3000, steps=2200, short_steps=2500, batch_size=16, perturb=0.12
        ),
    },
    "babyai": {
        "tiny": Recipe(hidden=96, layers=2, heads=3, episodes=7000, steps=500, short_steps=0, batch_size=32),
        "strong": Recipe(
            hidden=96,
            layers=3,
            heads=3,
            episodes=12000,
            steps=1500,
            short_steps=4000,
            short_batch_size=64,
            batch_size=32,
        ),
    },
}
NAMES = ("strong", "tiny")

# Actions of SIF that need no lookup, and the share of them that is kept in the first stage.
_NO_LOOKUP, _NO_LOOKUP_SHARE = ("Done!", "Follow", "Give"), 0.25

# The object of a mission of BabyAI.
_OBJECT = re.compile(r"\b(?:red|green|blue|purple|yellow|grey) (?:ball|box|key|door)\b")

# Actions of CookingWorld that follow from the recipe and the inventory.
_PREPARE = ("chop", "cook", "dice", "slice", "prepare", "eat")


def lookups(family: str, pairs: Sequence[tuple[str, str]], rng: np.random.Generator) -> list[tuple[str, str]]:
    """The decisions of the first stage, with shortened observations.

    Args:
        family: the tasks.
        pairs: ``(observation, action)`` of all decisions.
        rng: draws which decisions without a lookup are kept.
    """
    if family == "babyai":
        return [(objects_of(text), action) for text, action in pairs if len(_in_view(text)) == 1]
    if family == "cookingworld":
        return [(recipe_of(text), action) for text, action in pairs if action.startswith(_PREPARE)]
    return [
        (shortened(text), action)
        for text, action in pairs
        if not action.startswith(_NO_LOOKUP) or rng.random() < _NO_LOOKUP_SHARE
    ]


def shortened(text: str) -> str:
    """Return the part of an observation of SIF that begins with the human's words."""
    lines = text.split("\n")
    return "\n".join(lines[next(i for i, line in enumerate(lines) if "says:" in line or "said:" in line) :])


def objects_of(text: str) -> str:
    """Return the objects in view, what is ahead, what is carried, and the mission, of an observation of BabyAI."""
    kept = ("a ", "an ", "Ahead", "You carry", "Mission")
    return "\n".join(line for line in text.split("\n") if line.startswith(kept))


def _in_view(text: str) -> list[str]:
    """The lines of the object to which the agent goes next: the second one of a mission whose first is carried."""
    lines = text.split("\n")
    named = _OBJECT.findall(next(line for line in lines if line.startswith("Mission")))
    carried = any(line.startswith("You carry a") for line in lines)
    wanted = named[1:2] if carried and len(named) > 1 else named[:1]
    return [line for line in lines if line.startswith(("a ", "an ")) and wanted and wanted[0] in line]


def recipe_of(text: str) -> str:
    """Return the recipe and the inventory of an observation of CookingWorld."""
    lines = text.split("\n")
    recipe = [line for line in lines if line.startswith(("Ingredients", "Directions", "  "))]
    return "\n".join([*recipe, *(line for line in lines if line.startswith("Inventory"))])


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


def stored_decisions(store: Path, states: str = "helped") -> list[tuple[str, str]]:
    """``(observation, expert's action)`` at decisions of a store; the recorded episodes are played again for it.

    Args:
        store: a rollout store.
        states: "helped": the step before was one of an intervention. "alone": there was no help before. "all".

    Raises:
        InvalidArgumentError: no such decision, another value of ``states``, a store of evaluation tasks, or a task that
            shows other observations than the stored ones.
    """
    if states not in STATES:
        raise UnknownNameError("choice of states", states, STATES)
    pairs = []
    with Rollouts.open(store) as rollouts:
        env = rollouts.spec["env"]
        split = str(env["task_kwargs"].get("split", "train"))
        if "train" not in split:
            raise InvalidArgumentError(f"an actor is trained on training tasks, received a store of {split!r}.")
        task = gym.make(env["task"], disable_env_checker=True, **env["task_kwargs"]).unwrapped
        for episode in rollouts.episodes():
            observation, _ = task.reset(seed=episode.seed, options={"episode": episode.task_index})
            alone = True
            for before, step in zip((None, *episode.steps), episode.steps, strict=False):
                alone = alone and (before is None or before.action == 0)
                if observation != step.observation:
                    raise InvalidArgumentError(
                        f"the task must show the stored observations, and differs at step {step.t} of task "
                        f"{episode.task_id!r}: use the version that collected {store}."
                    )
                helped = before is not None and before.action > 0
                if states == "all" or (helped if states == "helped" else alone and before is not None):
                    pairs.append((observation, task.expert_action()))
                observation = task.step(step.action_text)[0]
    if not pairs:
        raise InvalidArgumentError(f"{store} has no decisions of the kind {states!r}.")
    return pairs


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
