"""How a server's answers become actions: four ways, the best one that the server can do.

``echo``: log-probabilities of every admissible action, drawn from here, as the local ``lm`` actor does.
``structured``: the server is told to write one of the admissible actions.
``systemone``: a typed question of ``/v1/systemone`` gives a probability for each, drawn from here.
``text``: it writes freely, and an action is read out of that; an inadmissible one stays inadmissible.

A response without an answer (no text, an abort, a filter) is an act with an error in all four, never an invalid action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.endpoint.answers import Answer, no_answer, token_limit
from selfreg_gym.endpoint.cache import request_key
from selfreg_gym.endpoint.connection import CHAT, COMPLETIONS, SYSTEMONE, Connection, Request
from selfreg_gym.endpoint.echo import are_scores, echo_body, own_part, scores_of
from selfreg_gym.endpoint.probe import Capabilities
from selfreg_gym.endpoint.redaction import without_controls
from selfreg_gym.endpoint.structured import Form
from selfreg_gym.endpoint.systemone import between
from selfreg_gym.errors import EndpointError
from selfreg_gym.lm.parsing import parse_action
from selfreg_gym.lm.prompts import ACTION_MARK, REASONING_REQUEST, actor_prompt, answer_text
from selfreg_gym.lm.reasoning_marks import answer_of
from selfreg_gym.lm.sampling import sample_index, softmax
from selfreg_gym.types import Act, Decision
from selfreg_gym.utils.random_streams import REQUEST_SEED, seed_sequence

__all__ = ["ACTION_REQUEST", "NEEDS", "WAYS", "Manner", "choose_way", "choosing"]

WAYS = ("echo", "structured", "systemone", "text")
"""In the order in which they are preferred."""

NEEDS = {
    "echo": ("completions", "prompt_lists", "logprobs", "echo"),
    "structured": ("completions", "chat", "structured"),
    "systemone": ("systemone",),
    "text": ("completions", "chat", "stop"),
}
"""What each way makes the probe try."""

ACTION_REQUEST = "Answer with exactly one of the offered actions and nothing else."
_INSTRUCTIONS = "Which of the offered actions should be done next?"
_DECIMALS = 4  # scores are rounded so before a draw, as the local actor's: batches differ in the last digits
_LONGEST_ACTION = 500  # characters; what is longer is no action of any task, and every later page would repeat it
_LEAST = 1e-12  # of a probability, before its logarithm
_OPTIONS = 26  # of a systemone choice: the labels A to Z


@dataclass(frozen=True, slots=True)
class Manner:
    """How an actor speaks.

    Attributes:
        temperature: 0 takes the best.
        seed: another number gives other draws of the same decisions; None sends no seed to the server.
        max_tokens: longest answer.
        reasoning: ask for ``Reasoning: ... Action: ...``.
        nearest: turn an inadmissible answer into the admissible action spelled most like it.
        api: "chat", "completions" or "auto": which one is asked for a text.
        instructions: system message of a chat, or None.
    """

    temperature: float
    seed: int | None
    max_tokens: int
    reasoning: bool
    nearest: bool
    api: str
    instructions: str | None


Chooser = Callable[[Sequence[Decision]], list[Act]]


def choose_way(capabilities: Capabilities, way: str = "auto") -> tuple[str, str]:
    """The way to choose actions, and why it is that one.

    Raises:
        EndpointError: the server can do none, or not the one that was asked for.
    """
    works = {
        "echo": capabilities.works("echo"),
        "structured": capabilities.works("structured"),
        "systemone": capabilities.works("systemone"),
        "text": capabilities.works("chat") or capabilities.works("completions"),
    }
    why = {name: capabilities.why(name) for name in WAYS[:3]}
    why["text"] = f"chat: {capabilities.why('chat')}; completions: {capabilities.why('completions')}"
    if way != "auto":
        if not works[way]:
            raise EndpointError(f"way={way!r} was asked for, and the server cannot do it: {why[way]}.", reached=True)
        return way, "asked for"
    for name in WAYS:
        if works[name]:
            passed = [f"no {other} ({why[other]})" for other in WAYS[: WAYS.index(name)]]
            return name, "; ".join([why[name], *passed])
    raise EndpointError(f"the server can do nothing that an actor could use: {capabilities}", reached=True)


def choosing(way: str, connection: Connection, capabilities: Capabilities, manner: Manner) -> Chooser:
    """The function that answers decisions in one of ``WAYS``."""
    speaker = _Speaker(connection, capabilities, manner)
    return {
        "echo": speaker.by_echo,
        "structured": speaker.by_structure,
        "systemone": speaker.by_systemone,
        "text": speaker.by_text,
    }[way]


class _Speaker:
    def __init__(self, connection: Connection, capabilities: Capabilities, manner: Manner) -> None:
        self.connection, self.capabilities, self.manner = connection, capabilities, manner
        chat = capabilities.works("chat") and manner.api != "completions"
        self.path = CHAT if chat else COMPLETIONS

    # ------------------------------------------------------------------ text

    def by_text(self, decisions: Sequence[Decision]) -> list[Act]:
        """Let it write, and read an action out of that."""
        begun = self.path == COMPLETIONS and not self.manner.reasoning
        requests = [
            replace(self._request(self.path, self._text_body(d.observation), d), check=self._says(d, begun=begun))
            for d in decisions
        ]
        answers = self._written(requests)
        return [self._spoken(d, answer, begun=begun) for d, answer in zip(decisions, answers, strict=True)]

    def _written(self, requests: Sequence[Request]) -> list[Any]:
        """The texts that answer ``requests``.

        A model whose first token is the text to stop at has an empty text, and one that thinks first stops within its
        thought; they are asked again without the text to stop at.
        """
        stopped = [r for r in requests if "stop" in r.body]
        if not stopped:
            return self.connection.ask(requests)
        answers = self.connection.ask([replace(r, needs_text=False, check=None) for r in requests])
        places = [i for i, a in enumerate(answers) if isinstance(a, Answer) and not _passes(requests[i], a)]
        again = [
            replace(requests[i], body={name: value for name, value in requests[i].body.items() if name != "stop"})
            for i in places
        ]
        for i, answer in zip(places, self.connection.ask(again) if again else [], strict=True):
            answers[i] = answer
        return answers

    def _text_body(self, observation: str) -> dict[str, Any]:
        reasoning = self.manner.reasoning
        if self.path == CHAT:
            return {"messages": self._messages(observation, REASONING_REQUEST if reasoning else ACTION_REQUEST)}
        stop = {} if reasoning or not self.capabilities.works("stop") else {"stop": ["\n"]}
        return {"prompt": actor_prompt(observation, reasoning=reasoning), **stop}

    def _messages(self, observation: str, request: str) -> list[dict[str, str]]:
        system = self.manner.instructions
        first = [{"role": "system", "content": system}] if system else []
        return [*first, {"role": "user", "content": f"{observation}\n{request}"}]

    def _request(self, path: str, body: dict[str, Any], decision: Decision, *, max_tokens: int = 0) -> Request:
        """A request whose answer is drawn by the server: with a seed of the decision's own."""
        manner = self.manner
        limit = self.capabilities.limit if path == CHAT else "max_tokens"
        body = {**body, limit: max(manner.max_tokens, max_tokens), "temperature": manner.temperature}
        if manner.temperature == 0:
            return Request(path, body, needs_text=True)
        draw = int(decision.rng.integers(2**31 - 1))
        if manner.seed is None:
            return Request(path, body, draw=draw, needs_text=True)
        own = (
            int(seed_sequence(REQUEST_SEED, manner.seed, draw).generate_state(1)[0]) >> 1
        )  # 31 bits: all servers take it
        return Request(path, {**body, "seed": own}, draw=own, needs_text=True)

    def _action(self, decision: Decision, text: str, *, begun: bool) -> str:
        """The action in a text; ``begun`` where the prompt ended with the mark of an action."""
        if begun:  # one line, also where nothing could stop it
            text = f"{ACTION_MARK} " + answer_of(text).strip().split("\n", 1)[0]
        action = parse_action(without_controls(text), decision.admissible_actions, nearest=self.manner.nearest)
        return action.strip()[:_LONGEST_ACTION]

    def _says(self, decision: Decision, *, begun: bool, form: Form | None = None) -> Callable[[Answer], None]:
        """A check that a text holds an action, valid or not: more than a thought, marks, or JSON with null."""

        def check(answer: Answer) -> None:
            text = answer.text if form is None else form.read(answer.text)
            if not text or not self._action(decision, text, begun=begun):
                limit = self.manner.max_tokens if form is None else None
                raise (
                    token_limit(limit) if answer.cut else no_answer("its text holds no action (only thoughts or marks)")
                )
            if form is not None and form.reads_json and answer.cut and text == answer.text.strip():
                raise token_limit(None)  # half a JSON object

        return check

    def _spoken(self, decision: Decision, answer: Any, *, begun: bool, form: Form | None = None) -> Act:
        """The action in an answer, as an act."""
        if isinstance(answer, EndpointError):
            return _failed(answer)
        try:
            self._says(decision, begun=begun, form=form)(answer)
        except EndpointError as error:
            return _failed(error)
        self.connection.meter.count(cut=int(answer.cut))
        text = answer.text if form is None else form.read(answer.text)
        return self._act(self._action(decision, text, begun=begun), answer.tokens)

    def _act(self, text: str, tokens: Tokens | None, logprobs: np.ndarray | None = None) -> Act:
        server = self.connection.server
        return Act(
            text,
            logprobs=None if logprobs is None else tuple(logprobs.tolist()),
            tokens=None if tokens is None else tokens.total,
            cost=server.price(tokens.prompt, tokens.completion) if tokens is not None and server.priced else None,
        )

    # ------------------------------------------------------------------ structured

    def by_structure(self, decisions: Sequence[Decision]) -> list[Act]:
        """Have it write one of the admissible actions."""
        form = self.capabilities.form
        assert form is not None
        requests = []
        for decision in decisions:
            offered = decision.admissible_actions or ()
            longest = max(len(action.encode()) for action in offered) + 16  # tokens are at least a byte each
            request = self._request(form.path, self._structured_body(form, decision), decision, max_tokens=longest)
            requests.append(replace(request, check=self._says(decision, begun=form.path == COMPLETIONS, form=form)))
        answers = self.connection.ask(requests)
        return [self._structured(d, answer, form) for d, answer in zip(decisions, answers, strict=True)]

    def _structured_body(self, form: Form, decision: Decision) -> dict[str, Any]:
        offered = decision.admissible_actions or ()
        if form.path == COMPLETIONS:
            return form.body(actor_prompt(decision.observation), offered)
        return {**form.body("", offered), "messages": self._messages(decision.observation, ACTION_REQUEST)}

    def _structured(self, decision: Decision, answer: Any, form: Form) -> Act:
        if isinstance(answer, EndpointError):
            return _failed(answer)
        chosen = form.read(answer.text)
        if chosen not in (decision.admissible_actions or ()):
            return self._spoken(decision, answer, begun=form.path == COMPLETIONS, form=form)
        self.connection.meter.count(cut=int(answer.cut))
        return self._act(chosen, answer.tokens)

    # ------------------------------------------------------------------ echo

    def by_echo(self, decisions: Sequence[Decision]) -> list[Act]:
        """Draw from softmax(log-probability / temperature) of the admissible actions."""
        prompts = [actor_prompt(d.observation) for d in decisions]
        keys = [
            request_key(
                "echo scores 2", {"model": self.connection.model, "prompt": p, "actions": d.admissible_actions}, None
            )
            for p, d in zip(prompts, decisions, strict=True)
        ]
        known: dict[bytes, Any] = {}
        requests: list[Request] = []
        places: dict[bytes, slice] = {}
        for key, prompt, decision in zip(keys, prompts, decisions, strict=True):
            if key in known or key in places:
                continue
            known_before = self.connection.recall(key)
            if are_scores(known_before, len(decision.admissible_actions or ())):
                known[key] = known_before
                continue
            if known_before is not None:  # of an earlier version, or written by hand
                self.connection.forget(key)
            if len(decision.admissible_actions or ()) == 1:  # nothing to choose, nothing to ask
                known[key] = [[0.0], [0, 0]]
                continue
            texts = [prompt + answer_text(action) for action in decision.admissible_actions or ()]
            places[key] = slice(len(requests), len(requests) + len(texts))
            requests += [
                Request(COMPLETIONS, echo_body(text), remembered=False, listed=True, check=partial(own_part, text))
                for text in texts
            ]
        answers = self.connection.ask(requests, lists=self.capabilities.works("prompt_lists")) if requests else []
        for key, place in places.items():
            try:
                known[key] = scores_of([r.body["prompt"] for r in requests[place]], answers[place])
                self.connection.remember(key, known[key])
            except EndpointError as error:
                known[key] = error
        return [self._drawn(d, known[key]) for d, key in zip(decisions, keys, strict=True)]

    def _drawn(self, decision: Decision, found: Any) -> Act:
        if isinstance(found, EndpointError):
            return _failed(found)
        scores, tokens = np.array(found[0]), Tokens(*found[1])
        return self._ranked(decision, scores, tokens)

    def _ranked(self, decision: Decision, scores: np.ndarray, tokens: Tokens) -> Act:
        assert decision.admissible_actions is not None
        temperature = self.manner.temperature
        scores = np.round(scores, _DECIMALS) + 0.0
        probabilities = softmax(scores, temperature=temperature)
        chosen = int(np.argmax(scores)) if temperature == 0 else sample_index(probabilities, decision.rng)
        scaled = (scores - scores.max()) / (temperature or 1.0)
        logprobs = scaled - np.log(np.exp(scaled).sum())
        return self._act(decision.admissible_actions[chosen], tokens, logprobs)

    # ------------------------------------------------------------------ systemone

    def by_systemone(self, decisions: Sequence[Decision]) -> list[Act]:
        """Draw from the probabilities of a choice; more options than it has labels are left to the text."""
        wide = [d for d in decisions if len(d.admissible_actions or ()) > _OPTIONS]
        narrow = [d for d in decisions if len(d.admissible_actions or ()) <= _OPTIONS]
        requests = [
            Request(SYSTEMONE, _choice(d), check=partial(_log_shares, d.admissible_actions or ())) for d in narrow
        ]
        acts = {
            id(d): self._decided(d, answer) for d, answer in zip(narrow, self.connection.ask(requests), strict=True)
        }
        acts |= {id(d): act for d, act in zip(wide, self.by_text(wide) if wide else [], strict=True)}
        return [acts[id(d)] for d in decisions]

    def _decided(self, decision: Decision, answer: Any) -> Act:
        if isinstance(answer, EndpointError):
            return _failed(answer)
        return self._ranked(decision, _log_shares(decision.admissible_actions or (), answer), answer[1])


def _choice(decision: Decision) -> dict[str, Any]:
    question = {
        "type": "choice",
        "instructions": _INSTRUCTIONS,
        "criteria": dict.fromkeys(decision.admissible_actions or ()),
    }
    return {"state": decision.observation, "questions": {"action": question}}


def _log_shares(actions: Sequence[str], answer: Any) -> np.ndarray:
    """Logarithms of the probabilities of ``actions`` in an answer of systemone.

    Raises:
        EndpointError: one of them has none.
    """
    found = answer[0].get("action", {}).get("probabilities")
    values = [found.get(action) for action in actions] if isinstance(found, dict) else []
    if not values or not all(between(value, 1) for value in values) or not any(values):
        raise no_answer("no probability for each action")
    return np.log(np.maximum(np.array(values, dtype=np.float64), _LEAST))


def _passes(request: Request, answer: Answer) -> bool:
    """Whether an answer holds what was asked for."""
    try:
        request.examine(answer)
    except EndpointError:
        return False
    return True


def _failed(error: EndpointError) -> Act:
    return Act("", error=str(error))
