"""A stronger model behind a server, who is asked for help; what a call costs can be counted in its tokens."""

from __future__ import annotations

from typing import Any

from selfreg_gym import registry
from selfreg_gym.endpoint.server import IMMATERIAL
from selfreg_gym.types import Intervention

__all__ = ["EndpointIntervention"]


class EndpointIntervention(Intervention):
    """The actor ``endpoint`` (:class:`selfreg_gym.agents.actors.endpoint.EndpointActor`) as an intervention.

    With ``prompt_price`` or ``completion_price`` (cost units of 1,000 tokens) a call costs what its tokens cost, and
    ``cost`` is only what is expected of one; without them each call costs ``cost``. An answer from the cache costs what
    it cost when it was given: what help costs does not depend on what a file remembers.

    Args:
        base_url: as for the actor.
        name: how it is called in ``info``.
        cost: expected cost units of one call.
        **options: of the actor, and of its server.
    """

    immaterial = IMMATERIAL

    def __init__(
        self, base_url: str | None = None, *, name: str = "endpoint", cost: float = 1.0, **options: Any
    ) -> None:
        super().__init__(registry.load("actors", "endpoint")(base_url, **options), name=name, cost=cost)
