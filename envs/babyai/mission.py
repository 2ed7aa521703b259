"""The mission of a level: its instructions, and which of them are done.

A mission is one instruction or a sequence of up to four: "a, then b", "b after you a", "a and b".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minigrid.envs.babyai.core.verifier import (
    AfterInstr,
    GoToInstr,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
    SeqInstr,
)

__all__ = ["KINDS", "Instruction", "Mission"]

KINDS = ("go to", "open", "pick up", "put next to")
"""The kinds of instructions."""
_KIND_OF: dict[Any, str] = {GoToInstr: "go to", OpenInstr: "open", PickupInstr: "pick up", PutNextInstr: "put next to"}


@dataclass(frozen=True, slots=True, eq=False)
class Instruction:
    """One instruction of a mission.

    Attributes:
        verifier: the object of ``minigrid`` that checks it.
        kind: one of :data:`KINDS`.
        text: its words in the mission.
        target: description of the object: ``minigrid``'s ``ObjDesc`` with ``type``, ``color`` and ``loc``.
        place: for "put next to", the description of the other object; otherwise None.
    """

    verifier: Any
    kind: str
    text: str
    target: Any
    place: Any


class Mission:
    """The instructions of a level that was reset.

    Args:
        level: the level. Its instructions are described once more, which does not change the state.
    """

    def __init__(self, level: Any) -> None:
        self._root = level.instrs
        self.text: str = level.mission
        self.instructions: tuple[Instruction, ...] = tuple(_instruction(leaf, level) for leaf in _leaves(self._root))
        self._by_verifier = {id(one.verifier): one for one in self.instructions}
        self.sequences: tuple[Any, ...] = tuple(_sequences(self._root))
        self.relative = any(
            desc is not None and desc.loc is not None for one in self.instructions for desc in (one.target, one.place)
        )
        """Whether a description has a direction, which is that from the agent's start."""

    def remaining(self) -> list[Instruction]:
        """The instructions that are not done, in an order in which they can be carried out."""
        return [self._by_verifier[id(leaf)] for leaf in remaining(self._root)]


def remaining(instruction: Any) -> list[Any]:
    """The verifiers of single instructions that are not done, in an order in which they can be carried out."""
    if not isinstance(instruction, SeqInstr):
        return [instruction]
    both: Any = instruction
    parts = [(both.instr_a, both.a_done), (both.instr_b, both.b_done)]
    if isinstance(instruction, AfterInstr):
        parts.reverse()
    return [leaf for part, done in parts if done != "success" for leaf in remaining(part)]


def _leaves(instruction: Any) -> list[Any]:
    if isinstance(instruction, SeqInstr):
        return [*_leaves(instruction.instr_a), *_leaves(instruction.instr_b)]
    return [instruction]


def _sequences(instruction: Any) -> list[Any]:
    if not isinstance(instruction, SeqInstr):
        return []
    return [instruction, *_sequences(instruction.instr_a), *_sequences(instruction.instr_b)]


def _instruction(verifier: Any, level: Any) -> Instruction:
    kind = _KIND_OF[type(verifier)]
    both = kind == "put next to"
    return Instruction(
        verifier,
        kind,
        verifier.surface(level),
        verifier.desc_move if both else verifier.desc,
        verifier.desc_fixed if both else None,
    )
