"""A stronger model behind a server, as an intervention whose cost can depend on its tokens."""

from __future__ import annotations

import copy
from typing import Any, Self

from selfreg_gym import registry
from selfreg_gym.agents.interventions._passing import PASS, Passing
from selfreg_gym.endpoint.server import IMMATERIAL
from selfreg_gym.types import Actor, Intervention

__all__ = ["EndpointIntervention"]

_NOTE = f'\nYou may also answer "{PASS}": then the agent that you help acts on its own.'


class EndpointIntervention(Intervention):
    """The actor ``endpoint`` (:class:`selfreg_gym.agents.actors.endpoint.EndpointActor`) as an intervention.

    With ``token_prices`` (cost units per 1,000 tokens read and written), a call costs the price of its tokens, and
    ``cost`` is only the expected cost. Without them each call costs ``cost``. An answer from the cache costs as
    much as when it was generated, so that the cost of help does not depend on the cache.

    Args:
        base_url: URL of the API, as for the actor.
        name: its name in ``info``.
        cost: expected cost units of one call.
        may_pass: the model may answer "pass", like a person; then the env's actor acts.
        pass_cost: cost units of a call that is passed, without ``token_prices``.
        **options: options of the actor and its server.
    """

    immaterial = IMMATERIAL

    def __init__(
        self,
        base_url: str | None = None,
        *,
        name: str = "endpoint",
        cost: float = 1.0,
        may_pass: bool = False,
        pass_cost: float = 0.0,
        **options: Any,
    ) -> None:
        model = registry.load("actors", "endpoint")(base_url, **options)
        actor = Passing(model, pass_cost=pass_cost, note=_NOTE) if may_pass else model
        super().__init__(actor, name=name, cost=cost)

    def with_actor(self, actor: Actor) -> Self:
        """The intervention for an env with this actor, which acts where the model passes."""
        if not isinstance(self.actor, Passing):
            return self
        bound = copy.copy(self)
        bound.actor = self.actor.with_actor(actor)
        return bound
