"""Write the transcripts on the pages of docs/tasks, which a test plays again: ``make transcripts``.

A transcript is the block of text after a comment on a page, which names the task, and how it is played::

    <!-- transcript of selfreg/Coin-v0: {"episode": 3, "seed": 0} -->

``episode`` and ``seed`` are those of ``reset``; ``kwargs`` are arguments of the task; ``actions`` are the first
actions, and the expert acts after them; after ``steps`` steps the rest is left out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

import selfreg_gym  # noqa: F401 (registers the tasks)

PAGES = Path(__file__).resolve().parent / "tasks"
TRANSCRIPT = re.compile(r"<!-- transcript of (?P<task>\S+): (?P<how>\{.*\}) -->\n```text\n(?P<text>.*?)```", re.DOTALL)


def play(task: str, how: Mapping[str, Any]) -> str:
    """The transcript of an episode: observations, and the actions after a ``>``."""
    actions = list(how.get("actions", ()))
    env = gym.make(task, disable_env_checker=True, **how.get("kwargs", {}))
    try:
        observation, info = env.reset(seed=how["seed"], options={"episode": how["episode"]})
        lines, steps, over = [observation], 0, False
        while not over and steps < how.get("steps", 1000):
            action = actions[steps] if steps < len(actions) else env.get_wrapper_attr("expert_action")()
            observation, _, terminated, truncated, info = env.step(action)
            steps, over = steps + 1, terminated or truncated
            lines += ["", f"> {action}", observation]
        lines += ["", f"[{'success' if info['success'] else 'failure'} after {steps} steps]" if over else "[...]"]
    finally:
        env.close()
    return "\n".join(line.rstrip() for line in "\n".join(lines).split("\n")) + "\n"


def rewritten(page: str) -> str:
    """The page with its transcripts played again."""

    def again(match: re.Match[str]) -> str:
        text = play(match["task"], json.loads(match["how"]))
        return f"<!-- transcript of {match['task']}: {match['how']} -->\n```text\n{text}```"

    return TRANSCRIPT.sub(again, page)


if __name__ == "__main__":
    for path in [PAGES / f"{name}.md" for name in sys.argv[1:]] or sorted(PAGES.glob("*.md")):
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
