"""A language model with a value head: dS and dM of K interventions at P prices, from a text and numbers.

The head reads the backbone's last layer at the last token, the means of this layer over the last 32 tokens (where the
prompt states facts) and over the text, and further numbers about the decision::

    [last token | mean of the last 32 tokens | mean of the text | numbers] -> 2 x (P, K)

The answer is a sum of two networks, one of the numbers alone and one of everything. The first one can be trained on
many decisions in seconds, and the backbone then learns what the numbers do not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.training import seeded

__all__ = ["TEXT_FEATURES", "GainHead", "GainModel", "gain_loss", "load_head", "save_head", "text_features"]

TEXT_FEATURES = 3
"""Length of the text features, in hidden sizes of the backbone."""

_FILE = "head.safetensors"
_WIDTH, _DROPOUT = 192, 0.1
_TAIL = 32
_LEAST = 1e-3  # smallest scale of an answer


class GainHead(nn.Module):
    """Two networks with two hidden layers each, and the scale of their answers.

    Args:
        text: length of the text features.
        numbers: length of the numbers, 0 for none.
        prices: ``(P,)``, in success per cost unit.
        interventions: K.
        seed: seed of the weights.

    Attributes:
        prices: float32 ``(P,)``.
        mean, scale: float32 ``(P, K, 2)``; an answer is ``mean + scale * output``.
        weight: float32 ``(P, K)``, of the squared error of the gain (:func:`gain_loss`).
    """

    prices: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor

    def __init__(self, text: int, numbers: int, prices: Sequence[float], interventions: int, *, seed: int = 0) -> None:
        super().__init__()
        grid = len(prices)
        self.sizes = (int(text), int(numbers), grid, int(interventions))
        answers = grid * interventions * 2
        with seeded(seed):
            self.of_text = _network(text + numbers, answers)
            self.of_numbers = _network(numbers, answers) if numbers else None
        last: Any = self.of_text[-1]
        nn.init.zeros_(last.weight)  # before training the text adds nothing
        nn.init.zeros_(last.bias)
        shape = (grid, interventions)
        self.register_buffer("prices", torch.tensor([float(r) for r in prices], dtype=torch.float32))
        self.register_buffer("mean", torch.zeros(*shape, 2))
        self.register_buffer("scale", torch.ones(*shape, 2))
        self.register_buffer("weight", torch.ones(shape))

    def fit_scale(self, targets: torch.Tensor) -> None:
        """Set mean, scale and weight from the targets dS and dM of the training decisions, ``(n, P, K, 2)``."""
        gain = targets[..., 0] - self.prices[:, None] * targets[..., 1]
        self.mean.copy_(targets.mean(0))
        # The unit of usage is a cost unit, which may be small.
        least = _LEAST * torch.stack([torch.ones(()), targets[..., 1].abs().max().clamp(1e-30, 1.0)])
        self.scale.copy_(torch.maximum(targets.std(0, correction=0), least))
        self.weight.copy_(1.0 / gain.var(0, correction=0).clamp_min(1e-4))

    def forward(self, text: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """dS and dM, ``(B, P, K, 2)``, from text features ``(B, text)`` and numbers ``(B, numbers)``."""
        output = self.of_text(torch.cat([text, numbers], dim=1))
        if self.of_numbers is not None:
            output = output + self.of_numbers(numbers)
        return self._scaled(output)

    def without_text(self, numbers: torch.Tensor) -> torch.Tensor:
        """dS and dM of the network of the numbers alone, ``(B, P, K, 2)``."""
        assert self.of_numbers is not None
        return self._scaled(self.of_numbers(numbers))

    def _scaled(self, output: torch.Tensor) -> torch.Tensor:
        _, _, grid, interventions = self.sizes
        return self.mean + self.scale * output.reshape(-1, grid, interventions, 2)


class GainModel(nn.Module):
    """A backbone and its :class:`GainHead`, as one module to train.

    Args:
        backbone: a causal LM, or its PEFT wrapper.
        head: the head.
    """

    def __init__(self, backbone: Any, head: GainHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, input_ids: torch.Tensor, lengths: Sequence[int], numbers: torch.Tensor) -> torch.Tensor:
        """dS and dM, ``(B, P, K, 2)``, from token rows ``(B, L)`` padded on the right and numbers ``(B, D)``."""
        return self.head(text_features(self.backbone, input_ids, lengths), numbers)


def text_features(backbone: Any, input_ids: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """The last layer's hidden state at the last token, and its means over the last tokens and over the text.

    Args:
        backbone: a causal LM.
        input_ids: ``(B, L)`` token rows, padded on the right.
        lengths: B numbers of tokens without padding.

    Returns:
        float32 ``(B, TEXT_FEATURES * hidden size)``.
    """
    plain = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone  # a PEFT wrapper
    hidden = plain.base_model(input_ids=input_ids, use_cache=False).last_hidden_state.float()
    count = torch.as_tensor(list(lengths), device=hidden.device)
    column = torch.arange(hidden.shape[1], device=hidden.device)
    parts = [hidden[torch.arange(len(count)), count - 1]]
    for size in (_TAIL, hidden.shape[1]):
        inside = (column < count[:, None]) & (column >= count[:, None] - size)
        parts.append((hidden * inside.unsqueeze(-1)).sum(1) / count[:, None].clamp_max(size))
    return torch.cat(parts, dim=1)


def gain_loss(head: GainHead, found: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean over prices of the squared error of the gain dS - r dM, relative to its variance: ``(B,)``.

    At a price, 1 minus this number is R2. So every price, and thus every budget, has the same share in the loss,
    although gains are small at low prices. The squared errors of dS and dM are added with a weight of 0.1, relative to
    their variances, so that both are determined as well.

    Args:
        head: its ``weight`` and ``scale`` are those of the training decisions (:meth:`GainHead.fit_scale`).
        found, targets: dS and dM, ``(B, P, K, 2)``.
    """
    off = found - targets
    gain = off[..., 0] - head.prices[:, None] * off[..., 1]
    return (head.weight * gain.square()).mean((1, 2)) + 0.1 * (off / head.scale).square().mean((1, 2, 3))


def save_head(head: GainHead, folder: Path) -> None:
    """Write the head's weights to ``folder``."""
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / _FILE)


def load_head(folder: Path, *, text: int, numbers: int, prices: Sequence[float], interventions: int) -> GainHead:
    """Read what :func:`save_head` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, not finite, or belongs to another model.
    """
    from safetensors.torch import load_file

    head = GainHead(text, numbers, prices, interventions)
    path = Path(folder) / _FILE
    remedy = "copy the directory again, or train again"
    try:
        tensors = load_file(path)
    except Exception as error:
        raise CheckpointError(f"the value head {str(path)!r} cannot be read ({error}): {remedy}.") from error
    wanted = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    if {name: tuple(value.shape) for name, value in tensors.items()} != wanted:
        raise CheckpointError(f"the value head {str(path)!r} must have the weights {wanted}, and has others: {remedy}.")
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise CheckpointError(f"the value head {str(path)!r} holds NaN or infinity: {remedy}.")
    head.load_state_dict(tensors)
    return head.eval()


def _network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, _WIDTH),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(_WIDTH, _WIDTH),
        nn.ReLU(),
        nn.Linear(_WIDTH, outputs),
    )
