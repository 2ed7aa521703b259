"""Wrappers of the intervention env. Each works on a single env and, under the same name, on a vector env.

Observations are changed by ``StateKeyObservation`` and ``FeatureObservation``, infos by ``PRMObservation``, rewards by
``HelpCost`` and ``PRMReward``, and what may be asked by ``HelpBudget``.
"""

from __future__ import annotations

from selfreg_gym.wrappers.budget import HelpBudget
from selfreg_gym.wrappers.cost import HelpCost
from selfreg_gym.wrappers.features import FeatureObservation
from selfreg_gym.wrappers.prm import PRM, PRMObservation, PRMReward
from selfreg_gym.wrappers.state_key import StateKeyObservation

__all__ = ["PRM", "FeatureObservation", "HelpBudget", "HelpCost", "PRMObservation", "PRMReward", "StateKeyObservation"]
