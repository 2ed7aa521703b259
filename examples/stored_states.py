"""Expert actions at decisions of stored rollouts: states that help has reached, or states reached without help.

The first training of an actor has no states after help: its episodes are those of the expert with random actions, and
never a mixture of actor and expert. The expert's actions in the states of such a mixture are the targets of DAgger
(Ross, Gordon and Bagnell 2011). States reached without help are the control.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.store.rollouts import Rollouts

__all__ = ["STATES", "stored_decisions"]

STATES = ("helped", "alone", "all")


def stored_decisions(store: Path, states: str = "helped") -> list[tuple[str, str]]:
    """``(observation, expert's action)`` at decisions of a store; the recorded episodes are played again for it.

    Args:
        store: a rollout store.
        states: "helped": the step before was one of an intervention. "alone": there was no help before. "all".

    Raises:
        InvalidArgumentError: no such decision, another value of ``states``, a store of evaluation tasks, or a task that
            shows other observations than the stored ones.
    """
    if states not in STATES:
        raise UnknownNameError("choice of states", states, STATES)
    pairs = []
    with Rollouts.open(store) as rollouts:
        env = rollouts.spec["env"]
        split = str(env["task_kwargs"].get("split", "train"))
        if "train" not in split:
            raise InvalidArgumentError(f"an actor is trained on training tasks, received a store of {split!r}.")
        task = gym.make(env["task"], disable_env_checker=True, **env["task_kwargs"]).unwrapped
        for episode in rollouts.episodes():
            observation, _ = task.reset(seed=episode.seed, options={"episode": episode.task_index})
            alone = True
            for before, step in zip((None, *episode.steps), episode.steps, strict=False):
                alone = alone and (before is None or before.action == 0)
                if observation != step.observation:
                    raise InvalidArgumentError(
                        f"the task must show the stored observations, and differs at step {step.t} of task "
                        f"{episode.task_id!r}: use the version that collected {store}."
                    )
                helped = before is not None and before.action > 0
                if states == "all" or (helped if states == "helped" else alone and before is not None):
                    pairs.append((observation, task.expert_action()))
                observation = task.step(step.action_text)[0]
    if not pairs:
        raise InvalidArgumentError(f"{store} has no decisions of the kind {states!r}.")
    return pairs
