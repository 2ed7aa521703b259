"""The process reward model: p(s), the probability that an episode that stands at s ends in success.

``p`` is the outcome under a *named* continuation policy (:mod:`selfreg_gym.prm.targets`), read off a language model
(:mod:`selfreg_gym.prm.model`), with a bag of words as the floor it has to beat (:mod:`selfreg_gym.prm.bag_of_words`)
and the figures that say how far it can be trusted (:mod:`selfreg_gym.prm.calibration`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["TARGETS", "BagOfWords", "ProcessRewardModel", "calibration_table"]

_MODULES = {
    "BagOfWords": "bag_of_words",
    "ProcessRewardModel": "model",
    "TARGETS": "targets",
    "calibration_table": "calibration",
}


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` when it is first used: the model needs torch, the rest does not."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
