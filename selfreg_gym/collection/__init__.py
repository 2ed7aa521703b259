"""Collecting rollouts with random help, and how often the collected states come back."""

from selfreg_gym.collection.collecting import collect
from selfreg_gym.collection.planning import HELP_PROBABILITIES, plan_episodes

__all__ = ["HELP_PROBABILITIES", "collect", "plan_episodes"]
