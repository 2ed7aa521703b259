"""Wrappers of the intervention env. Each wraps a single env and, under the same name, a vector env.

``StateKeyObservation``, ``FeatureObservation`` and ``EncodedObservation`` change observations,
``PRMObservation`` infos, ``HelpCost`` and ``PRMReward`` rewards, ``HelpBudget`` and ``ContinuedCalls`` actions.
``History`` wraps the task inside the intervention env.
"""

from __future__ import annotations

from selfreg_gym.intervention_env.history import History
from selfreg_gym.wrappers.budget import HelpBudget
from selfreg_gym.wrappers.calls import ContinuedCalls
from selfreg_gym.wrappers.cost import HelpCost
from selfreg_gym.wrappers.encoded import EncodedObservation
from selfreg_gym.wrappers.features import FeatureObservation
from selfreg_gym.wrappers.prm import PRM, PRMObservation, PRMReward
from selfreg_gym.wrappers.state_key import StateKeyObservation

__all__ = [
    "PRM",
    "ContinuedCalls",
    "EncodedObservation",
    "FeatureObservation",
    "HelpBudget",
    "HelpCost",
    "History",
    "PRMObservation",
    "PRMReward",
    "StateKeyObservation",
]
