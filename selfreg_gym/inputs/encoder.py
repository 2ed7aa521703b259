"""``InputEncoder``: named inputs of decisions as one array of numbers, saved with all that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.inputs.blocks import Block
from selfreg_gym.inputs.counts import Calls, StepsLeft
from selfreg_gym.inputs.embedding import Embedding
from selfreg_gym.inputs.keys import Features, StateKeys
from selfreg_gym.inputs.signals import ActorSignals
from selfreg_gym.inputs.success_probability import SuccessProbability
from selfreg_gym.inputs.table import DecisionTable
from selfreg_gym.types import Act
from selfreg_gym.utils.arguments import check_name
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.model_record import INFO, ModelRecord, Rule, integer, reading_arrays

__all__ = ["INPUTS", "TASK_INPUTS", "InputEncoder"]

_PLAIN = {one.name: one for one in (Features, StepsLeft, Calls, ActorSignals, StateKeys)}
_MODELS = {one.name: one for one in (Embedding, SuccessProbability)}

INPUTS = (*_PLAIN, *_MODELS)
"""The names of the inputs."""

TASK_INPUTS = (StateKeys.name,)
"""The inputs that name the task; on new tasks they are zero."""

_RECORD = ModelRecord(
    "an input encoder",
    "inputs.json",
    "selfreg-inputs-1",
    {
        "names": Rule(
            "different names of inputs",
            lambda names, _: isinstance(names, list) and bool(names) and len(set(names)) == len(names),
        ),
        "interventions": integer(0),
        "constants": INFO,
    },
)
_ARRAYS = "inputs.safetensors"


class InputEncoder:
    """Maps decisions to float32 arrays; made by :meth:`fit`.

    =================  =============================================================================================
    input              columns
    =================  =============================================================================================
    ``features``       one-hot ``feature_key``; the standardised ``feature_vector`` where the task has one
    ``steps_left``     one-hot, and the number divided by the largest one in fitting
    ``calls_so_far``   for each intervention, one-hot and scaled number of its calls in the episode
    ``actor``          the actor's distribution: largest probability, margin, entropy, mass of each kind of action
    ``embedding``      hidden states of a frozen language model at the end of the actor's prompt
    ``prm``            p(s) of a process reward model, and its logit
    ``state``          one-hot ``state_key``, which names the task: for teachers and oracles, not for new tasks
    =================  =============================================================================================

    The 2,048 most frequent keys have a column. Any other key, or one that did not occur in fitting, is coded by zeros.

    Attributes:
        names: the inputs, in the order of the columns.
        interventions: K of the table that it was fitted to.
    """

    def __init__(self, blocks: Sequence[Block], *, interventions: int) -> None:
        self._blocks = tuple(blocks)
        self.names = tuple(block.name for block in self._blocks)
        self.interventions = interventions

    @classmethod
    def fit(
        cls,
        table: DecisionTable,
        names: Sequence[str],
        *,
        backbone: str | Path | None = None,
        prm: Any = None,
        action_kinds: Sequence[str] = (),
        progress: bool = False,
    ) -> InputEncoder:
        """Find the constants of the inputs: the keys that occur, largest numbers, means and standard deviations.

        Args:
            table: the decisions.
            names: inputs, each once.
            backbone: for ``embedding``, the checkpoint folder of a causal LM or a process reward model.
            prm: for ``prm``, a process reward model or its folder.
            action_kinds: for ``actor``, prefixes of action texts (``action_kinds`` of the task).
            progress: show a progress bar while texts are embedded.

        Raises:
            UnknownNameError: an unknown input.
            InvalidArgumentError: no names or the same name twice; an input that the table lacks; a missing argument.
        """
        names = check_names(names)
        if not len(table):
            raise InvalidArgumentError("inputs are fitted to at least one decision, received none.")
        blocks: list[Block] = []
        for name in names:
            if name == Embedding.name:
                if backbone is None:
                    raise InvalidArgumentError(
                        "the input 'embedding' needs backbone, the checkpoint of a language model; received None."
                    )
                blocks.append(Embedding.fit(table, backbone, progress=progress))
            elif name == SuccessProbability.name:
                blocks.append(SuccessProbability.fit(table, prm))
            elif name == ActorSignals.name:
                blocks.append(ActorSignals.fit(table, action_kinds))
            else:
                plain: Any = _PLAIN[name]
                blocks.append(plain.fit(table))
        return cls(blocks, interventions=table.interventions)

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(block.width for block in self._blocks)

    @property
    def blocks(self) -> dict[str, slice]:
        """The columns of each input."""
        ends = np.cumsum([0, *(block.width for block in self._blocks)]).tolist()
        return {name: slice(*pair) for name, pair in zip(self.names, pairwise(ends), strict=True)}

    @property
    def needs_actor(self) -> bool:
        """Whether :meth:`observe` needs the act that the actor would take at each decision."""
        return ActorSignals.name in self.names

    def encode(self, table: DecisionTable, *, progress: bool = False) -> np.ndarray:
        """The columns of the decisions of a table, float32 ``(n, width)``; ``progress`` shows a bar for the embedding.

        Raises:
            InvalidArgumentError: the table lacks an input.
        """
        found = np.zeros((len(table), self.width), np.float32)
        for block, columns in zip(self._blocks, self.blocks.values(), strict=True):
            options = {"progress": progress} if isinstance(block, Embedding) else {}
            found[:, columns] = block.encode(table, **options)
        return found

    def observe(
        self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]], acts: Sequence[Any] | None = None
    ) -> np.ndarray:
        """The columns of decisions in episodes that are being played, float32 ``(n, width)``.

        Args:
            texts: n observations of an intervention env.
            infos: the infos of the same steps.
            acts: the acts that the actor would take now (None where the episode is over), if :attr:`needs_actor`.

        Raises:
            InvalidArgumentError: an act has no log-probabilities.
        """
        if self.needs_actor and acts is not None:
            for act in acts:
                silent = isinstance(act, str) or (isinstance(act, Act) and act.error is None and act.logprobs is None)
                if silent:
                    raise InvalidArgumentError(
                        "the input 'actor' needs an actor that gives log-probabilities (Act.logprobs), and this one "
                        "gave none: use another actor, or inputs without 'actor'."
                    )
        if not len(texts):
            return np.zeros((0, self.width), np.float32)
        return self.encode(DecisionTable.from_infos(texts, infos, acts))

    def subset(self, names: Sequence[str]) -> InputEncoder:
        """The encoder of some of the inputs, in this order, with the same constants and models.

        Raises:
            UnknownNameError: an input that this encoder does not have.
        """
        for name in names:
            check_name("input of this encoder", name, self.names)
        return InputEncoder(
            [self._blocks[self.names.index(name)] for name in check_names(names)], interventions=self.interventions
        )

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Indices of the columns of ``subset(names)`` among those of this encoder."""
        own, places = self.blocks, np.arange(self.width)
        return np.concatenate([places[own[name]] for name in self.subset(names).names])

    def save(self, folder: str | Path) -> None:
        """Write ``inputs.safetensors``, copies of the models and, last, ``inputs.json``, which marks it as complete."""
        from safetensors.numpy import save_file

        place = _RECORD.begin(folder)
        arrays = {
            f"{block.name}/{name}": np.ascontiguousarray(array)
            for block in self._blocks
            for name, array in block.arrays().items()
        }
        with atomic_path(place / _ARRAYS) as temporary:
            save_file(arrays, temporary)
        for block in self._blocks:
            if isinstance(block, Embedding | SuccessProbability):
                block.save_model(place)
        constants = {block.name: block.record() for block in self._blocks}
        _RECORD.write(place, names=list(self.names), interventions=self.interventions, constants=constants)

    @classmethod
    def load(cls, folder: str | Path) -> InputEncoder:
        """Load what :meth:`save` wrote.

        Raises:
            CheckpointError: the folder has no complete encoder, another format, or damaged files.
        """
        from safetensors.numpy import load_file

        place = Path(folder)
        _, fields = _RECORD.read(place)
        remedy = "copy the directory again, or fit it again"
        with reading_arrays("the input encoder", place / _ARRAYS, remedy=remedy):
            arrays = load_file(place / _ARRAYS)
            if not all(np.isfinite(array).all() for array in arrays.values()):
                raise ValueError("its constants must be finite numbers, and some are NaN or infinite")
            blocks: list[Block] = []
            for name in fields["names"]:
                own = {key.partition("/")[2]: array for key, array in arrays.items() if key.partition("/")[0] == name}
                if name in _MODELS:
                    blocks.append(_MODELS[name].restored(place, own))
                else:
                    blocks.append(_PLAIN[name].restored(fields["constants"][name], own))
        return cls(blocks, interventions=fields["interventions"])

    def __deepcopy__(self, memo: dict[int, Any]) -> InputEncoder:
        return self  # Gymnasium copies env specs deeply, and a model must not be copied

    def __repr__(self) -> str:
        return f"InputEncoder({', '.join(self.names)}; width {self.width})"


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of inputs, each once.

    Raises:
        UnknownNameError: an unknown input.
        InvalidArgumentError: a text, no names, or the same name twice.
    """
    if isinstance(names, str) or not len(names) or len(set(names)) < len(names):
        raise InvalidArgumentError(
            f"inputs must be a sequence of different names such as ('features', 'steps_left'), received {shown(names)}."
        )
    for name in names:
        check_name("input", name, INPUTS)
    return tuple(names)
