"""``TextArenaTask``: a single-player game of TextArena as a text task."""

from __future__ import annotations

from typing import Any

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.tasks.functions import checked_reward
from selfreg_gym.tasks.game import GameTask, Played
from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["TextArenaTask"]


class TextArenaTask(GameTask):
    """A single-player game of TextArena (``pip install textarena``).

    ## Description
    A new object is made for each episode, because a second reset does not always give the same game. While it runs, the
    global random generators have the state of the episode. Afterwards they have the state of the program again.

    ## Observation
    What the object shows to its player. The ids without an ending show the whole game so far
    (``LLMObservationWrapper``). The ids that end with ``-raw`` show only the new messages of others, so wrap the
    task in :class:`selfreg_gym.History`.

    ## Actions
    Any text. This needs an actor that writes text (``endpoint``, or ``lm``, which writes if no actions are offered).
    With ``actions``, actors that choose among offered actions also work.

    ## Rewards
    The reward of the player at the end of the game, otherwise 0.

    ## Episode End
    The game ends the episode, or it is truncated after ``max_steps`` steps. Success: a reward of at least ``success``.

    ## Arguments
    * ``game``: a TextArena id, an env object (copied for each episode), or a function that makes one.
    * ``actions``: names of actions, or a function of ``(observation)``, ``(observation, info)`` or ``(observation,
      info, env)`` that returns them.
    * ``success``: the smallest reward that is a success.
    * ``max_steps``: largest number of steps.
    * ``num_episodes``, ``first_seed``: task i is the game with the seed ``first_seed + i``.
    * ``snapshots``: ``"copy"``, ``"replay"``, or ``"auto"`` (copies, if they are exact in an episode of the game).
    * ``kwargs``: arguments of a game that is given by its id.

    Raises:
        MissingPackageError: TextArena is not installed.
        InvalidArgumentError: an argument of the wrong type or out of range, or a game for several players.
    """

    distributions = ("textarena",)
    unknown = "TextArena has no game with the id {}: see textarena.pprint_registry_detailed()."

    def _package(self) -> Any:
        package = optional_package("textarena", user="a game of TextArena", requirement="textarena")
        self._player_action = package.ObservationType.PLAYER_ACTION
        return package

    def _begin(self, game: Any, seed: int) -> str:
        try:
            game.reset(num_players=1, seed=seed)
        except (AssertionError, ValueError, KeyError) as error:
            raise InvalidArgumentError(
                f"TextArenaTask plays games for one player, and {self.name} cannot begin with one: {error!r}."
            ) from error
        return self._observation(game)

    def _advance(self, game: Any, action: str) -> Played:
        errors = getattr(game.state, "error_count", 0)
        done, _ = game.step(action=action)
        reward, invalid = 0.0, getattr(game.state, "error_count", 0) > errors
        text = self._observation(game)
        if done:
            rewards, game_info = game.close()
            reward = checked_reward((rewards or {}).get(0, 0.0))
            found = (game_info or {}).get(0, {})
            invalid = bool(found.get("invalid_move", invalid))
            text = "\n".join(one for one in (text, str(found.get("reason") or "")) if one)
        return Played(text, reward, bool(done), False, invalid)

    def _observation(self, game: Any) -> str:
        player, shown_now = game.get_observation()
        if player != 0:
            raise InvalidArgumentError(f"TextArenaTask plays games for one player, and {self.name} has several.")
        if isinstance(shown_now, str):
            return shown_now.strip("\n")
        return "\n".join(str(message) for _, message, kind in shown_now or () if kind != self._player_action)
