"""The training set of a helper: the action of the solution at each stored decision."""

from selfreg_gym.labels.label_set import Label, Labels
from selfreg_gym.labels.labelling import BUDGETS, label

__all__ = ["BUDGETS", "Label", "Labels", "label"]
