"""Strategies to get actions from a server; the first one that the server supports is used.

``echo``: log-probabilities of all admissible actions, of which one is drawn here, as by a local model.
``structured``: the server is restricted to write one of the admissible actions.
``systemone``: a typed question of ``/v1/systemone`` gives a probability for each action, of which one is drawn here.
``text``: the server writes freely and the action is read from the text; an inadmissible action stays inadmissible.

With every strategy, a response without an answer (no text, an abort, a filter) is an act with an error, not an
invalid action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.endpoint.accounting import Tokens
from selfreg_gym.endpoint.answers import Answer, no_answer, token_limit_error
from selfreg_gym.endpoint.cache import request_key
from selfreg_gym.endpoint.connection import CHAT, COMPLETIONS, SYSTEMONE, Connection, Request
from selfreg_gym.endpoint.echo import action_scores, echo_body, echoed_tokens, valid_scores
from selfreg_gym.endpoint.probe import Capabilities
from selfreg_gym.endpoint.redaction import without_controls
from selfreg_gym.endpoint.structured import Form
from selfreg_gym.endpoint.systemone import in_range
from selfreg_gym.errors import EndpointError
from selfreg_gym.intervention_env.history import dialogue_text
from selfreg_gym.lm.parsing import parse_action
from selfreg_gym.lm.prompts import ACTION_MARK, REASONING_REQUEST, actor_prompt, answer_text
from selfreg_gym.lm.reasoning_marks import answer_of
from selfreg_gym.lm.sampling import sample_index, softmax
from selfreg_gym.types import Act, Decision
from selfreg_gym.utils.random_streams import REQUEST_SEED, seed_sequence

__all__ = ["REQUIRED_CAPABILITIES", "STRATEGIES", "Choice", "GenerationOptions", "choose_strategy", "strategy_function"]

STRATEGIES = ("echo", "structured", "systemone", "text")
"""In the order of preference."""

REQUIRED_CAPABILITIES = {
    "echo": ("completions", "prompt_lists", "logprobs", "echo"),
    "structured": ("completions", "chat", "structured"),
    "systemone": ("systemone",),
    "text": ("completions", "chat", "stop"),
}
"""The capabilities that the probe tests for each strategy."""

ACTION_REQUEST = "Answer with exactly one of the offered actions and nothing else."
_INSTRUCTIONS = "Which of the offered actions should be done next?"
_DECIMALS = 4  # of scores, which differ between batches in the last digits; as in the local actor
_LONGEST_ACTION = 500  # characters; observations may repeat the action
_LEAST = 1e-12  # lower bound of a probability, for its logarithm
_OPTIONS = 26  # of a systemone choice, which labels them A to Z


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How answers are generated and read.

    Attributes:
        temperature: 0 takes the most probable answer.
        seed: of the draws; None sends no seed to the server.
        max_tokens: token limit of an answer.
        reasoning: request ``Reasoning: ... Action: ...``.
        nearest: replace an inadmissible answer by the admissible action with the most similar spelling.
        api: "chat", "completions" or "auto", for texts.
        instructions: system message of a chat, or None.
        request: what a generated text is asked for, after the observation; None: one of the offered actions.
    """

    temperature: float
    seed: int | None
    max_tokens: int
    reasoning: bool
    nearest: bool
    api: str
    instructions: str | None
    request: str | None = None


Strategy = Callable[[Sequence[Decision]], list[Act]]
"""From N decisions to N acts."""


class Choice(NamedTuple):
    """The chosen strategy, and the reason."""

    strategy: str
    why: str


def choose_strategy(capabilities: Capabilities, strategy: str = "auto") -> Choice:
    """The first of ``STRATEGIES`` that the server supports, or the requested one.

    Raises:
        EndpointError: the server supports none, or not the requested one.
    """
    works = {name: capabilities.works(name) for name in STRATEGIES[:3]}
    works["text"] = capabilities.works("chat") or capabilities.works("completions")
    why = {name: capabilities.why(name) for name in STRATEGIES[:3]}
    why["text"] = f"chat: {capabilities.why('chat')}; completions: {capabilities.why('completions')}"
    if strategy != "auto":
        if not works[strategy]:
            raise EndpointError(
                f"strategy={strategy!r} was requested, and the server does not support it: {why[strategy]}.",
                reached=True,
            )
        return Choice(strategy, "requested")
    for i, name in enumerate(STRATEGIES):
        if works[name]:
            return Choice(name, "; ".join([why[name], *(f"no {other} ({why[other]})" for other in STRATEGIES[:i])]))
    raise EndpointError(f"the server supports no strategy of the actor: {capabilities}", reached=True)


def strategy_function(
    strategy: str, connection: Connection, capabilities: Capabilities, options: GenerationOptions
) -> Strategy:
    """The function for one of ``STRATEGIES``."""
    return getattr(_Strategies(connection, capabilities, options), strategy)


class _Strategies:
    def __init__(self, connection: Connection, capabilities: Capabilities, options: GenerationOptions) -> None:
        self.connection, self.capabilities, self.options = connection, capabilities, options
        chat = capabilities.works("chat") and options.api != "completions"
        self.path = CHAT if chat else COMPLETIONS

    def text(self, decisions: Sequence[Decision]) -> list[Act]:
        """Read the action in a generated text."""
        after_mark = self.path == COMPLETIONS and not self.options.reasoning and self.options.request is None
        requests = []
        for d in decisions:
            request = self._request(self.path, self._text_body(d), d)
            requests.append(replace(request, check=self._action_check(d, after_mark=after_mark)))
        pairs = zip(decisions, self._texts(requests), strict=True)
        return [self._act_of_text(d, answer, after_mark=after_mark) for d, answer in pairs]

    def _texts(self, requests: Sequence[Request]) -> list[Any]:
        """The answers to ``requests``.

        A stop text ends the answer of some models too early (as their first token, or within reasoning). These requests
        are repeated without it.
        """
        if not any("stop" in request.body for request in requests):
            return self.connection.ask(requests)
        answers = self.connection.ask([replace(r, needs_text=False, check=None) for r in requests])
        places = [i for i, a in enumerate(answers) if isinstance(a, Answer) and not _is_valid(requests[i], a)]
        again = [
            replace(requests[i], body={name: value for name, value in requests[i].body.items() if name != "stop"})
            for i in places
        ]
        for i, answer in zip(places, self.connection.ask(again) if again else [], strict=True):
            answers[i] = answer
        return answers

    def _text_body(self, decision: Decision) -> dict[str, Any]:
        observation = decision.observation
        reasoning = self.options.reasoning
        own = self.options.request
        if self.path == CHAT:
            request = (REASONING_REQUEST if reasoning else ACTION_REQUEST) if own is None else own
            return {"messages": self._messages(decision, request)}
        stop = {} if reasoning or not self.capabilities.works("stop") else {"stop": ["\n"]}
        if own is not None:
            return {"prompt": f"{observation}\n{own} Answer:", **stop}
        return {"prompt": actor_prompt(observation, reasoning=reasoning), **stop}

    def _messages(self, decision: Decision, request: str) -> list[dict[str, str]]:
        """The messages of a chat: one for an observation, or the turns of a dialogue (``History``)."""
        system = self.options.instructions
        first = [{"role": "system", "content": system}] if system else []
        turns = decision.info.get("dialogue", ())
        if len(turns) < 2 or dialogue_text(turns) != decision.observation:  # another text was put in its place
            turns = (decision.observation,)
        roles = ("user", "assistant")
        earlier = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns[:-1])]
        return [*first, *earlier, {"role": "user", "content": f"{turns[-1]}\n{request}"}]

    def _request(self, path: str, body: dict[str, Any], decision: Decision, *, max_tokens: int = 0) -> Request:
        """A request whose answer the server draws, with a seed from the stream of the decision."""
        options = self.options
        limit = self.capabilities.limit_name if path == CHAT else "max_tokens"
        body = {**body, limit: max(options.max_tokens, max_tokens), "temperature": options.temperature}
        draw = None if options.temperature == 0 else int(decision.rng.integers(2**31 - 1))
        if draw is not None and options.seed is not None:
            words = seed_sequence(REQUEST_SEED, options.seed, draw).generate_state(1)
            body["seed"] = draw = int(words[0]) >> 1  # 31 bits, which all servers accept
        return Request(path, body, draw=draw, needs_text=True)

    def _action(self, decision: Decision, text: str, *, after_mark: bool) -> str:
        """The action in a text, which continues the mark "Action:" of the prompt if ``after_mark``."""
        if after_mark:  # one line, also without a stop text
            text = f"{ACTION_MARK} " + answer_of(text).strip().split("\n", 1)[0]
        action = parse_action(without_controls(text), decision.admissible_actions, nearest=self.options.nearest)
        return action.strip()[:_LONGEST_ACTION]

    def _action_check(
        self, decision: Decision, *, after_mark: bool, form: Form | None = None
    ) -> Callable[[Answer], None]:
        """A check that a text has an action, valid or not: more than reasoning, marks, or JSON with null."""

        def check(answer: Answer) -> None:
            text = answer.text if form is None else form.read(answer.text)
            if not text or not self._action(decision, text, after_mark=after_mark):
                limit = self.options.max_tokens if form is None else None
                if answer.truncated:
                    raise token_limit_error(limit)
                raise no_answer("its text has no action (only reasoning or marks)")
            if form is not None and form.reads_json and answer.truncated and text == answer.text.strip():
                raise token_limit_error(None)  # an incomplete JSON object

        return check

    def _act_of_text(self, decision: Decision, answer: Any, *, after_mark: bool, form: Form | None = None) -> Act:
        if isinstance(answer, EndpointError):
            return _failed(answer)
        text = answer.text if form is None else form.read(answer.text)
        if form is None or text not in (decision.admissible_actions or ()):
            try:
                self._action_check(decision, after_mark=after_mark, form=form)(answer)
            except EndpointError as error:
                return _failed(error)
            text = self._action(decision, text, after_mark=after_mark)
        self.connection.meter.count(truncated=int(answer.truncated))
        return self._act(text, answer.tokens)

    def _act(self, text: str, tokens: Tokens | None, logprobs: np.ndarray | None = None) -> Act:
        server = self.connection.server
        return Act(
            text,
            logprobs=None if logprobs is None else tuple(logprobs.tolist()),
            tokens=None if tokens is None else tokens.total,
            cost=server.cost_of(tokens.prompt, tokens.completion) if tokens is not None and server.priced else None,
        )

    def structured(self, decisions: Sequence[Decision]) -> list[Act]:
        """Restrict the generated text to the admissible actions."""
        form = self.capabilities.form
        assert form is not None
        after_mark = form.path == COMPLETIONS
        requests = []
        for decision in decisions:
            offered = decision.admissible_actions or ()
            longest = max(len(action.encode()) for action in offered) + 16  # a token is at least one byte
            body = form.body(actor_prompt(decision.observation) if after_mark else "", offered)
            if not after_mark:
                body["messages"] = self._messages(decision, ACTION_REQUEST)
            request = self._request(form.path, body, decision, max_tokens=longest)
            requests.append(replace(request, check=self._action_check(decision, after_mark=after_mark, form=form)))
        pairs = zip(decisions, self.connection.ask(requests), strict=True)
        return [self._act_of_text(d, answer, after_mark=after_mark, form=form) for d, answer in pairs]

    def echo(self, decisions: Sequence[Decision]) -> list[Act]:
        """Draw from softmax(score / temperature), the score being an action's log-probability."""
        prompts = [actor_prompt(d.observation) for d in decisions]
        bodies = [{"prompt": p, "actions": d.admissible_actions} for p, d in zip(prompts, decisions, strict=True)]
        keys = [request_key("echo scores 2", {"model": self.connection.model, **body}, None) for body in bodies]
        known: dict[bytes, Any] = {}
        requests: list[Request] = []
        places: dict[bytes, slice] = {}
        for key, prompt, decision in zip(keys, prompts, decisions, strict=True):
            if key in known or key in places:
                continue
            stored = self.connection.load(key)
            if valid_scores(stored, len(decision.admissible_actions or ())):
                known[key] = stored
                continue
            if stored is not None:  # of an earlier version, or edited
                self.connection.delete(key)
            if len(decision.admissible_actions or ()) == 1:  # a single action needs no request
                known[key] = [[0.0], [0, 0]]
                continue
            texts = [prompt + answer_text(action) for action in decision.admissible_actions or ()]
            places[key] = slice(len(requests), len(requests) + len(texts))
            requests += [
                Request(COMPLETIONS, echo_body(text), cached=False, batchable=True, check=partial(echoed_tokens, text))
                for text in texts
            ]
        answers = self.connection.ask(requests, lists=self.capabilities.works("prompt_lists")) if requests else []
        for key, place in places.items():
            try:
                known[key] = action_scores([r.body["prompt"] for r in requests[place]], answers[place])
                self.connection.store(key, known[key])
            except EndpointError as error:
                known[key] = error
        found = [known[key] for key in keys]
        scored = [one if isinstance(one, EndpointError) else (np.array(one[0]), Tokens(*one[1])) for one in found]
        return [self._drawn(d, one) for d, one in zip(decisions, scored, strict=True)]

    def _drawn(self, decision: Decision, found: EndpointError | tuple[np.ndarray, Tokens]) -> Act:
        """An action drawn by its score (A,), a log-probability; at temperature 0 the one with the highest score."""
        if isinstance(found, EndpointError):
            return _failed(found)
        scores, tokens = found
        assert decision.admissible_actions is not None
        temperature = self.options.temperature
        scores = np.round(scores, _DECIMALS) + 0.0
        probabilities = softmax(scores, temperature=temperature)
        chosen = int(np.argmax(scores)) if temperature == 0 else sample_index(probabilities, decision.rng)
        scaled = (scores - scores.max()) / (temperature or 1.0)
        logprobs = scaled - np.log(np.exp(scaled).sum())
        return self._act(decision.admissible_actions[chosen], tokens, logprobs)

    def systemone(self, decisions: Sequence[Decision]) -> list[Act]:
        """Draw from the probabilities of a choice; more than 26 actions go to the strategy ``text``."""
        wide = [d for d in decisions if len(d.admissible_actions or ()) > _OPTIONS]
        narrow = [d for d in decisions if len(d.admissible_actions or ()) <= _OPTIONS]
        reads = [partial(_log_probabilities, d.admissible_actions or ()) for d in narrow]
        requests = [Request(SYSTEMONE, _choice(d), check=read) for d, read in zip(narrow, reads, strict=True)]
        acts: dict[int, Act] = {}
        for d, read, one in zip(narrow, reads, self.connection.ask(requests), strict=True):
            acts[id(d)] = self._drawn(d, one if isinstance(one, EndpointError) else (read(one), one[1]))
        acts |= {id(d): act for d, act in zip(wide, self.text(wide) if wide else [], strict=True)}
        return [acts[id(d)] for d in decisions]


def _choice(decision: Decision) -> dict[str, Any]:
    criteria = dict.fromkeys(decision.admissible_actions or ())
    question = {"type": "choice", "instructions": _INSTRUCTIONS, "criteria": criteria}
    return {"state": decision.observation, "questions": {"action": question}}


def _log_probabilities(actions: Sequence[str], answer: Any) -> np.ndarray:
    """Log-probabilities ``(A,)`` in an answer of systemone; raise if an action has no probability, or all are 0."""
    found = answer[0].get("action", {}).get("probabilities")
    values = [found.get(action) for action in actions] if isinstance(found, dict) else []
    if not values or not all(in_range(value, 1) for value in values) or not any(values):
        raise no_answer("no probability for each action")
    return np.log(np.maximum(np.array(values, dtype=np.float64), _LEAST))


def _is_valid(request: Request, answer: Answer) -> bool:
    try:
        request.validate(answer)
    except EndpointError:
        return False
    return True


def _failed(error: EndpointError) -> Act:
    return Act("", error=str(error))
