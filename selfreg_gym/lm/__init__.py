"""Language-model plumbing: loading, tokenising, scoring, generating and training causal LMs.

One code path for a 1 MB Llama and for a 3B one: whatever ``transformers.AutoModelForCausalLM`` loads from a local
directory. Importing this package loads neither torch nor transformers; its modules do.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "CandidateScorer",
    "build_tokenizer",
    "finetune",
    "generate",
    "load_causal",
    "load_tokenizer",
    "parse_action",
    "score_candidates",
]

_MODULES = {
    "CandidateScorer": "scoring",
    "build_tokenizer": "tokenizer",
    "finetune": "training",
    "generate": "generation",
    "load_causal": "loading",
    "load_tokenizer": "loading",
    "parse_action": "parsing",
    "score_candidates": "scoring",
}


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
