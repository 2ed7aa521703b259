"""``GEMTask``: an environment of GEM (General Experience Maker) as a text task."""

from __future__ import annotations

import logging
from typing import Any

from selfreg_gym.intervention_env.task_output import checked_flag
from selfreg_gym.tasks.functions import checked_reward
from selfreg_gym.tasks.game import GameTask, Played
from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["GEMTask"]


class GEMTask(GameTask):
    r"""An environment of GEM (``pip install gem-llm``).

    ## Description
    A new object is made for each episode. While it runs, the global random generators have the state of the episode.
    Afterwards they have the state of the program again.

    ## Observation
    The text of the environment, and the request that it adds (``info["suffix"]``). Most environments show only
    the last result, so wrap the task in :class:`selfreg_gym.History`.

    ## Actions
    Any text, usually with the answer in ``\boxed{}``. This needs an actor that writes text (``endpoint``, or ``lm``,
    which writes if no actions are offered). With ``actions``, actors that choose among offered actions also work.

    ## Rewards
    The rewards of the environment.

    ## Episode End
    The environment ends the episode, or it is truncated after ``max_steps`` steps. Success: the last reward is at least
    ``success``.

    ## Arguments
    * ``game``: a GEM id, an env object (copied for each episode), or a function that makes one.
    * ``actions``: names of actions, or a function of ``(observation)``, ``(observation, info)`` or ``(observation,
      info, env)`` that returns them.
    * ``success``: the smallest last reward that is a success.
    * ``max_steps``: largest number of steps.
    * ``num_episodes``, ``first_seed``: task i is the environment with the seed ``first_seed + i``.
    * ``snapshots``: ``"copy"``, ``"replay"``, or ``"auto"`` (copies, if they are exact in an episode of the game).
    * ``kwargs``: arguments of a game that is given by its id.

    Raises:
        MissingPackageError: GEM is not installed.
        InvalidArgumentError: an argument of the wrong type or out of range.
    """

    distributions = ("gem-llm",)
    unknown = "GEM has no environment with the id {}: see gem.print_envs()."

    def _package(self) -> Any:
        """The package. Its import changes the logging of the program, which is restored here."""
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        try:
            gem = optional_package("gem", user="an environment of GEM", requirement="gem-llm")
            optional_package("gem.envs", user="an environment of GEM", requirement="gem-llm")  # registers environments
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        return gem

    def _begin(self, game: Any, seed: int) -> str:
        observation, info = game.reset(seed=seed)
        return _text(observation, info)

    def _advance(self, game: Any, action: str) -> Played:
        observation, reward, terminated, truncated, info = game.step(action)
        terminated, truncated = checked_flag("terminated", terminated), checked_flag("truncated", truncated)
        text = str(observation) if terminated or truncated else _text(observation, info)
        return Played(text, checked_reward(reward), terminated, truncated, invalid=False)


def _text(observation: Any, info: Any) -> str:
    suffix = (info or {}).get("suffix")
    return f"{observation}\n{suffix}" if suffix else str(observation)
