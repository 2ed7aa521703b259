"""Collection of rollouts with random help, and the recurrence of the collected states."""

from selfreg_gym._moved import renamed
from selfreg_gym.collection.collecting import collect
from selfreg_gym.collection.planning import HELP_PROBABILITIES, collection_plan

__all__ = ["HELP_PROBABILITIES", "collect", "collection_plan"]

__getattr__ = renamed(__name__, {"plan_episodes": "collection_plan"})
