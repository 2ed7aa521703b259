"""``python -m selfreg_gym.testing ID ...``: stress tests of tasks, with a line of JSON for each.

A test runs it in a process of its own, to see what it leaves behind: files, processes, and another transcript.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from selfreg_gym.errors import SelfRegError, TaskContractError
from selfreg_gym.testing.stress import stress_task, transcript_digest

__all__ = ["main"]


def main() -> None:
    """Print a line of JSON per task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--snapshots", type=int, default=50)
    parser.add_argument("--hostile", type=int, default=200)
    options = parser.parse_args()
    for task in options.tasks:
        found: dict[str, Any] = {"task": task, "digest": None, "error": None, "missing": False}
        try:
            found["digest"] = transcript_digest(task)
            if options.snapshots or options.hostile:
                stress_task(task, snapshots=options.snapshots, hostile=options.hostile)
        except TaskContractError as error:
            found["error"] = str(error)
        except SelfRegError as error:
            found.update(error=str(error), missing="pip install" in str(error))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
