"""The examples in the docstrings of the core do what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "adapters",
    "intervention_env.snapshots",
    "wrappers.budget",
    "wrappers.cost",
    "wrappers.features",
    "wrappers.prm",
    "wrappers.state_key",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"selfreg_gym.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
