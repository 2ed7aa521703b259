"""Deep averagers: help where the most similar stored decisions gained from help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from selfreg_gym.agents.helpers._students import curve_of
from selfreg_gym.agents.helpers._values import ValuesHelper
from selfreg_gym.averagers import HiddenLayers, LearnedValues, fit_averagers, solve_averagers
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted import FittedFrontier
from selfreg_gym.fitted.solve import logged_decisions
from selfreg_gym.inputs import DecisionTable, InputEncoder, action_kinds_of
from selfreg_gym.store.source import checked_source
from selfreg_gym.utils.arguments import check_name

__all__ = ["Averagers"]

_REPRESENTATIONS: dict[str, type[HiddenLayers | LearnedValues]] = {"values": LearnedValues, "hidden": HiddenLayers}


class Averagers(ValuesHelper):
    """Follows the exact solution of a model over the collected decisions (:mod:`selfreg_gym.averagers`).

    Make one with :meth:`train`. A run makes and compares it if ``evaluate.helpers`` names it.
    """

    label, marker, colour = "deep averagers", "p", "teal"
    minor = True

    @classmethod
    def train(
        cls,
        rollouts: Any,
        teacher: FittedFrontier | None = None,
        *,
        costs: Sequence[float],
        representation: str = "values",
        inputs: Sequence[str] | InputEncoder = (),
        neighbours: Sequence[int] = (15, 40),
        seed: int = 0,
        progress: bool = True,
        **options: Any,
    ) -> Self:
        """Find the neighbours of every decision, and solve the model.

        Args:
            rollouts: a ``Rollouts`` store, or episodes.
            teacher: the result of :func:`selfreg_gym.solve_fitted`, whose networks give the representation; None: the
                representation is the ``inputs`` themselves.
            costs: ``(K,)`` cost units of a call of each intervention.
            representation: ``"values"``: the teacher's values of all actions at all prices; ``"hidden"``: the last
                hidden layers of its networks.
            inputs: without a teacher: names of inputs, or a fitted encoder.
            neighbours: numbers of neighbours; the one with the largest held-out value is chosen.
            seed: seed of the folds and of the order of decisions at equal distance.
            progress: show progress bars.
            **options: further arguments of :func:`selfreg_gym.averagers.fit_averagers`.

        Raises:
            UnknownNameError: an unknown representation or input.
            InvalidArgumentError: both or neither of ``teacher`` and ``inputs``, or a teacher without an encoder.
        """
        check_name("representation", representation, _REPRESENTATIONS)
        has_inputs = isinstance(inputs, InputEncoder) or bool(inputs)
        if (teacher is None) != has_inputs:
            raise InvalidArgumentError("deep averagers need a teacher, or names of inputs, and not both.")
        rollouts = checked_source(rollouts)
        table = DecisionTable.from_rollouts(rollouts)
        learned: HiddenLayers | LearnedValues | None = None
        if teacher is None:
            encoder = inputs if isinstance(inputs, InputEncoder) else _fit_encoder(table, inputs, rollouts)
            x = encoder.encode(table)
        elif teacher.encoder is None:
            raise InvalidArgumentError("deep averagers need a teacher with an encoder: use solve_fitted(rollouts).")
        else:
            encoder = teacher.encoder
            learned = _REPRESENTATIONS[representation](teacher)
            rows = encoder.encode(table)
            x = np.concatenate([learned(rows[i : i + 8192]) for i in range(0, len(rows), 8192)])
        decisions = logged_decisions(rollouts, x)
        model = fit_averagers(decisions, neighbours=max(neighbours), seed=seed, progress=progress, **options)
        frontier = solve_averagers(model, neighbours=neighbours, progress=progress).with_inputs(learned, encoder)
        info = {
            "inputs": list(encoder.names), "representation": representation if teacher else "inputs",
            "neighbours": frontier.neighbours, "decisions": len(decisions), "episodes": decisions.episodes,
        }  # fmt: skip
        return cls(frontier, costs=costs, curve=curve_of(frontier, costs), info=info)


def _fit_encoder(table: DecisionTable, names: Sequence[str], rollouts: Any) -> InputEncoder:
    """Fit the encoder of the inputs with these names."""
    return InputEncoder.fit(table, names, action_kinds=action_kinds_of(rollouts))
