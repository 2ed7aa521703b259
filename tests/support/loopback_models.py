"""What the server on loopback answers with: a hash of the request, or a real tiny Llama."""

from __future__ import annotations

import re
import threading
from hashlib import blake2b
from typing import Any

__all__ = ["Llama", "Rule", "number"]


def number(*parts: Any) -> float:
    """A number in [0, 1), a hash of the parts."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=6).digest(), "big") / 2**48


class Rule:
    """Writes one of the actions in the prompt, by a hash of the prompt (and of the seed, if it samples)."""

    def pieces(self, text: str) -> list[str]:
        """The words of a text, each with the space before it."""
        return re.findall(r"\s*\S+", text)

    def values(self, pieces: list[str]) -> list[float | None]:
        """A log-probability for each piece except the first."""
        return [None] + [-5 * number(pieces[i], pieces[:i]) - 0.01 for i in range(1, len(pieces))]

    def write(self, prompt: str, *, sample: Any, max_tokens: int) -> str:
        if max_tokens == 1:
            return f" w{int(9 * number(prompt, sample))}"
        offered = re.findall(r"You can: (.*)", prompt)
        actions = offered[-1].strip(".").split(", ") if offered else ["heads", "tails"]
        return " " + actions[int(len(actions) * number(prompt, sample))]

    def decide(self, state: str, question: dict[str, Any], options: list[str]) -> list[float]:
        weights = [number(state, question.get("instructions"), option) + 1e-3 for option in options]
        return [weight / sum(weights) for weight in weights]


class Llama(Rule):
    """A real causal language model: its tokens, log-probabilities and greedy answers."""

    def __init__(self, path: Any) -> None:
        from selfreg_gym.lm.loading import load_causal, load_tokenizer
        from selfreg_gym.lm.tokenizer import PromptEncoder

        self.model, self.encoder = load_causal(path), PromptEncoder(load_tokenizer(path))
        self.lock = threading.Lock()

    def pieces(self, text: str) -> list[str]:
        return self.encoder.tokenizer.convert_ids_to_tokens(self.encoder.prompt(text))

    def values(self, pieces: list[str]) -> list[float | None]:
        return [None, *self.logits(self.encoder.tokenizer.convert_tokens_to_ids(pieces))]

    def logits(self, ids: list[int]) -> list[float]:
        import torch

        with self.lock, torch.no_grad():
            rows = self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        return [float(rows[i - 1, ids[i]]) for i in range(1, len(ids))]

    def write(self, prompt: str, *, sample: Any, max_tokens: int) -> str:
        import torch

        ids = self.encoder.prompt(prompt)
        with self.lock, torch.no_grad():
            for _ in range(max_tokens):
                ids.append(int(self.model(torch.tensor([ids])).logits[0, -1].argmax()))
        new = self.encoder.tokenizer.convert_ids_to_tokens(ids[len(self.encoder.prompt(prompt)) :])
        return " " + " ".join(new).split(" </s>")[0]
