"""selfreg_gym: when should an LLM actor pay for help?

Importing the package registers the environments with Gymnasium and loads nothing heavy. The public names are listed in
``__init__.pyi``; each is imported from its module when it is first used.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import gymnasium as _gym
import lazy_loader as _lazy_loader

from selfreg_gym import _moved
from selfreg_gym import registry as _registry
from selfreg_gym.errors import did_you_mean as _did_you_mean

__version__ = "0.1.0"

_load, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Import a public name, or a submodule, when it is first used (PEP 562)."""
    if name in __all__:
        return _load(name)
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{_did_you_mean(name, __all__)}")


def _register() -> None:
    """Make the environments known to ``gym.make`` and ``gym.make_vec``."""
    if "selfreg/Intervention-v0" not in _gym.registry:
        _gym.register(
            "selfreg/Intervention-v0",
            entry_point="selfreg_gym.intervention_env.env:InterventionEnv",
            vector_entry_point="selfreg_gym.intervention_env.vector_env:InterventionVectorEnv",
            # The env itself refuses a step before reset or of a wrong action, in its own words, and its tests run the
            # checker; both wrappers would only take time.
            order_enforce=False,
            disable_env_checker=True,
        )
    _registry.register_tasks()


_moved.install()
_register()
