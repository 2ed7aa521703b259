"""An episode of two interventions, with texts that recur and texts that do not, and the spec of its store."""

from __future__ import annotations

import dataclasses

from selfreg_gym.types import Episode, Transition

SPEC = {"env": {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert", "strong"]}, "seed": 3}


def episode(
    task: int = 0,
    seed: int = 0,
    p: float | None = 0.5,
    *,
    actions: tuple[int, ...] = (0, 1, 2),
    cost: float = 1.0,
    success: bool = True,
    **changes: object,
) -> Episode:
    """An episode of K = 2 with texts that recur and texts that do not."""
    last = len(actions) - 1
    steps = tuple(
        Transition(
            t=t,
            observation=f"Room {t}.\nTask {task}: bring the «cup» 🙂" + (f" {seed}" if t == 1 else ""),
            admissible_actions=("go left", "say 'hi\", ok'") if t != 1 else None,
            state_key=f"{task}|room {t}",
            feature_key=f"room {t}" if t != 2 else None,
            steps_left=last - t if t else None,
            action=action,
            action_text="go left",
            cost=cost if action else 0.0,
            reward=float(t == last and success) - 0.1 * bool(action),
            terminated=t == last,
            truncated=False,
            invalid=t == 0,
        )
        for t, action in enumerate(actions)
    )
    usage = tuple(sum(s.cost for s in steps if s.action == k) for k in (1, 2))
    made = Episode(task, seed, f"task-{task}", "pnp", p, success, usage, steps, metrics={"spl": 1 / 3})
    return dataclasses.replace(made, **changes)
