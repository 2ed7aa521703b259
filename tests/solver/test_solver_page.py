"""docs/solver.md does what it shows."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_page_is_right(repository: Path):
    result = doctest.testfile(str(repository / "docs" / "solver.md"), module_relative=False)
    assert result.attempted > 8
    assert result.failed == 0
