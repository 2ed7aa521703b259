"""``ALFWorld``: the Gymnasium env of ALFWorld's text games."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from selfreg_gym.envs._text_game import GameState, TextGame
from selfreg_gym.envs.alfworld.engine import PACKAGE, Engine
from selfreg_gym.envs.alfworld.games import SPLITS, TASK_TYPES, data_folder, game_files
from selfreg_gym.envs.alfworld.planner import plan_within
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.utils.arguments import check_flag, check_name, check_number
from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["ALFWorld"]


class ALFWorld(TextGame):
    """Household tasks of ALFWorld as text games, from the user's own data folder.

    ## Description
    ALFWorld (arXiv 2010.03768) has the households of ALFRED as text games: put a clean mug on a desk, look at a book
    under a lamp, heat an apple and put it in the fridge. There are six types of tasks. The games are not part of a
    package; the command ``alfworld-download`` downloads them. They run in the PDDL environment of TextWorld.

    ## Action Space
    Text, one of ``info["admissible_actions"]``, ALFWorld's admissible commands: ``go to fridge 1``, ``open fridge 1``,
    ``take apple 1 from fridge 1``, ``heat apple 1 with microwave 1``. Case and white space are ignored. Any other text
    is an invalid action, which is not sent to the game.

    ## Observation Space
    Text: the first text of the game with the room and the task, the last action and its result, the place, what is
    held, the number of steps left and the admissible actions. With ``page=False`` the text is only the reply of
    the game; use it with the wrapper ``History``.

    ## Rewards
    1 when the goal is reached, otherwise 0.

    ## Starting State
    ``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``, determines the game: the i-th in the order of
    the paths. Games have no random events, so ``seed`` only draws the game if there is no such option.

    ## Episode End
    Terminated when the goal is reached (success). Truncated after ``max_steps`` steps. ``info["steps_left"]`` is the
    number of steps left. On the last step ``info["metrics"]`` has ``progress``, which is 0 or 1.

    ## Arguments
    * ``data`` (path, optional): the folder with ``train``, ``valid_seen`` and ``valid_unseen``, or one above it.
      Default: the environment variable ``ALFWORLD_DATA``, else ``~/.cache/alfworld``.
    * ``split``: ``"train"`` (default), ``"valid_seen"`` or ``"valid_unseen"``, as published; or a part of the training
      games: ``"train-val"`` (every 20th) or ``"train-fit"`` (the others). Use these two to make choices without the
      published validation games.
    * ``task_types`` (sequence of str): the types of tasks, default all of
      :data:`selfreg_gym.envs.alfworld.games.TASK_TYPES`.
    * ``page`` (bool, default True): whether an observation describes the whole situation.
    * ``planner_seconds`` (float, default 20): time limit of the expert.
    * ``max_steps`` (int, default 50): steps per episode.
    * ``invalid_action``: ``"noop"`` (default: a step without effect) or ``"terminate"``.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    Raises:
        MissingPackageError: the games, TextWorld or its planner are missing; the message names the lines to type.

    ## Version History
    * v0: initial version.
    """

    distributions = ("textworld", "fast-downward-textworld")
    splits: ClassVar = {
        "collected": {"split": "train-fit"},
        "seen": {"split": "valid_seen"},
        "unseen": {"split": "valid_unseen"},
    }
    val_splits: ClassVar = {"val-seen": {"split": "train-val"}}
    split_titles: ClassVar = {"collected": "Training games", "seen": "New games, seen rooms",
                              "unseen": "New games, unseen rooms"}  # fmt: skip
    action_kinds: ClassVar = ("go to", "open", "close", "take", "move", "put", "examine", "use", "heat", "clean",
                              "cool", "slice", "inventory", "look", "help")  # fmt: skip

    def __init__(
        self,
        *,
        data: str | Path | None = None,
        split: str = "train",
        task_types: Any = TASK_TYPES,
        page: bool = True,
        planner_seconds: float = 20.0,
        max_steps: int = 50,
        invalid_action: str = "noop",
        render_mode: str | None = None,
    ) -> None:
        check_name("split of ALFWorld", split, SPLITS)
        if isinstance(task_types, str) or not task_types:
            raise InvalidArgumentError(f"task_types must be a sequence of names, received {shown(task_types)}.")
        for name in task_types:
            check_name("type of ALFWorld task", name, TASK_TYPES)
        check_flag("page", page)
        optional_package("textworld", **PACKAGE)
        self._files = game_files(data_folder(data), split, tuple(task_types))
        super().__init__(
            num_episodes=len(self._files),
            max_steps=max_steps,
            invalid_action=invalid_action,
            list_actions=page,
            render_mode=render_mode,
        )
        self.data = None if data is None else str(data)
        self.split, self.task_types, self.page = split, tuple(task_types), page
        self.planner_seconds = check_number("planner_seconds", planner_seconds, above=True)
        self._engine: Engine | None = None
        self._first = self._reply = self._place = ""
        self._actions: tuple[str, ...] = ()

    def expert_action(self) -> str:
        """The first command of a plan from the current state.

        Raises:
            TaskContractError: the planner found none within ``planner_seconds``, or one that is not admissible.
        """
        game_state = self._running()
        action = plan_within(self.planner_seconds, self._game.plan)[0]
        if action not in game_state.actions:
            raise TaskContractError(
                f"ALFWorld's planner must give an admissible command, received {shown(action)} in {self._task_id()}."
            )
        return action

    def reseed(self, seed: int) -> None:
        """No effect: games have no random events."""

    # ---------------------------------------------------------------- parts of TextGame

    def _begin(self, index: int) -> GameState:
        self._load(index)
        self._first = self._game.begin()
        self._reply, self._place, self._actions = "", "", ()
        return self._seen()

    def _send(self, command: str) -> GameState:
        self._carry_out(command)
        return self._seen()

    def _position(self) -> tuple[str, ...]:
        return self._actions

    def _return_to(self, index: int, position: Any, game_state: GameState) -> None:
        """Replay the actions.

        Raises:
            TaskContractError: the replay has another outcome.
        """
        self._begin(index)
        for command in position:
            self._carry_out(command)
        if self._seen_in(index) != game_state:
            raise TaskContractError(
                f"ALFWorld's games must be determined by their actions, and a replay of {len(position)} actions of "
                f"{self._files[index].parent} had another outcome: {shown(self._reply)}."
            )

    def _task_id(self) -> str:
        return self._name(self._index)

    def _kind(self) -> str:
        return self._name(self._index).split("-")[0]

    # ---------------------------------------------------------------- private

    @property
    def _game(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _name(self, index: int) -> str:
        """The path of a game in the folder of its split."""
        return "/".join(self._files[index].parts[-3:-1])

    def _load(self, index: int) -> None:
        """Load the game of a task, unless it is loaded."""
        if self._engine is None or self._engine.path != self._files[index]:
            self._engine = Engine(self._files[index])

    def _carry_out(self, command: str) -> None:
        self._reply = self._game.send(command)
        self._actions = (*self._actions, command)
        if command.startswith("go to "):
            self._place = command.removeprefix("go to ")

    def _seen(self) -> GameState:
        return self._seen_in(self._index)

    def _seen_in(self, index: int) -> GameState:
        """The current state of the game."""
        game = self._game
        held, facts = game.held(), "\n".join(game.facts())
        kind = self._name(index).split("-")[0]
        place = self._place.partition(" ")[0]
        situation = f"You are {f'at the {self._place}' if self._place else 'in the middle of the room'}. "
        situation += f"You hold the {held}." if held else "You hold nothing."
        verbs = {action.partition(" ")[0] for action in game.actions} - {"go", "help", "inventory", "look", "examine"}
        return GameState(
            goal=self._first if self.page or not self._reply else "",
            text="\n".join(part for part in (self._reply, situation if self.page else "") if part),
            actions=game.actions,
            progress=float(game.won),
            won=game.won,
            lost=False,
            key=hashlib.blake2b(facts.encode(), digest_size=12).hexdigest(),
            feature=f"{kind}|{place}|{held.partition(' ')[0]}|{' '.join(sorted(verbs))}",
        )
