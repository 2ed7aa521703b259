"""Inputs of decisions: what is known before an action is chosen, as arrays of numbers."""

from __future__ import annotations

from selfreg_gym.inputs.backbones import embedding_backbone
from selfreg_gym.inputs.encoder import INPUTS, TASK_INPUTS, InputEncoder
from selfreg_gym.inputs.reading import action_kinds_of, fit_inputs
from selfreg_gym.inputs.table import DecisionTable

__all__ = [
    "INPUTS", "TASK_INPUTS", "DecisionTable", "InputEncoder", "action_kinds_of", "embedding_backbone", "fit_inputs",
]  # fmt: skip
