"""Models behind a server: everything between a decision and an OpenAI-compatible endpoint.

``server`` holds address and patience, ``transport`` sends one HTTP request, ``client`` repeats it until it is
answered, ``connection`` sends many, remembers and counts, ``probe`` finds out what the server does, ``ways`` turn its
answers into actions, ``answers`` and ``formats`` read them, ``echo`` reads log-probabilities off echoed prompts,
``redaction`` keeps keys and control characters out of texts, ``systemone`` asks typed questions, and ``prm`` is a
process reward model behind them. Nothing here loads ``openai`` before it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Connection", "EndpointPRM", "Server"]

_MODULES = {"Connection": "connection", "EndpointPRM": "prm", "Server": "server"}


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
