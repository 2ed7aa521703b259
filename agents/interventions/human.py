"""A person at the terminal, as an intervention."""

from __future__ import annotations

from collections.abc import Callable

from selfreg_gym import registry
from selfreg_gym.agents.interventions._calling_actor import CallsActor
from selfreg_gym.agents.interventions._passing import PASS, Passing

__all__ = ["Human"]


class Human(CallsActor):
    """The actor ``human`` (:mod:`selfreg_gym.agents.actors.human`) as an intervention.

    The person may answer "pass": the env's actor acts instead, and the call costs ``pass_cost``. An answer that does
    not come in time counts as "pass". A call that is passed counts as a call.

    Args:
        read: shows a prompt and returns the input; the terminal by default.
        write: shows text.
        timeout_s: seconds for an answer; None: no limit.
        name: its name in ``info``.
        cost: cost units of one call.
        pass_cost: cost units of a call that is passed.
    """

    def __init__(
        self,
        *,
        read: Callable[[str], str] | None = None,
        write: Callable[[str], None] = print,
        timeout_s: float | None = None,
        name: str = "human",
        cost: float = 1.0,
        pass_cost: float = 0.0,
    ) -> None:
        person = registry.load("actors", "human")(
            read=read, write=write, title="your help is requested", timeout_s=timeout_s, when_late=PASS
        )
        super().__init__(Passing(person, pass_cost=pass_cost), name=name, cost=cost)
