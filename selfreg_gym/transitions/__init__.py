"""Transition models of the intervention problem, given as arrays or estimated from episodes."""

from selfreg_gym.transitions.model import Rows, TransitionModel

__all__ = ["Rows", "TransitionModel"]
