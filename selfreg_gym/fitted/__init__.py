"""Fitted values: success and usage at all prices, regressed on rollouts by networks."""
