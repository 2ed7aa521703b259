"""`ValuesHelper`: the base class of helpers whose gains are functions of encoded inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._always import ALWAYS, always_asked
from selfreg_gym.agents.helpers._arguments import checked_costs, checked_seed
from selfreg_gym.agents.helpers._capped import CappedState
from selfreg_gym.agents.helpers._gains import GainHelper, Gains
from selfreg_gym.averagers import AveragerFrontier
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, shown
from selfreg_gym.fitted import FittedFrontier
from selfreg_gym.fitted.priced import PricedFrontier
from selfreg_gym.fitted.student import Student
from selfreg_gym.inputs import InputEncoder
from selfreg_gym.intervention_env.building import check_budget
from selfreg_gym.lm.model_card import Figure, write_card
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.model_record import INFO, ModelRecord, Rule

__all__ = ["ValuesHelper"]

_KINDS = {"frontier": FittedFrontier, "student": Student, "averagers": AveragerFrontier}
_RECORD = ModelRecord(
    "a helper with fitted values",
    "helper.json",
    "selfreg-values-helper-3",
    {
        "cap": Rule("null or a positive integer", lambda cap, _: cap is None or (type(cap) is int and cap > 0)),
        "values": Rule(f"one of {', '.join(_KINDS)}", lambda kind, _: kind in _KINDS),
        "costs": Rule(
            "positive numbers",
            lambda costs, _: isinstance(costs, list) and bool(costs) and all(is_number(c) and c > 0 for c in costs),
        ),
        "curve": Rule(
            "a list of triples (position, usage, success)",  # or of pairs, in older versions
            lambda curve, _: (
                isinstance(curve, list)
                and len({len(one) for one in curve if isinstance(one, list)}) <= 1
                and all(isinstance(one, list) and len(one) in (2, 3) and all(map(is_number, one)) for one in curve)
            ),
        ),
        "always": ALWAYS,
        "position": Rule("a number", lambda position, _: is_number(position)),
        "info": INFO,
    },
    older={"selfreg-values-helper-2": {"always": None}, "selfreg-values-helper-1": {"cap": None, "always": None}},
)
_DECIMALS = 5  # of the gains, because the last digits of float32 sums depend on the batch


class ValuesHelper(GainHelper):
    """Asks for help by the gains of fitted values, of deep averagers, or of a student.

    Args:
        values: a :class:`FittedFrontier`, an :class:`AveragerFrontier` or a :class:`Student`, with an ``encoder``.
        costs: ``(K,)`` cost units of a call of each intervention.
        curve: triples (position, expected usage, expected success) on the tasks of the rollouts, from the position 0
            (never), over 1 (the largest price) and P (the smallest), to P + 1 (always), and between them; or P + 2
            pairs (usage, success), at the integer positions. None if they are not known.
        position, seed: see :class:`GainHelper`.
        cap: the largest number of calls of an episode, for values that were fitted with ``cap=``; None: the largest cap
            of these. The helper counts its calls, and never asks when none is left.
        always: the intervention, from 1 to K, that is asked at the position P + 1; None: for a frontier the one of
            :func:`selfreg_gym.agents.helpers._always.always_asked`, for a student the most expensive.
        info: facts about its training, for the model card.

    Raises:
        InvalidArgumentError: values without an encoder, or a cap that they were not fitted for.
    """

    takes_budget = True
    learns = "gains"
    of_values = True

    def __init__(
        self,
        values: FittedFrontier | AveragerFrontier | Student,
        *,
        costs: Sequence[float],
        curve: Sequence[Sequence[float]] | None = None,
        position: float | None = None,
        seed: int = 0,
        cap: int | None = None,
        always: int | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__([float(price) for price in values.prices], costs, position=position, seed=seed, always=always)
        if values.encoder is None:
            raise InvalidArgumentError(
                f"{self.type_name} needs values with an encoder of the observations, and these were fitted to arrays: "
                "use solve_fitted(rollouts), or pass encoder= to Student.train."
            )
        if not isinstance(values, PricedFrontier) and cap is not None:
            raise InvalidArgumentError(f"a student has no hard cap, received cap={cap}: wrap the env in HelpBudget.")
        self.cap = values.checked_cap(cap) if isinstance(values, PricedFrontier) else None
        checked_costs(costs, values.interventions if isinstance(values, Student) else values.actions - 1)
        if always is None and isinstance(values, PricedFrontier):
            self.always = always_asked(values, self.costs, self.cap)
        self.values = values
        self.encoder: InputEncoder = values.encoder
        self.curve = None if curve is None else _checked_curve(curve, len(self.prices))
        self.info: dict[str, Any] = dict(info or {})

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether the run contains this helper."""
        return (Path(run) / "values" / cls.folder_name() / _RECORD.file).is_file()

    @classmethod
    def folder_name(cls) -> str:
        """The name of its folder in ``values/`` of a run: the id under which it is registered."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Self:
        """The helper of a run, at the position where its expected usage is the budget; calibration corrects it."""
        helper = cls.from_pretrained(Path(run) / "values" / cls.folder_name())._replaced(seed=checked_seed(seed))
        return helper if budget is None else helper.with_budget(budget)

    def for_budgets(self, budgets: Sequence[float]) -> dict[float, Self]:
        """The helper at several budgets; all of them use the same values."""
        return {budget: self.with_budget(budget) for budget in budgets}

    def with_budget(self, budget: float) -> Self:
        """The helper at the position where its expected usage is ``budget`` (cost units per episode).

        Without a curve the position is unchanged.
        """
        budget = check_budget(budget)
        if self.curve is None:
            return self
        usage = np.maximum.accumulate(self.curve[:, 1])
        return self.with_knob(float(np.interp(budget, usage, self.curve[:, 0])))

    @property
    def expected_usage(self) -> float | None:
        """Expected usage on the tasks of the rollouts, interpolated on the curve; None if it is not known."""
        return self._at(1)

    @property
    def expected_success(self) -> float | None:
        """Expected success on the tasks of the rollouts, interpolated on the curve; None if it is not known."""
        return self._at(2)

    def _at(self, column: int) -> float | None:
        if self.curve is None:
            return None
        return float(np.interp(self.position, self.curve[:, 0], self.curve[:, column]))

    def wrap(self, env: Any) -> Any:
        """The env that shows the inputs of the encoder, float32 ``(N, D)``."""
        from selfreg_gym.wrappers import EncodedObservation

        return EncodedObservation(env, self.encoder)

    def gains(self, observations: Any) -> Gains:
        """dS and dM at N rows of inputs ``(N, D)``, each ``(N, P, K)``; under a hard cap with the calls left.

        Raises:
            InvalidArgumentError: the observations are text, or have another shape.
        """
        success, usage = self.values.gains(self._checked_inputs(observations))
        return self.rounded(success, usage, _DECIMALS)

    def _checked_inputs(self, observations: Any) -> NDArray[np.floating[Any]]:
        """Observations as an array ``(N, D)``."""
        x = np.asarray(observations)
        if x.dtype.kind != "f" or x.ndim != 2:
            raise InvalidArgumentError(
                f"{self.type_name} reads the inputs of its encoder, not text: use it on wrap(env). Received an array "
                f"of shape {x.shape} and type {x.dtype}."
            )
        return x

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> Any:
        """Set the coins of the episodes that begin, and under a hard cap their calls to 0."""
        if self.cap is None:
            return super().begin_episodes(state, starts, keys)
        known = CappedState.at(state, starts)
        return CappedState(super().begin_episodes(known.draws, starts, keys), known.calls)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Take the action with the largest gain at the position; nohelp if no call is left."""
        if self.cap is None:
            return super().decide(observations, state, start)
        known = CappedState.at(state, start)
        left = self.cap - known.calls
        x = cast("PricedFrontier", self.values).with_calls_left(self._checked_inputs(observations), left)
        actions, draws = super().decide(x, known.draws, start)
        actions = np.where(left > 0, actions, 0)
        return actions, CappedState(draws, known.calls + (actions > 0))

    def batch_size(self, observation: Any, episode_start: Any) -> int | None:
        """N for observations ``(N, D)``; None for a single observation ``(D,)``."""
        return None if np.ndim(observation) < 2 else len(observation)

    def save_pretrained(self, path: str | Path) -> None:
        """Write the values with their encoder, a model card and, last, ``helper.json``, which marks it as complete."""
        folder = _RECORD.begin(path)
        kind = next(name for name, kind in _KINDS.items() if isinstance(self.values, kind))
        self.values.save(folder / "values")
        self._write_card(folder)
        curve = [] if self.curve is None else self.curve.tolist()
        _RECORD.write(
            folder,
            values=kind,
            costs=list(self.costs),
            curve=curve,
            position=self.position,
            cap=self.cap,
            always=self.always,
            info=self.info,
        )

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Load what :meth:`save_pretrained` wrote.

        Raises:
            CheckpointError: the folder has no complete helper, another format, or damaged files.
        """
        _, fields = _RECORD.read(path)
        kind: Any = _KINDS[fields["values"]]
        values = kind.load(Path(path) / "values")
        try:
            return cls(
                values,
                costs=fields["costs"],
                curve=fields["curve"] or None,
                position=fields["position"],
                cap=fields["cap"],
                always=fields["always"] or 1 + int(np.argmax(fields["costs"])),  # earlier versions: most expensive
                info=fields["info"],
            )
        except InvalidArgumentError as error:
            raise CheckpointError(f"{str(path)!r} holds parts of different helpers: {error} Train it again.") from error

    def _write_card(self, folder: Path) -> None:
        figures = []
        if explained := self.info.get("r2"):
            mean = sum(explained) / len(explained)
            figures.append(Figure("explained variance", mean, "gains of the teacher on held-out tasks"))
        inputs = ", ".join(self.encoder.names)
        write_card(
            folder,
            title=f"Helper on fitted values: {inputs}",
            what=f"Decides whether to ask for help from these inputs: {inputs}. The gains of help in success and "
            f"usage at {len(self.prices)} prices are functions of the inputs; the knob is the position on the axis of "
            f"prices, and one helper serves every budget. Costs per call: {', '.join(map(str, self.costs))}. "
            "Its results in episodes are in the evaluation.json of its run.",
            tags=("helper",),
            info=self.info,
            usage=f"from {type(self).__module__} import {type(self).__name__}\n\n"
            f'helper = {type(self).__name__}.from_pretrained("PATH").with_budget(1.0)\nenv = helper.wrap(env)',
            figures=figures,
        )


def _checked_curve(curve: Sequence[Sequence[float]], prices: int) -> np.ndarray:
    """``(m, 3)`` position, usage and success.

    Raises:
        InvalidArgumentError: other shapes, or positions that do not rise from 0 to P + 1.
    """
    rule = (
        f"curve must have triples (position, usage, success) whose positions rise from 0 to P + 1 = {prices + 1}, or "
        f"P + 2 = {prices + 2} pairs (usage, success)"
    )
    try:
        found = np.asarray(curve, np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{rule}, received {shown(curve)}.") from None
    if found.ndim == 2 and found.shape == (prices + 2, 2):
        found = np.column_stack([np.arange(prices + 2.0), found])
    ordered = found.ndim == 2 and found.shape[1] == 3 and len(found) > 1 and bool((np.diff(found[:, 0]) > 0).all())
    if not ordered or found[0, 0] != 0 or found[-1, 0] != prices + 1 or not np.isfinite(found).all():
        raise InvalidArgumentError(f"{rule}, received shape {found.shape}: {shown(found.tolist())}.")
    return found
