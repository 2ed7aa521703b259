"""The input ``embedding``: hidden states of a frozen language model that reads the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from selfreg_gym.inputs.blocks import Scale
from selfreg_gym.inputs.table import DecisionTable
from selfreg_gym.store.columns import Coded
from selfreg_gym.utils.files import set_default_modes
from selfreg_gym.utils.json_text import read_object
from selfreg_gym.utils.progress import progress_bar

if TYPE_CHECKING:
    import torch

__all__ = ["Embedding"]

_WIDEST = 2048
"""Largest number of columns; of a deeper backbone, evenly spaced layers are read, the last one among them."""

_CHUNK = 512
"""Number of texts between two updates of the progress bar."""

_MEMO = 10_000
"""Number of texts whose hidden states are kept in memory, for episodes in progress."""

_DECIMALS = 6
"""Decimals of the hidden states, because the last digits depend on the batch."""


class Embedding:
    """``embedding``: hidden states of a frozen backbone at the end of the actor's prompt, standardised.

    The columns are the hidden states of each layer at the last token, then the mean of the last layer over all tokens.
    If a backbone has more than 2,048 such numbers, fewer layers are read. Each distinct text is read once.

    Args:
        model: a causal LM or a sequence classifier in eval mode; only its backbone is used.
        tokenizer: its tokenizer.
        scale: the standardisation of the columns; None before :meth:`fit`.
    """

    name: ClassVar[str] = "embedding"

    def __init__(self, model: Any, tokenizer: Any, scale: Scale | None = None) -> None:
        from selfreg_gym.lm.readers import TextReader

        self._model, self._tokenizer, self._scale = model, tokenizer, scale
        self._layers = _chosen_layers(model.config.num_hidden_layers, model.config.hidden_size)
        self._reader = TextReader(model, tokenizer, self._head, memo=_MEMO, decimals=_DECIMALS)
        self._latest: tuple[list[str], np.ndarray] | None = None  # from fit to the first encode of the same texts

    @classmethod
    def fit(cls, table: DecisionTable, backbone: str | Path, *, progress: bool = False) -> Embedding:
        """Load the backbone, and find the scale of the columns from the texts of the table.

        Raises:
            CheckpointError: the folder is not a checkpoint.
            InvalidArgumentError: a text is too long for the backbone.
        """
        block = cls(*_load(Path(backbone)))
        found = block._read(table.observation, progress=progress)
        used, counts = np.unique(table.observation.codes, return_counts=True)
        block._scale = Scale.of(found[used], counts)
        block._latest = table.observation.values, found
        return block

    @property
    def width(self) -> int:
        """Number of columns."""
        return (len(self._layers) + 1) * int(self._model.config.hidden_size)

    def encode(self, table: DecisionTable, *, progress: bool = False) -> np.ndarray:
        """The standardised columns; ``progress`` shows a bar while texts are read."""
        latest, self._latest = self._latest, None
        if latest is not None and latest[0] is table.observation.values:
            found = latest[1]
        else:
            found = self._read(table.observation, progress=progress)
        assert self._scale is not None
        return self._scale(found)[table.observation.codes]

    def _read(self, column: Coded, *, progress: bool) -> np.ndarray:
        """The columns of each distinct text before standardisation, float32 ``(texts, width)``; 0 for unused texts."""
        from selfreg_gym.lm.prompts import actor_prompt

        used = np.unique(column.codes)
        found = np.zeros((len(column.values), self.width), np.float32)
        ordered = sorted(used.tolist(), key=lambda code: len(column.values[code]))  # similar lengths: little padding
        with progress_bar("embedding", len(ordered), shown=progress and len(ordered) > _CHUNK) as update:
            for start in range(0, len(ordered), _CHUNK):
                codes = ordered[start : start + _CHUNK]
                prompts = [actor_prompt(column.values[code], tokenizer=self._tokenizer) for code in codes]
                found[codes] = self._reader.read(prompts)
                update(start + len(codes))
        return found

    def _head(self, model: Any, input_ids: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """``(B, width)`` columns, of token rows ``(B, L)`` padded on the right and their lengths without padding."""
        import torch

        backbone = getattr(model, model.base_model_prefix)
        # Rows are padded on the right, and a causal model does not look ahead: no attention mask is needed.
        out = backbone(input_ids=input_ids, output_hidden_states=True, use_cache=False)
        ends = torch.as_tensor(lengths, device=input_ids.device)
        rows = torch.arange(len(ends), device=input_ids.device)
        inside = (torch.arange(input_ids.shape[1], device=input_ids.device)[None] < ends[:, None]).float()[..., None]
        mean = (out.last_hidden_state.float() * inside).sum(1) / ends[:, None]
        return torch.cat([*(out.hidden_states[i][rows, ends - 1].float() for i in self._layers), mean], dim=1)

    def record(self) -> dict[str, Any]:
        """There are none; the model is saved by :meth:`save_model`."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        """The scale."""
        assert self._scale is not None
        return self._scale.arrays()

    def save_model(self, folder: Path) -> None:
        """Save backbone and tokenizer into the folder ``backbone``."""
        self._model.save_pretrained(folder / "backbone")
        set_default_modes(*(folder / "backbone").glob("*.safetensors"))
        self._tokenizer.save_pretrained(folder / "backbone")

    @classmethod
    def restored(cls, folder: Path, arrays: Mapping[str, np.ndarray]) -> Embedding:
        """The block saved in ``folder``."""
        return cls(*_load(folder / "backbone"), Scale.restored(arrays))

    def __getstate__(self) -> dict[str, Any]:
        """Config and weights: a model that has returned hidden states holds hooks, which cannot be pickled."""
        model = self._model
        parts = type(model), model.config, model.state_dict(), model.dtype, model.device
        return {"model": parts, "tokenizer": self._tokenizer, "scale": self._scale}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        from selfreg_gym.lm.training import seeded

        kind, config, weights, dtype, device = state["model"]
        with seeded(0):  # the new model draws weights, which are replaced
            model = kind(config)
        model.load_state_dict(weights)
        self.__init__(  # type: ignore[misc]
            model.to(device, dtype).eval().requires_grad_(False), state["tokenizer"], state["scale"]
        )


def _load(folder: Path) -> tuple[Any, Any]:
    """The model of a checkpoint, with all its weights frozen, and its tokenizer."""
    from selfreg_gym.lm.loading import check_checkpoint, load_causal, load_classifier, load_tokenizer

    check_checkpoint(folder)
    config = read_object(folder / "config.json", what="the config of a checkpoint", remedy="copy the checkpoint again")
    classifier = any("SequenceClassification" in str(one) for one in config.get("architectures") or ())
    model = load_classifier(folder, trained=True) if classifier else load_causal(folder)
    return model.requires_grad_(False), load_tokenizer(folder)


def _chosen_layers(layers: int, hidden: int) -> tuple[int, ...]:
    """Indices into the hidden states (0 is the embedding of the tokens) of the layers that are read."""
    count = max(1, min(layers, _WIDEST // hidden - 1))
    return tuple(int(i) for i in np.linspace(layers, 1 if count == layers else layers / count, count).round())[::-1]
