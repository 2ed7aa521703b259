"""How a server's answers become actions: four ways, the best one that the server can do.

``echo``: log-probabilities of every admissible action, drawn from here, as the local ``lm`` actor does.
``structured``: the server is told to write one of the admissible actions.
``systemone``: a typed question of ``/v1/systemone`` gives a probability for each, drawn from here.
``text``: it writes what it likes, and an action is read out of that; what is none stays none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np

from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.endpoint.answers import Answer, no_answer
from selfreg_gym.endpoint.cache import request_key
from selfreg_gym.endpoint.connection import CHAT, COMPLETIONS, SYSTEMONE, Connection, Request
from selfreg_gym.endpoint.probe import Capabilities, echo_body
from selfreg_gym.endpoint.structured import Form
from selfreg_gym.endpoint.systemone import between
from selfreg_gym.errors import EndpointError
from selfreg_gym.lm.drawing import sample_index, softmax
from selfreg_gym.lm.parsing import parse_action
from selfreg_gym.lm.prompts import ACTION_MARK, REASONING_REQUEST, actor_prompt, answer_text
from selfreg_gym.types import Act, Decision

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
        requests = [self._request(self.path, self._text_body(d.observation), d) for d in decisions]
        begun = self.path == COMPLETIONS and not self.manner.reasoning
        return [
            self._spoken(d, answer, lambda text: text, begun=begun)
            for d, answer in zip(decisions, self.connection.ask(requests), strict=True)
        ]

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
            return Request(path, body)
        draw = int(decision.rng.integers(2**31 - 1))
        if manner.seed is None:
            return Request(path, body, draw=draw)
        own = int(np.random.SeedSequence((manner.seed, draw)).generate_state(1)[0]) >> 1  # 31 bits: all servers take it
        return Request(path, {**body, "seed": own}, draw=own)

    def _spoken(self, decision: Decision, answer: Any, read: Callable[[str], str], *, begun: bool) -> Act:
        """The action in an answer; ``begun`` where the prompt ended with the mark of an action."""
        if isinstance(answer, EndpointError):
            return _failed(answer)
        text = read(answer.text)
        if begun:  # one line, also where nothing could stop it
            text = f"{ACTION_MARK} " + text.strip().split("\n", 1)[0]
        action = parse_action(text, decision.admissible_actions, nearest=self.manner.nearest)
        return self._act(action[:_LONGEST_ACTION], answer.tokens)

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
            requests.append(
                self._request(form.path, self._structured_body(form, decision), decision, max_tokens=longest)
            )
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
            return self._spoken(decision, answer, form.read, begun=form.path == COMPLETIONS)
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
            if known_before is not None:
                known[key] = known_before
                continue
            if len(decision.admissible_actions or ()) == 1:  # nothing to choose, nothing to ask
                known[key] = [[0.0], [0, 0]]
                continue
            texts = [prompt + answer_text(action) for action in decision.admissible_actions or ()]
            places[key] = slice(len(requests), len(requests) + len(texts))
            requests += [
                Request(COMPLETIONS, echo_body(text), remembered=False, listed=True, check=partial(_own, text))
                for text in texts
            ]
        answers = self.connection.ask(requests, lists=self.capabilities.works("prompt_lists")) if requests else []
        for key, place in places.items():
            try:
                known[key] = _scores([r.body["prompt"] for r in requests[place]], answers[place])
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
    if not values or not all(between(value, 1) for value in values):
        raise no_answer("no probability for each action")
    return np.log(np.maximum(np.array(values, dtype=np.float64), _LEAST))


def _failed(error: EndpointError) -> Act:
    return Act("", error=str(error))


def _scores(texts: Sequence[str], answers: Sequence[Any]) -> list[Any]:
    """``[scores, [tokens read, written]]`` of the texts, each the sum of what follows their common beginning.

    What all share (the prompt, and how the actions begin) has the same log-probability in each, so it need not be known
    where the prompt ends: no tokenizer is asked for, and a token that straddles the border is counted right.

    A text counts unless the model goes on as a longer one: "look" has the chance of what begins with "look" and not
    with "look at". The local scorer asks for its end-of-text token in that place; which token that is no server says,
    and a line break stands for it in some models only. Both agree for a model that says what is offered, and ends.

    Raises:
        EndpointError: an answer failed.
    """
    for answer in answers:
        if isinstance(answer, EndpointError):
            raise answer
    rows = [_own(text, answer) for text, answer in zip(texts, answers, strict=True)]
    shared = sum(
        1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*(row[0] for row in rows), strict=False))
    )
    ends = [_log_ending(pieces, rows) for pieces, _ in rows]
    scores = [
        float(sum(value or 0.0 for value in values[shared:])) + end  # no None is among these
        for (_, values), end in zip(rows, ends, strict=True)
    ]
    read = sum(len(pieces) for pieces, _ in rows)
    return [scores, [read, sum(len(answer.pieces) for answer in answers) - read]]


def _log_ending(pieces: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], tuple[float | None, ...]]]) -> float:
    """Logarithm of the probability that what begins with ``pieces`` does not go on as another of ``rows``."""
    n = len(pieces)
    onward = {other[n]: values[n] or 0.0 for other, values in rows if len(other) > n and other[:n] == pieces}
    return math.log(max(_LEAST, 1.0 - sum(map(math.exp, onward.values())))) if onward else 0.0


def _own(text: str, answer: Answer) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
    """Pieces and values of the echoed text, without the one token that was written after it.

    Raises:
        EndpointError: they did not come.
    """
    pieces = answer.pieces
    if not pieces or not answer.text.startswith(text):
        raise no_answer("an echo without the prompt and its log-probabilities")
    if answer.text == text:  # nothing more, or an end mark, which may or may not be listed
        last = pieces[-1].replace("\u2581", " ").replace("\u0120", " ")
        extra = 0 if last and text.endswith(last) else 1
    else:
        extra = 1
    end = len(pieces) - extra
    if any(value is None for value in answer.logprobs[1:end]):  # before the first token there is nothing
        raise no_answer("an echoed token without a log-probability")
    return pieces[:end], answer.logprobs[:end]
