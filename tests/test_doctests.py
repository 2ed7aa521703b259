"""The examples in the docstrings of the core, and in docs/env.md, do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "helpers",
    "snapshots",
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


def test_docs_env(repository: Path) -> None:
    result = doctest.testfile(str(repository / "docs" / "env.md"), module_relative=False)
    assert result.attempted > 20
    assert result.failed == 0
