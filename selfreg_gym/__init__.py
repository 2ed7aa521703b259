"""selfreg_gym: when should an LLM actor pay for help?

Importing the package registers the environments with Gymnasium and loads nothing heavy; each public name below is
imported from its module when it is first used.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from selfreg_gym.interrupts import exit_quietly_on_ctrl_c as _exit_quietly_on_ctrl_c
from selfreg_gym.interrupts import is_command as _is_command

if _is_command():  # before the imports, which take most of the time until the command line is ready
    _exit_quietly_on_ctrl_c()

import gymnasium as _gym

from selfreg_gym import registry as _registry
from selfreg_gym.errors import did_you_mean as _did_you_mean

if TYPE_CHECKING:
    from selfreg_gym import errors, testing
    from selfreg_gym.agents.helpers.lm import LMHelper
    from selfreg_gym.calibration import calibrate
    from selfreg_gym.collection import collect
    from selfreg_gym.dataset import Rollouts
    from selfreg_gym.env import InterventionEnv
    from selfreg_gym.errors import SelfRegError
    from selfreg_gym.evaluation import Evaluation, evaluate
    from selfreg_gym.helpers import as_helper
    from selfreg_gym.labels import Labels, label
    from selfreg_gym.prm import ProcessRewardModel
    from selfreg_gym.solver import (
        CappedSolution,
        Frontier,
        MixedPolicy,
        Solution,
        cross_fitted_value,
        evaluate_policy,
        solve,
        solve_budget,
        solve_caps,
        solve_frontier,
    )
    from selfreg_gym.spaces import FreeText
    from selfreg_gym.transitions import TransitionModel
    from selfreg_gym.types import (
        Act,
        Actor,
        Decision,
        Episode,
        HelperPolicy,
        Intervention,
        TextTask,
        Transition,
        as_actor,
    )
    from selfreg_gym.vector_env import InterventionVectorEnv, to_sb3
    from selfreg_gym.wrappers import (
        FeatureObservation,
        HelpBudget,
        HelpCost,
        PRMObservation,
        PRMReward,
        StateKeyObservation,
    )

__version__ = "0.1.0"

__all__ = [
    "Act",
    "Actor",
    "CappedSolution",
    "Decision",
    "Episode",
    "Evaluation",
    "FeatureObservation",
    "FreeText",
    "Frontier",
    "HelpBudget",
    "HelpCost",
    "HelperPolicy",
    "Intervention",
    "InterventionEnv",
    "InterventionVectorEnv",
    "LMHelper",
    "Labels",
    "MixedPolicy",
    "PRMObservation",
    "PRMReward",
    "ProcessRewardModel",
    "Rollouts",
    "SelfRegError",
    "Solution",
    "StateKeyObservation",
    "TextTask",
    "Transition",
    "TransitionModel",
    "as_actor",
    "as_helper",
    "calibrate",
    "collect",
    "cross_fitted_value",
    "errors",
    "evaluate",
    "evaluate_policy",
    "label",
    "solve",
    "solve_budget",
    "solve_caps",
    "solve_frontier",
    "testing",
    "to_sb3",
]

# No key may be the name of a submodule: importing the submodule would put the module in the name's place.
_MODULE_OF = {
    "Act": "types",
    "Actor": "types",
    "CappedSolution": "solver",
    "Decision": "types",
    "Episode": "types",
    "Evaluation": "evaluation",
    "FeatureObservation": "wrappers",
    "FreeText": "spaces",
    "Frontier": "solver",
    "HelpBudget": "wrappers",
    "HelpCost": "wrappers",
    "HelperPolicy": "types",
    "Intervention": "types",
    "InterventionEnv": "env",
    "InterventionVectorEnv": "vector_env",
    "LMHelper": "agents.helpers.lm",
    "Labels": "labels",
    "MixedPolicy": "solver",
    "PRMObservation": "wrappers",
    "PRMReward": "wrappers",
    "ProcessRewardModel": "prm",
    "Rollouts": "dataset",
    "SelfRegError": "errors",
    "Solution": "solver",
    "StateKeyObservation": "wrappers",
    "TextTask": "types",
    "Transition": "types",
    "TransitionModel": "transitions",
    "as_actor": "types",
    "as_helper": "helpers",
    "calibrate": "calibration",
    "collect": "collection",
    "cross_fitted_value": "solver",
    "evaluate": "evaluation",
    "evaluate_policy": "solver",
    "label": "labels",
    "solve": "solver",
    "solve_budget": "solver",
    "solve_caps": "solver",
    "solve_frontier": "solver",
    "to_sb3": "vector_env",
}


def __getattr__(name: str) -> Any:
    """Import a public name, or a submodule, when it is first used (PEP 562)."""
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{_did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register() -> None:
    """Make the environments known to ``gym.make`` and ``gym.make_vec``."""
    if "selfreg/Intervention-v0" not in _gym.registry:
        _gym.register(
            "selfreg/Intervention-v0",
            entry_point="selfreg_gym.env:InterventionEnv",
            vector_entry_point="selfreg_gym.vector_env:InterventionVectorEnv",
            # The env itself refuses a step before reset or of a wrong action, in its own words, and its tests run the
            # checker; both wrappers would only take time.
            order_enforce=False,
            disable_env_checker=True,
        )
    _registry.register_tasks()


_register()
