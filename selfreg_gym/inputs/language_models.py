"""The inputs of language models: an embedding of the text by a frozen backbone, and p(s) of a process reward model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.inputs.blocks import Scale
from selfreg_gym.inputs.table import DecisionTable
from selfreg_gym.lm.backbone import AUTO, checkpoint_of_spec, find_backbone, opened_backbone
from selfreg_gym.store.columns import Coded
from selfreg_gym.utils.files import set_default_modes
from selfreg_gym.utils.json_text import read_object
from selfreg_gym.utils.progress import progress_bar

if TYPE_CHECKING:
    import torch

__all__ = ["Embedding", "Success", "backbone_folder", "embedding_backbone"]

_WIDEST = 2048
"""Largest number of columns; of a deeper backbone, the last and evenly spaced layers are taken."""

_CHUNK = 512
"""Texts that are read between two updates of the progress bar."""

_MEMO = 10_000
"""Texts whose numbers are kept in memory, for decisions in progress."""

_DECIMALS = 6


def backbone_folder(backbone: str | Path, *, spec: Any = None, prm: Any = None) -> Path:
    """Return the checkpoint folder of the backbone of the input ``embedding``.

    Args:
        backbone: ``"actor"`` (the backbone of the rollouts' actor), ``"prm"`` (that of the process reward model), the
            id of an actor with a checkpoint, or a folder.
        spec: the spec of the rollouts, for ``"actor"``.
        prm: the process reward model or its folder, for ``"prm"``.

    Raises:
        InvalidArgumentError: the actor has no checkpoint, or the process reward model was not loaded from a folder.
        UnknownNameError: another text that is neither an actor nor a folder.
    """
    if str(backbone) == "actor":
        found = checkpoint_of_spec(spec)
        if found is None:
            raise InvalidArgumentError(
                'backbone="actor" needs rollouts of an actor with a checkpoint, and these have none: choose "prm", the '
                "id of an actor, or a folder."
            )
        return found
    if str(backbone) == "prm":
        folder = prm if isinstance(prm, str | Path) else getattr(prm, "source", None)
        if folder is None:
            raise InvalidArgumentError(
                'backbone="prm" needs a process reward model that was loaded from a folder (from_pretrained), received '
                f"prm={shown(prm)}."
            )
        return Path(folder)
    return find_backbone(backbone, what="backbone")


@contextmanager
def embedding_backbone(
    backbone: str | Path, texts: Sequence[str], *, spec: Any = None, prm: Any = None
) -> Iterator[Path]:
    """Open the backbone of the input ``embedding``, which must be loaded within the block.

    ``"auto"`` is the checkpoint of the rollouts' actor or of the default actor, if it can read the texts, otherwise a
    small Llama with random weights and the texts' vocabulary (:func:`selfreg_gym.lm.backbone.opened_backbone`). For
    other values see :func:`backbone_folder`.
    """
    if str(backbone) != AUTO:
        yield backbone_folder(backbone, spec=spec, prm=prm)
        return
    with opened_backbone(AUTO, texts, actor=checkpoint_of_spec(spec)) as found:
        yield found.path


class Embedding:
    """``embedding``: hidden states of a frozen backbone at the end of the actor's prompt, standardised.

    The columns are the hidden states of each layer at the last token, then the mean of the last layer over all tokens.
    A backbone with more than 2,048 such numbers contributes fewer layers. Each distinct text is read once.

    Args:
        model: a causal LM or a sequence classifier in eval mode; only its backbone is used.
        tokenizer: its tokenizer.
        scale: that of the columns; None before :meth:`fit`.
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
        """Load the backbone and read the texts of the table, for the scale.

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
        """The standardised columns."""
        latest, self._latest = self._latest, None
        if latest is not None and latest[0] is table.observation.values:
            found = latest[1]
        else:
            found = self._read(table.observation, progress=progress)
        assert self._scale is not None
        return self._scale(found)[table.observation.codes]

    def _read(self, column: Coded, *, progress: bool) -> np.ndarray:
        """float32 ``(values, width)``; rows of values that do not occur are zero."""
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
        """None; the model is saved by :meth:`save_model`."""
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


class Success:
    """``prm``: p(s) of a process reward model, and its standardised logit.

    Args:
        prm: an object with ``score(observations) -> (N,)``.
        scale: that of the logit.
    """

    name: ClassVar[str] = "prm"
    width = 2

    def __init__(self, prm: Any, scale: Scale) -> None:
        self.prm, self._scale = prm, scale

    @classmethod
    def fit(cls, table: DecisionTable, prm: Any) -> Success:
        """Score the texts of the table, for the scale.

        Args:
            table: the decisions.
            prm: a process reward model, or its folder.

        Raises:
            InvalidArgumentError: ``prm`` has no ``score``.
        """
        if isinstance(prm, str | Path):
            prm = _load_prm(prm)
        if not callable(getattr(prm, "score", None)):
            raise InvalidArgumentError(
                "the input 'prm' needs a process reward model with score(observations), or its folder, received "
                f"prm={shown(prm)}."
            )
        p = _scores(prm, table.observation)[table.observation.codes]
        return cls(prm, Scale.of(_logit(p)[:, None]))

    def encode(self, table: DecisionTable) -> np.ndarray:
        """p(s), and the standardised logit."""
        p = _scores(self.prm, table.observation)
        both = np.concatenate([p[:, None].astype(np.float32), self._scale(_logit(p)[:, None])], axis=1)
        return both[table.observation.codes]

    def record(self) -> dict[str, Any]:
        """None; the model is saved by :meth:`save_model`."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        """The scale."""
        return self._scale.arrays()

    def save_model(self, folder: Path) -> None:
        """Save the model into the folder ``prm``.

        Raises:
            InvalidArgumentError: it has no ``save_pretrained``.
        """
        if not callable(getattr(self.prm, "save_pretrained", None)):
            raise InvalidArgumentError(
                "inputs with 'prm' are saved with the process reward model, which needs save_pretrained(folder): "
                f"{type(self.prm).__name__} has none."
            )
        self.prm.save_pretrained(folder / "prm")

    @classmethod
    def restored(cls, folder: Path, arrays: Mapping[str, np.ndarray]) -> Success:
        """The block saved in ``folder``."""
        return cls(_load_prm(folder / "prm"), Scale.restored(arrays))


def _load_prm(folder: str | Path) -> Any:
    from selfreg_gym.prm import ProcessRewardModel

    return ProcessRewardModel.from_pretrained(folder)


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


def _scores(prm: Any, column: Coded) -> np.ndarray:
    """p(s) of each value, float64; zero for values that do not occur."""
    used = np.unique(column.codes)
    found = np.zeros(len(column.values))
    if len(used):
        found[used] = prm.score([column.values[code] for code in used.tolist()])
    return found


def _logit(p: np.ndarray) -> np.ndarray:
    inside = np.clip(p, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))
