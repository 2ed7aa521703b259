"""Forks: continue stored or live states with and without help, under common random numbers. See ``fork``."""

from selfreg_gym.forks.forking import fork
from selfreg_gym.forks.labelling import fork_labels
from selfreg_gym.forks.result import Differences, Forks
from selfreg_gym.forks.states import ForkState, choose_rows, live_states, stored_states

__all__ = ["Differences", "ForkState", "Forks", "choose_rows", "fork", "fork_labels", "live_states", "stored_states"]
