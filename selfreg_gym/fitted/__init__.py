"""Fitted values: success and usage at all prices, regressed on rollouts by networks."""

from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.fitted.policy import FittedPolicy
from selfreg_gym.fitted.solve import MissingSupportWarning, fit_decisions, solve_fitted

__all__ = ["FittedFrontier", "FittedPolicy", "MissingSupportWarning", "fit_decisions", "solve_fitted"]
