"""``GEMTask``: an environment of GEM (General Experience Maker) as a text task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from selfreg_gym.errors import InvalidArgumentError, MissingPackageError, shown
from selfreg_gym.tasks.game import GameTask, Played, maker

__all__ = ["GEMTask"]


class GEMTask(GameTask):
    r"""An environment of GEM (``pip install gem-llm``).

    ## Description
    A new object is made for each episode. While it runs, the global random generators have the state of the episode,
    and afterwards that of the program again.

    ## Observation
    The text of the environment, and the request that it adds (``info["suffix"]``). Most environments show the last
    result only: put the task into :class:`selfreg_gym.History`.

    ## Actions
    Any text, usually with the answer in ``\boxed{}``: an actor that writes is needed (``endpoint``, or ``lm``, which
    writes where no actions are offered). With ``actions``, the actors that choose among offered actions work as well.

    ## Rewards
    Those of the environment.

    ## Episode End
    That of the environment, and truncation after ``max_steps`` steps. Success: the last reward is at least ``success``.

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

    package = "gem"
    distributions = ("gem-llm",)

    def __init__(
        self,
        game: Any,
        *,
        actions: Sequence[str] | Callable[..., Sequence[str]] | None = None,
        success: float = 1.0,
        max_steps: int = 100,
        num_episodes: int = 1000,
        first_seed: int = 0,
        snapshots: str = "auto",
        kwargs: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        gem = _package()
        if isinstance(game, str) and game not in gem.envs.registration.ENV_REGISTRY:
            raise InvalidArgumentError(f"GEM has no environment with the id {shown(game)}: see gem.print_envs().")
        self.game, self.kwargs, self.render_mode = game, dict(kwargs or {}), render_mode
        self._set_up(
            maker(game, (gem.Env,), gem.make, self.kwargs),
            name=game if isinstance(game, str) else getattr(game, "env_id", type(game).__name__),
            actions=actions, success=success, max_steps=max_steps, num_episodes=num_episodes, first_seed=first_seed,
            snapshots=snapshots,
        )  # fmt: skip

    def _begin(self, game: Any, seed: int) -> str:
        observation, info = game.reset(seed=seed)
        return _text(observation, info)

    def _advance(self, game: Any, action: str) -> Played:
        observation, reward, terminated, truncated, info = game.step(action)
        over = bool(terminated or truncated)
        text = str(observation) if over else _text(observation, info)
        return Played(text, float(reward), bool(terminated), bool(truncated), invalid=False)


def _text(observation: Any, info: Any) -> str:
    suffix = (info or {}).get("suffix")
    return f"{observation}\n{suffix}" if suffix else str(observation)


def _package() -> Any:
    """The package, imported without its change of the logging of the program."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        import gem
        import gem.envs  # registers the environments
    except ImportError as error:
        raise MissingPackageError(
            "an environment of GEM needs the package gem-llm, which is not installed: pip install gem-llm."
        ) from error
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return gem
