"""Loading of models and tokenizers from local directories.

Nothing is downloaded, and no code of a checkpoint is run (``local_files_only``, ``trust_remote_code=False``,
safetensors only). Torch uses one thread: with another process on a second core, its default of two threads is many
times slower.
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
    "limit_threads",
    "load_causal",
    "load_classifier",
    "load_tokenizer",
    "quiet_transformers",
    "torch_dtype",
    "trained_with",
]

_JSON_FILES = (
    *("config.json", "generation_config.json", "model.safetensors.index.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)

#: Constants that earlier versions of transformers saved among the weights.
_CONSTANT = re.compile(r"\.(?:masked_bias|(?:attn|attention)\.bias|rotary_emb\.inv_freq|position_ids)$")


def limit_threads() -> None:
    """Set torch to one thread, or to ``OMP_NUM_THREADS`` if that is set."""
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    torch.set_num_threads(max(1, int(threads)) if threads.isdigit() else 1)


def quiet_transformers() -> None:
    """Silence the warnings and progress bars of transformers (new classification heads are expected here)."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def trained_with(info: Mapping[str, Any], *, dtype: str | None, device: str | None) -> tuple[str, str]:
    """Return dtype and device for a trained model: the arguments, or else those of its training record ``info``.

    An unavailable device is replaced by the CPU. A record without dtype, as older versions wrote it, means float32.
    """
    device = device or str(info.get("device", "cpu"))
    kind = _device(device).type
    known = kind == "cpu" or (hasattr(torch, kind) and getattr(torch, kind).is_available())
    return dtype or str(info.get("dtype", "float32")), device if known else "cpu"


def torch_dtype(name: str | torch.dtype) -> torch.dtype:
    """Return the torch dtype of this name ("float32", "bfloat16", "float16").

    Raises:
        InvalidArgumentError: ``name`` is not a floating-point dtype.
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
    """Return ``path`` if it is a directory with a transformers checkpoint.

    Raises:
        CheckpointError: it is not a directory, or has no readable ``config.json`` or no safetensors weights.
    """
    folder = Path(path)
    rule = "a checkpoint must be a local directory with config.json and *.safetensors (as save_pretrained writes it)"
    if not folder.is_dir():
        raise CheckpointError(f"{rule}, received {str(path)!r}, which is not a directory.")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{rule}, received {str(path)!r}, which has no config.json.")
    for name in _JSON_FILES:  # without some of them transformers loads the model, but with other stop tokens
        if (folder / name).is_file():
            read_object(folder / name, what="a JSON file of a checkpoint", remedy="copy or save the checkpoint again")
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{rule}, received {str(path)!r}, which has no *.safetensors file.")
    return folder


def load_causal(path: str | Path, *, dtype: str | torch.dtype = "float32", device: str = "cpu") -> Any:
    """Load a causal LM from a local directory, in eval mode.

    Args:
        path: a directory written by ``save_pretrained``.
        dtype: type of the weights. In float32, packed and naive scoring agree to 1e-5.
        device: a torch device.

    Raises:
        CheckpointError: ``path`` is not a checkpoint, transformers cannot load it as a causal LM, weights are missing,
            unknown, not finite or of another shape, or the tokenizer has ids beyond the embedding.
        InvalidArgumentError: dtype or device is unknown.
    """
    return _load("AutoModelForCausalLM", path, dtype=dtype, device=device)


def load_classifier(
    path: str | Path, *, dtype: str | torch.dtype = "float32", device: str = "cpu", trained: bool = False
) -> Any:
    """Load a sequence classifier with one logit, in eval mode.

    The problem type ``multi_label_classification`` with float labels ``(B, 1)`` gives binary cross-entropy;
    ``num_labels=1`` alone would mean regression.

    Args:
        path: a directory written by ``save_pretrained``.
        dtype, device: as in :func:`load_causal`.
        trained: whether the checkpoint must contain the classifier's head. If False, the checkpoint of a causal LM is
            accepted, and a missing head is initialised from torch's global generator.

    Raises:
        CheckpointError, InvalidArgumentError: as :func:`load_causal`.
    """
    head = {"num_labels": 1, "problem_type": "multi_label_classification"}
    return _load("AutoModelForSequenceClassification", path, dtype=dtype, device=device, new_head=not trained, **head)


def load_tokenizer(path: str | Path) -> Any:
    """Load the tokenizer of a checkpoint; without a pad token, its end-of-text token becomes the pad token.

    Raises:
        CheckpointError: it cannot be loaded, or has neither a pad nor an end-of-text token.
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
                "to a token of the model, and save it again."
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _load(
    auto_class: str, path: str | Path, *, dtype: str | torch.dtype, device: str, new_head: bool = False, **kwargs: Any
) -> Any:
    import transformers

    limit_threads()
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
            ignore_mismatched_sizes=True,  # reported here, and an error in _check_weights
            output_loading_info=True,
            **kwargs,
        )
    except InvalidArgumentError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{str(folder)!r} must hold a checkpoint for {auto_class} and cannot be loaded "
            f"({_brief(error).rstrip('.')}): copy or save the checkpoint again, or use a version of transformers that "
            "supports it."
        ) from error
    _check_weights(model, report, folder, new_head=new_head)
    if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        match_tokenizer(model, load_tokenizer(folder))
    return model.to(place).eval()


def _check_weights(model: Any, report: Mapping[str, Any], folder: Path, *, new_head: bool) -> None:
    """Raise if weights are missing (transformers initialises them at random), unknown, not finite or of other shape."""
    backbone = f"{model.base_model_prefix}."

    def is_required(name: str) -> bool:
        return not new_head or name.startswith(backbone)

    shapes = [
        f"{name} has the shape {tuple(found)} and must have {tuple(wanted)}"
        for name, found, wanted in sorted(report["mismatched_keys"])
    ]
    missing = [f"{name} is missing" for name in sorted(report["missing_keys"]) if is_required(name)]
    extra = sorted(name for name in report["unexpected_keys"] if is_required(name) and not _CONSTANT.search(name))
    unknown = [f"{name} belongs to no layer" for name in extra]
    head = {name for name in report["missing_keys"] if not is_required(name)}
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
    """Return the first line of an error's text; transformers lists all model families after it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
