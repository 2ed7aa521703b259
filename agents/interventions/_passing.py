"""Help that may be declined: who is asked can answer "pass", and the env's actor acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from selfreg_gym.agents.interventions._calling_actor import CallingActor
from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.types import Act, Actor, Decision
from selfreg_gym.utils.arguments import check_number

__all__ = ["PASS", "Passing"]

PASS = "pass"


class Passing(CallingActor):
    """An actor that asks another one, which may answer "pass": then the env's actor acts.

    "pass" is the last one of the admissible actions that the other actor receives; where any text is admissible, it is
    recognised without regard to case. A task with an admissible action "pass" cannot be passed.

    Args:
        asked: the actor that is asked.
        pass_cost: cost units of a call that is passed. A cost that the answer reports is charged in any case.
        note: a text that is appended to the observation, for an actor that does not see the list of actions.
    """

    def __init__(self, asked: Actor, *, pass_cost: float = 0.0, note: str = "") -> None:
        super().__init__()
        self.asked, self.note = asked, note
        self.pass_cost = check_number("pass_cost (cost units per call)", pass_cost)

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """One act per decision, with one call of the asked actor and at most one of the env's actor."""
        if not decisions:
            return []
        answers = ask(self.asked, [self._offered(decision) for decision in decisions])
        acts = [Act(answer) if isinstance(answer, str) else answer for answer in answers]
        passed = [i for i, act in enumerate(acts) if act.error is None and _is_pass(act.text, decisions[i])]
        instead = self.ask_called([decisions[i] for i in passed], [self.memory_of(decisions[i]) for i in passed])
        given = [replace(act, logprobs=None) for act in acts]  # they are also those of "pass"
        for i, own in zip(passed, instead, strict=True):
            first = acts[i]
            given[i] = replace(
                own,
                tokens=None if first.tokens is None and own.tokens is None else (first.tokens or 0) + (own.tokens or 0),
                cost=self.pass_cost if first.cost is None else first.cost,
                memory=first.memory,
            )
        return given

    def _offered(self, decision: Decision) -> Decision:
        actions = decision.admissible_actions
        if actions is not None and PASS not in actions:
            actions = (*actions, PASS)
        offered = decision.derived(0, observation=decision.observation + self.note, admissible_actions=actions)
        return offered.remembering(decision.memory)


def _is_pass(text: str, decision: Decision) -> bool:
    return text.strip().casefold() == PASS and PASS not in (decision.admissible_actions or ())
