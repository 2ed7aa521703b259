"""A store to write to."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import SPEC

from selfreg_gym.store.rollouts import Rollouts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "rollouts.sqlite"


@pytest.fixture
def rollouts(path: Path):
    with Rollouts.create(path, spec=SPEC) as made:
        yield made
