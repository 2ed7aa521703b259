"""The training set of a helper: the solution's action at each collected decision."""

from selfreg_gym.labels.label_set import Label, Labels
from selfreg_gym.labels.labelling import BUDGETS, label

__all__ = ["BUDGETS", "Label", "Labels", "label"]
