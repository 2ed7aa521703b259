"""What happens next, for every state and every choice of who acts: given as arrays, or estimated from episodes."""

from selfreg_gym.transitions.model import Rows, TransitionModel

__all__ = ["Rows", "TransitionModel"]
