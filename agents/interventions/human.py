"""A person at the terminal, as an intervention."""

from __future__ import annotations

from collections.abc import Callable

from selfreg_gym import registry
from selfreg_gym.types import Intervention

__all__ = ["Human"]


class Human(Intervention):
    """The actor ``human`` (:mod:`selfreg_gym.agents.actors.human`) as an intervention.

    Args:
        read: shows a prompt and returns the input; the terminal by default.
        write: shows text.
        cost: cost units of one call.
    """

    def __init__(
        self, *, read: Callable[[str], str] | None = None, write: Callable[[str], None] = print, cost: float = 1.0
    ) -> None:
        person = registry.load("actors", "human")(read=read, write=write, title="your help is requested")
        super().__init__(person, name="human", cost=cost)
