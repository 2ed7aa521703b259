"""Models and tokenizers from a local directory, with errors that say what is wrong with it.

Nothing is ever downloaded and no code from a checkpoint is run (``local_files_only``, ``trust_remote_code=False``,
safetensors only). A process gets one torch thread: with another process on the second core, torch's default of
two threads is many times slower.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.utils.json_text import read_object

__all__ = [
    "check_checkpoint",
    "load_causal",
    "load_classifier",
    "load_tokenizer",
    "one_thread",
    "quiet_transformers",
    "torch_dtype",
    "trained_with",
]

_RECORDS = (
    *("config.json", "generation_config.json", "model.safetensors.index.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)

#: Constants that earlier versions of transformers saved among the weights.
_CONSTANT = re.compile(r"\.(?:masked_bias|(?:attn|attention)\.bias|rotary_emb\.inv_freq|position_ids)$")


def one_thread() -> None:
    """Give this process one torch thread, unless ``OMP_NUM_THREADS`` asks for another number."""
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    torch.set_num_threads(max(1, int(threads)) if threads.isdigit() else 1)


def quiet_transformers() -> None:
    """Silence transformers' load report and progress bars (new classification heads are expected here)."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def trained_with(info: Mapping[str, Any], *, dtype: str | None, device: str | None) -> tuple[str, str]:
    """Return the dtype and device to load a trained model with: those asked for, else those it was trained with.

    A device that this machine does not have becomes the CPU; older checkpoints, which say neither, are float32.
    """
    device = device or str(info.get("device", "cpu"))
    kind = _device(device).type
    known = kind == "cpu" or (hasattr(torch, kind) and getattr(torch, kind).is_available())
    return dtype or str(info.get("dtype", "float32")), device if known else "cpu"


def torch_dtype(name: str | torch.dtype) -> torch.dtype:
    """Return the torch dtype called ``name`` ("float32", "bfloat16", "float16").

    Raises:
        InvalidArgumentError: there is no such floating dtype.
    """
    if isinstance(name, torch.dtype):
        return name
    dtype = getattr(torch, str(name), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InvalidArgumentError(
            f"dtype must name a torch floating type ('float32', 'bfloat16', 'float16'), received {name!r}."
        )
    return dtype


def check_checkpoint(path: str | Path) -> Path:
    """Return ``path`` as a directory that holds a transformers checkpoint.

    Raises:
        CheckpointError: it does not exist, has no readable ``config.json``, or no safetensors weights.
    """
    folder = Path(path)
    rule = "a checkpoint is a local directory with config.json and *.safetensors (as save_pretrained writes it)"
    if not folder.is_dir():
        raise CheckpointError(f"{rule}, received {str(path)!r}, which is not a directory.")
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{rule}, received {str(path)!r}, which has no config.json.")
    for name in _RECORDS:  # transformers loads a model without some of them, but with other stop tokens
        if (folder / name).is_file():
            read_object(folder / name, what="a record of a checkpoint", remedy="copy or save the checkpoint again")
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{rule}, received {str(path)!r}, which has no *.safetensors file.")
    return folder


def load_causal(path: str | Path, *, dtype: str | torch.dtype = "float32", device: str = "cpu") -> Any:
    """Load any causal LM from a local directory, ready to score (eval mode).

    Args:
        path: a directory written by ``save_pretrained``.
        dtype: weights' type; float32 is the one in which packed equals naive scoring to 1e-5.
        device: a torch device.

    Raises:
        CheckpointError: ``path`` is not a checkpoint, transformers cannot load it as a causal LM, weights are missing,
            unknown, of another shape or not finite, or the tokenizer has ids beyond the embedding.
    """
    return _load("AutoModelForCausalLM", path, dtype=dtype, device=device)


def load_classifier(
    path: str | Path, *, dtype: str | torch.dtype = "float32", device: str = "cpu", trained: bool = False
) -> Any:
    """Load a checkpoint as a one-logit sequence classifier.

    ``num_labels=1`` alone would mean regression; ``multi_label_classification`` with float labels of shape
    ``[B, 1]`` is binary cross-entropy.

    Args:
        path: a directory written by ``save_pretrained``.
        dtype, device: as in :func:`load_causal`.
        trained: whether the checkpoint must hold the classifier's head. If not, the trunk of a causal LM will do, and
            a head that is missing is drawn from torch's generator, to be trained.

    Raises:
        CheckpointError: as :func:`load_causal`.
    """
    return _load(
        "AutoModelForSequenceClassification",
        path,
        dtype=dtype,
        device=device,
        new_head=not trained,
        num_labels=1,
        problem_type="multi_label_classification",
    )


def load_tokenizer(path: str | Path) -> Any:
    """Load the tokenizer of a checkpoint, with a pad token (the end-of-text token where it has none).

    Raises:
        CheckpointError: there is none, or it has neither a pad nor an end-of-text token.
    """
    from transformers import AutoTokenizer

    check_checkpoint(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise CheckpointError(
            f"no tokenizer can be loaded from {str(path)!r} ({_brief(error).rstrip('.')}): copy its files "
            "(tokenizer.json, tokenizer_config.json) or save them again."
        ) from error
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise CheckpointError(
                f"the tokenizer of {str(path)!r} has neither a pad nor an end-of-text token: set tokenizer.pad_token "
                "to one that the model has, and save it again."
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _load(
    auto_class: str, path: str | Path, *, dtype: str | torch.dtype, device: str, new_head: bool = False, **kwargs: Any
) -> Any:
    import transformers

    one_thread()
    quiet_transformers()
    folder = check_checkpoint(path)
    place = _device(device)
    try:
        model, report = getattr(transformers, auto_class).from_pretrained(
            str(folder),
            dtype=torch_dtype(dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are reported, and refused below with their shapes
            output_loading_info=True,
            **kwargs,
        )
    except InvalidArgumentError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{str(folder)!r} must hold a checkpoint for {auto_class} and cannot be loaded "
            f"({_brief(error).rstrip('.')}): copy or save the checkpoint again, or use a version of transformers that "
            "knows it."
        ) from error
    _check_weights(model, report, folder, new_head=new_head)
    if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        match_tokenizer(model, load_tokenizer(folder))
    return model.to(place).eval()


def _check_weights(model: Any, report: Mapping[str, Any], folder: Path, *, new_head: bool) -> None:
    """Refuse weights that are missing, of another shape, unknown to the model, or not finite.

    transformers fills what is missing with random numbers, so such a model would answer, and wrongly.
    """
    trunk = f"{model.base_model_prefix}."

    def counts(name: str) -> bool:
        return not new_head or name.startswith(trunk)

    shapes = [
        f"{name} has the shape {tuple(found)} and must have {tuple(wanted)}"
        for name, found, wanted in sorted(report["mismatched_keys"])
    ]
    missing = [f"{name} is missing" for name in sorted(report["missing_keys"]) if counts(name)]
    extra = sorted(name for name in report["unexpected_keys"] if counts(name) and not _CONSTANT.search(name))
    unknown = [f"{name} belongs to no layer" for name in extra]
    head = {name for name in report["missing_keys"] if not counts(name)}
    broken = [
        f"{name} holds NaN or infinity"
        for name, value in model.named_parameters()
        if value.is_floating_point() and name not in head and not bool(torch.isfinite(value).all())
    ]
    faults = [*missing, *shapes, *unknown, *(broken if not missing and not shapes else [])]
    if faults:
        files = ", ".join(sorted(file.name for file in folder.glob("*.safetensors")))
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise CheckpointError(
            f"the weights of {str(folder)!r} ({files[:200]}) must be those of a {type(model).__name__} as its "
            f"config.json describes it, received: {'; '.join(faults[:5])}{more}. Copy or save the checkpoint again, or "
            "repair config.json if it belongs to another model."
        )


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InvalidArgumentError(f"device must name a torch device, received {name!r}: {_brief(error)}.") from None


def _brief(error: Exception) -> str:
    """The first line of an error's text: transformers lists every model family behind it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
