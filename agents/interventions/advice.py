"""Advice: a sentence is placed in the actor's observation for one step, and the actor acts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from selfreg_gym import registry
from selfreg_gym.agents.interventions._calling_actor import CallingActor, CallsActor
from selfreg_gym.agents.interventions._other_state import other_state
from selfreg_gym.errors import InvalidArgumentError, SetupError, shown
from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.intervention_env.building import construct
from selfreg_gym.types import Act, Actor, Decision, as_actor, optional_member
from selfreg_gym.utils.arguments import check_flag

__all__ = ["Advice"]

MAX_UNKNOWN = 0.01
"""Largest share of unknown tokens of the sentences, with which an actor can read them."""

_PLACES = re.compile(r"\{(advice|observation)\}")
_FEWEST = 100  # tokens: the share of fewer tokens is taken of this number, so that a single rare word is accepted
_LONGEST = 500  # characters of a sentence
_STEPS = 8  # largest number of random actions to another state
_REQUEST = "In one short sentence, give the agent advice for its next action."


class _Advised(CallingActor):
    """The env's actor, which reads a sentence of an adviser in its observation."""

    def __init__(self, adviser: Actor, offers: bool, template: str, shuffled: bool) -> None:
        super().__init__()
        self.adviser, self.offers, self.template, self.shuffled = adviser, offers, template, shuffled
        self._read: dict[str, tuple[int, int]] = {}  # sentence -> its unknown tokens and all its tokens

    def with_actor(self, actor: Actor) -> _Advised:
        """The same for an env with this actor."""
        bound = super().with_actor(actor)
        bound._read = {}
        return bound

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """One act per decision, with one call of the adviser and one of the env's actor."""
        if not decisions:
            return []
        actor = self.called
        sentences = self._sentences(decisions)
        advised = [i for i, sentence in enumerate(sentences) if sentence.error is None]
        self._check_readable(actor, [sentences[i].text for i in advised])
        asked = [self._advise(decisions[i], sentences[i].text) for i in advised]
        acts = self.ask_called(asked, [self.memory_of(decisions[i]) for i in advised])
        for i, act in zip(advised, acts, strict=True):
            sentence = sentences[i]
            counted = [one for one in (sentence.tokens, act.tokens) if one is not None]
            tokens = sum(counted) if counted else None
            sentences[i] = replace(act, tokens=tokens, cost=sentence.cost, memory=sentence.memory)
        return sentences

    def _advise(self, decision: Decision, sentence: str) -> Decision:
        placed = {"advice": sentence, "observation": decision.observation}
        text = _PLACES.sub(lambda place: placed[place[1]], self.template)  # one pass: a sentence may have braces
        return decision.derived(0, observation=text)

    def _sentences(self, decisions: Sequence[Decision]) -> list[Act]:
        """The adviser's acts; their texts are the sentences."""
        if self.shuffled:
            answers = []
            for decision in decisions:  # one by one, because the adviser may look at the task in its other state
                with other_state(decision, _STEPS) as other:
                    answers += ask(self.adviser, [self._question(other)])
        else:
            asked = [self._question(decision.derived(1)).remembering(decision.memory) for decision in decisions]
            answers = ask(self.adviser, asked)
        found = []
        for answer in answers:
            act = Act(answer) if isinstance(answer, str) else answer
            text = " ".join(act.text.split())[:_LONGEST]
            error = "the advice is an empty text." if act.error is None and not text else act.error
            found.append(Act("" if error else text, None, act.tokens, act.cost, error, act.memory))
        return found

    def _question(self, decision: Decision) -> Decision:
        """Without the actions, for an adviser that writes sentences: its answer is not an action."""
        return decision if self.offers else decision.derived(0, admissible_actions=None)

    def _check_readable(self, actor: Actor, sentences: Sequence[str]) -> None:
        """Raise if more than 1 % of the tokens of all sentences so far are unknown to the actor."""
        unknown_tokens = optional_member(actor, "unknown_tokens")
        if unknown_tokens is None:
            return
        frame = self.template.replace("{observation}", "")
        for sentence in dict.fromkeys(sentences):
            if sentence not in self._read:
                self._read[sentence] = unknown_tokens([frame.replace("{advice}", sentence)])
        unknown, total = (sum(column) for column in zip(*self._read.values(), strict=True)) if self._read else (0, 0)
        if unknown > MAX_UNKNOWN * max(total, _FEWEST):
            worst = max(self._read, key=lambda one: self._read[one][0])
            raise SetupError(
                f"advice needs an actor that can read it, with at most {MAX_UNKNOWN:.0%} unknown tokens: {unknown} of "
                f"the {total} tokens of the sentences so far are unknown to {type(actor).__name__}, for instance in "
                f"{shown(frame.replace('{advice}', worst).strip())}. Choose another template, adviser or actor."
            )


class Advice(CallsActor):
    """A sentence is placed in the observation of the env's actor for this step, and the actor acts.

    The answer is the actor's own act in all respects: its action, its log-probabilities, and its tokens with those of
    the adviser. An actor can follow the advice only if it was trained to read such texts. The control for this is
    ``shuffled=True``: the same sentences, given in states where they do not belong.

    Args:
        adviser: who advises. ``"expert"``: the task's expert, whose next action is the sentence. Another id of an actor
            (``"endpoint"``, ``"human"``), an actor, or a function of the observation: its answer is the sentence. An
            actor with an argument ``request`` is asked for a sentence of advice.
        adviser_kwargs: arguments of an adviser that is given by its id.
        template: how the actor reads the sentence, a text with ``{observation}`` and ``{advice}``.
        shuffled: give the advice for a state of another task instead, which is drawn from the stream of the decision
            and reached by up to 8 random actions.
        name: its name in ``info``.
        cost: cost units of one call. A cost that the adviser reports is charged instead.

    Raises:
        InvalidArgumentError: an invalid template, or arguments for an adviser that is not given by its id.
        SetupError: (at a call) more than 1 % of the tokens are unknown to the actor. It is measured for actors with
            ``unknown_tokens`` (:class:`selfreg_gym.optional_members.OptionalActorMembers`).
    """

    def __init__(
        self,
        adviser: Actor | Callable[[str], str] | str = "expert",
        *,
        adviser_kwargs: dict[str, Any] | None = None,
        template: str = "Help: {advice}\n{observation}",
        shuffled: bool = False,
        name: str = "advice",
        cost: float = 1.0,
    ) -> None:
        if not isinstance(template, str) or template.count("{observation}") != 1 or template.count("{advice}") != 1:
            raise InvalidArgumentError(
                f"template must have {{observation}} and {{advice}} once each, received {shown(template)}."
            )
        shuffled = check_flag("shuffled", shuffled)
        if not isinstance(adviser, str) and adviser_kwargs:
            raise InvalidArgumentError(f"adviser_kwargs needs an adviser given by its id, received {shown(adviser)}.")
        self.privileged = adviser == "expert"
        if not isinstance(adviser, str):
            source = as_actor(adviser)
        elif adviser == "expert":
            source = construct("interventions", adviser, adviser_kwargs).actor
        else:
            given = dict(adviser_kwargs or {})
            if "request" in inspect.signature(registry.load("actors", adviser)).parameters:
                given.setdefault("request", _REQUEST)
            source = construct("actors", adviser, given)
        super().__init__(_Advised(source, adviser == "expert", template, shuffled), name=name, cost=cost)
