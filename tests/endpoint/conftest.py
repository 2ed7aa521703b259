"""Fixtures of the endpoint tests."""

from __future__ import annotations

from typing import Any

import pytest

import selfreg_gym  # noqa: F401  (registers the tasks)

QUICK = {"model": "rule", "backoff": 0.001, "max_backoff": 0.01, "timeout": 5.0, "load_timeout": 5.0}
"""Options with short time limits."""


@pytest.fixture
def quick() -> dict[str, Any]:
    return dict(QUICK)
