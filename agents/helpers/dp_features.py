"""The optimal policy of a model over feature keys and steps left: a table that can be used on new tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfreg_gym.agents.helpers.dp import DP
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helper import Role
from selfreg_gym.solver import Frontier, MixedPolicy

__all__ = ["DPFeatures"]


class DPFeatures(DP):
    """Follow a solved policy by feature key and steps left; with an unknown feature key, choose nohelp.

    A feature key does not name the task, so this helper is not privileged: it can be used on new tasks, is calibrated
    on them, and is compared with helpers that read text. Its model has time in the keys (``time_buckets``), because
    features hide part of the state, and steps left are informative about this part.

    Args:
        policy: a :class:`MixedPolicy`, or a :class:`Frontier` to take one from, of a model fitted with
            ``key="feature"``.
        budget: C, the point of a ``Frontier``; None is the end of the curve.
        seed: seed of the draws of a mixture.

    Raises:
        InvalidArgumentError: the model has other keys.
    """

    role: Role = "deployable"
    label, marker, colour = "DP over features", "d", "orange"
    knows_tasks = False
    follows_policy = False
    folder = "features"

    def __init__(self, policy: MixedPolicy | Frontier, *, budget: float | None = None, seed: int = 0) -> None:
        super().__init__(policy, budget=budget, seed=seed)
        fitted = self.policy.model.fitted
        key = None if fitted is None else fitted.settings["key"]
        if key != "feature":
            raise InvalidArgumentError(
                "dp-features needs a model over feature keys, TransitionModel.fit(..., key='feature'): received one "
                f"{'from arrays' if key is None else f'with key={key!r}'}."
            )

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether the run has a solved model over feature keys; the task must have such keys."""
        return (Path(run) / cls.folder / "solution.npz").is_file()

    def wrap(self, env: Any) -> Any:
        """The env that shows feature key and steps left, one per line."""
        from selfreg_gym.wrappers import StateKeyObservation

        return StateKeyObservation(env, parts=("feature_key", "steps_left"))

    def _find(self, text: str) -> int:
        return super()._find(f"\n{text}")
