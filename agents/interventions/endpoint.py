"""A stronger model behind a server, as an intervention whose cost can depend on its tokens."""

from __future__ import annotations

from typing import Any

from selfreg_gym import registry
from selfreg_gym.endpoint.server import IMMATERIAL
from selfreg_gym.types import Intervention

__all__ = ["EndpointIntervention"]


class EndpointIntervention(Intervention):
    """The actor ``endpoint`` (:class:`selfreg_gym.agents.actors.endpoint.EndpointActor`) as an intervention.

    With ``token_prices`` (cost units per 1,000 tokens read and written), a call costs the price of its tokens, and
    ``cost`` is only the expected cost. Without them each call costs ``cost``. An answer from the cache costs as
    much as when it was generated, so that the cost of help does not depend on the cache.

    Args:
        base_url: URL of the API, as for the actor.
        name: its name in ``info``.
        cost: expected cost units of one call.
        **options: options of the actor and its server.
    """

    immaterial = IMMATERIAL

    def __init__(
        self, base_url: str | None = None, *, name: str = "endpoint", cost: float = 1.0, **options: Any
    ) -> None:
        super().__init__(registry.load("actors", "endpoint")(base_url, **options), name=name, cost=cost)
