"""``TextWorld``: the Gymnasium env of TextWorld's challenges."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from selfreg_gym.envs._text_game import GameState, TextGame
from selfreg_gym.envs.textworld.challenges import CHALLENGES, SPLITS, game_seed
from selfreg_gym.envs.textworld.engine import Engine, Position, clean
from selfreg_gym.envs.textworld.games import PACKAGE, game_file
from selfreg_gym.utils.arguments import check_flag, check_name
from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["TextWorld"]

_VERBS = ("open", "close", "take", "put", "insert", "drop", "unlock", "lock", "go", "cook", "chop", "slice", "dice",
          "prepare", "eat", "drink")  # fmt: skip
_IN_FEATURES = frozenset(("open", "take", "unlock", "cook", "chop", "slice", "dice", "prepare", "eat"))


class TextWorld(TextGame):
    """Text games of the TextWorld package: cooking, collecting a coin, hunting a treasure, a simple house.

    ## Description
    Games that TextWorld (arXiv 1806.11532) generates. Each game has its own map and its own goal:

    * ``selfreg/TextWorld-Cooking-v0``: find the kitchen, read the cookbook, fetch and process the ingredients, prepare
      the meal and eat it (the games of the competition *First TextWorld Problems*). The game is lost if an ingredient
      is processed in a wrong way.
    * ``selfreg/TextWorld-CoinCollector-v0``: find the room with the coin. Half of the rooms are dead ends.
    * ``selfreg/TextWorld-TreasureHunter-v0``: find and take one object. The game is lost if the wrong object is taken.
    * ``selfreg/TextWorld-Simple-v0``: leave a locked bedroom, find a food item, put it on the stove.

    A game is built on this machine when it is first played (about two seconds), and kept in the user's cache.

    ## Action Space
    Text, one of ``info["admissible_actions"]``, TextWorld's admissible commands: ``open fridge``, ``go east``,
    ``take carrot from counter``. Case and white space are ignored. Any other text is an invalid action. It is
    not sent to the game, so ``save``, ``restore``, ``restart``, ``quit``, ``undo`` and ``script`` have no effect.

    ## Observation Space
    Text: the objective, the recipe after the cookbook was read, the last action and the reply of the game, the room,
    the inventory, the progress, the number of steps left and the admissible actions. With ``page=False`` the text is
    only the reply of the game; use it with the wrapper ``History``.

    ## Rewards
    The increase of the score, divided by the largest score.

    ## Starting State
    ``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``, determines the game. Games have no random
    events, so ``seed`` only draws the game if there is no such option.

    ## Episode End
    Terminated when the game is won (success) or lost. Truncated after ``max_steps`` steps. ``info["steps_left"]`` is
    the number of steps left. On the last step ``info["metrics"]`` has ``progress``, the score divided by the largest
    score.

    ## Arguments
    * ``challenge``: ``"cooking"`` (default), ``"coin_collector"``, ``"treasure_hunter"`` or ``"simple"``; the id sets
      it.
    * ``split``: ``"train"`` (default), ``"val-seen"``, ``"test-seen"``, ``"val-unseen"``, ``"test-unseen"`` or
      ``"actor-train"``. Cooking: the unseen splits have the foods that TextWorld reserves for validation and test. Coin
      collector and treasure hunter: their level is higher by 3. Simple: ``test-unseen`` has other foods.
    * ``settings`` (dict): settings of the challenge in place of the default ones. Cooking: ``recipe`` and ``take``
      (numbers of ingredients), ``go`` (1, 6, 9 or 12 rooms), ``open``, ``cook``, ``cut``, ``drop``. Coin collector
      (1 to 300) and treasure hunter (1 to 30): ``level``. Simple: ``rewards`` and ``goal``.
    * ``goal_only`` (bool, default True): whether the objective states only the goal, and not each action on the way.
    * ``page`` (bool, default True): whether an observation describes the whole situation.
    * ``max_steps`` (int, default 50): steps per episode.
    * ``invalid_action``: ``"noop"`` (default: a step without effect) or ``"terminate"``.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    Raises:
        MissingPackageError: TextWorld is not installed (``pip install 'selfreg-gym[textworld]'``).

    ## Version History
    * v0: initial version.
    """

    distributions = ("textworld",)
    splits: ClassVar = {
        "collected": {"split": "train"},
        "seen": {"split": "test-seen"},
        "unseen": {"split": "test-unseen"},
    }
    val_splits: ClassVar = {"val-seen": {"split": "val-seen"}, "val-unseen": {"split": "val-unseen"}}
    split_titles: ClassVar = {
        "collected": "Collected games",
        "seen": "New games",
        "unseen": "New games with unseen content",
    }
    action_kinds: ClassVar = (*_VERBS, "examine", "inventory", "look")

    def __init__(
        self,
        *,
        challenge: str = "cooking",
        split: str = "train",
        settings: dict[str, Any] | None = None,
        goal_only: bool = True,
        page: bool = True,
        max_steps: int = 50,
        invalid_action: str = "noop",
        render_mode: str | None = None,
    ) -> None:
        check_name("challenge of TextWorld", challenge, CHALLENGES)
        check_name("split of TextWorld", split, SPLITS)
        check_flag("goal_only", goal_only)
        check_flag("page", page)
        optional_package("textworld", **PACKAGE)
        super().__init__(
            num_episodes=SPLITS[split],
            max_steps=max_steps,
            invalid_action=invalid_action,
            list_actions=page,
            render_mode=render_mode,
        )
        self.challenge, self.split, self.goal_only, self.page = challenge, split, goal_only, page
        self.settings = CHALLENGES[challenge].checked(settings or {})
        self._engine: Engine | None = None
        self._reply = self._notes = ""
        self._points: frozenset[str] = frozenset()  # the commands that scored

    def expert_action(self) -> str:
        """The next command of the policy of TextWorld, which also works after other commands.

        If the game can no longer be won, it is the first admissible action.
        """
        game_state = self._running()
        commands = self._game.policy()
        return commands[0] if commands and commands[0] in game_state.actions else game_state.actions[0]

    def subgoal(self) -> str:
        """The number of points so far: a call with ``duration="subgoal"`` ends with the next point."""
        return f"{self._current().progress:.3f}"

    def reseed(self, seed: int) -> None:
        """No effect: games have no random events."""

    def close(self) -> None:
        """End the interpreter."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    # ---------------------------------------------------------------- parts of TextGame

    def _begin(self, index: int) -> GameState:
        self._load(index)
        self._game.begin()
        self._reply = self._notes = ""
        self._points = frozenset()
        return self._seen()

    def _send(self, command: str) -> GameState:
        before = self._game.state.score
        self._reply = self._game.send(command)
        if self._game.state.score > before:
            self._points |= {command}
        if command == CHALLENGES[self.challenge].notes:
            self._notes = self._reply
        return self._seen()

    def _position(self) -> tuple[Position, str, str, frozenset[str]]:
        return self._game.position(), self._reply, self._notes, self._points

    def _return_to(self, index: int, position: Any, game_state: GameState) -> None:
        self._load(index)
        state, self._reply, self._notes, self._points = position
        self._game.return_to(state)

    def _task_id(self) -> str:
        return f"{self.challenge}/{self.split}/{self._index}"

    def _kind(self) -> str:
        return self.challenge

    # ---------------------------------------------------------------- private

    @property
    def _game(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _load(self, index: int) -> None:
        """Load the game of a task, unless it is loaded."""
        challenge, seed = CHALLENGES[self.challenge], game_seed(self.challenge, self.split, index)
        path = game_file(
            challenge.name, challenge.of_split(self.settings, self.split, seed), seed, goal_only=self.goal_only
        )
        if self._engine is None:
            self._engine = Engine(path)
        elif self._engine.path != path:
            self._engine.load(path)

    def _seen(self) -> GameState:
        """The current state of the game."""
        state = self._game.state
        actions = tuple(state.admissible_commands)
        verbs = [action.partition(" ")[0] for action in actions]
        offered = " ".join(sorted(_IN_FEATURES.intersection(verbs)))
        read = "read" if self._notes else ""
        facts = "\n".join((*self._game.facts(), *sorted(self._points)))
        return GameState(
            goal=state.objective.strip() if self.page or not self._reply else "",
            text=self._page() if self.page else self._reply or clean(state.description),
            actions=actions,
            progress=state.score / state.max_score,
            won=bool(state.won),
            lost=bool(state.lost),
            key=f"{hashlib.blake2b(facts.encode(), digest_size=12).hexdigest()}|{state.score}|{read}",
            feature=f"{self.challenge}|{state.score}/{state.max_score}|{read}|{verbs.count('go')} exits|{offered}",
        )

    def _page(self) -> str:
        """The whole situation as text."""
        state = self._game.state
        parts = [self._reply] if self._reply else []
        if self._notes and self._notes != self._reply:
            parts.append(f"You have read:\n{self._notes}")
        description = clean(state.description)
        if description not in self._reply:
            parts.append(description)
        inventory = clean(state.inventory)
        if inventory != self._reply:
            parts.append(inventory)
        return "\n\n".join(parts)
