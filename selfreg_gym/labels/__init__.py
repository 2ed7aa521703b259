"""The training set of a helper: what the solution does in each collected moment."""

from selfreg_gym.labels.label_set import Label, Labels
from selfreg_gym.labels.labelling import BUDGETS, label

__all__ = ["BUDGETS", "Label", "Labels", "label"]
