"""Probe of a server's capabilities by requests.

Servers differ, some silently: ``transformers serve`` accepts and ignores ``logprobs``, ``echo`` and
``response_format``; llama.cpp returns log-probabilities of new tokens only; llama-cpp-python shifted those of the
prompt by one token. So each capability is tested by a small request, and the log-probability of an echoed token
must agree with that of the same token when it was generated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from selfreg_gym.endpoint.answers import Answer, read_completions
from selfreg_gym.endpoint.connection import CHAT, COMPLETIONS, SYSTEMONE, Connection, Request
from selfreg_gym.endpoint.echo import echo_body, echoed_tokens
from selfreg_gym.endpoint.structured import FORMS, Form
from selfreg_gym.errors import EndpointError

__all__ = ["CAPABILITIES", "Capabilities", "Finding", "probe"]

CAPABILITIES = ("models", "completions", "chat", "stop", "prompt_lists", "logprobs", "echo", "structured", "systemone")
"""In the order of the tests; a later capability may require an earlier one."""

_LIMITS = ("max_tokens", "max_completion_tokens")  # newer OpenAI models refuse the first, most servers the second
_ROUTES = ("models", "completions", "chat", "systemone")  # the others are arguments of these requests

# Prompts after which the next token mostly begins a word, so that prompt + token is tokenized as it was written.
_PROMPTS = (
    "One, two, three, four,",
    "The sky is blue and the grass is",
    "You are in a room. You can go north or south.\nAction:",
    "to be or not to",
)
_CHOICES = ("zyxgor", "qubvex")  # never written without a constraint
_ATTEMPTS = 6  # at transient failures, because a wrong finding lasts for a whole run
_TOLERANCE = 0.05  # nats: other batch shapes differ in the third digit, a shift by one token by whole nats


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a capability works, the evidence, and a detail such as the name of the form."""

    works: bool
    why: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The tested capabilities of a server. An untested capability counts as not working."""

    findings: dict[str, Finding]

    def works(self, name: str) -> bool:
        """Whether the capability ``name`` was tested and works."""
        return name in self.findings and self.findings[name].works

    def why(self, name: str) -> str:
        """The evidence for :meth:`works`."""
        return self.findings[name].why if name in self.findings else "not tested"

    @property
    def form(self) -> Form | None:
        """The form of structured choice that the server supports."""
        found = self.findings.get("structured")
        return next((form for form in FORMS if found is not None and found.works and form.name == found.detail), None)

    @property
    def limit_name(self) -> str:
        """The argument of a chat for the token limit."""
        return self.findings["chat"].detail if self.works("chat") else _LIMITS[0]

    def __str__(self) -> str:
        return "; ".join(f"{name}: {'yes' if f.works else 'no'} ({f.why})" for name, f in self.findings.items())


def probe(connection: Connection, wanted: Collection[str] = CAPABILITIES, *, api: str = "auto") -> Capabilities:
    """Test the ``wanted`` capabilities, and those that they require.

    Args:
        connection: to the server; its cache is not used.
        wanted: names of ``CAPABILITIES``.
        api: "chat" or "completions" tests only this route; "auto" both.

    Raises:
        EndpointError: the server cannot be reached, so its capabilities are unknown.
        SetupError: the server does not have the model.
    """
    prober = _Prober(connection, api)
    for name in CAPABILITIES:
        if name in wanted:
            prober.find(name)
    return Capabilities(prober.findings)


class _Prober:
    def __init__(self, connection: Connection, api: str) -> None:
        self.connection, self.api = connection, api
        self.findings: dict[str, Finding] = {}

    def find(self, name: str) -> bool:
        """Test a capability, once, and return whether it works."""
        attempts = max(1, _ATTEMPTS // (1 + self.connection.server.retries))
        for attempt in range(attempts):
            if name in self.findings:
                break
            test: Callable[[], Finding] = getattr(self, f"_{name}")
            try:
                self.findings[name] = self._redacted(test())
            except EndpointError as error:
                if error.status in (401, 403, 429) or (not error.reached and not self._plain_request_works(name)):
                    raise  # no server, too slow, a wrong key: its capabilities stay unknown
                if not error.transient or attempt == attempts - 1:
                    self.findings[name] = self._redacted(Finding(False, str(error)))
        return self.findings[name].works

    def _redacted(self, finding: Finding) -> Finding:
        """The finding without the key and control characters, which the server's text may contain."""
        return replace(finding, why=self.connection.client.redaction.message(finding.why))

    def _plain_request_works(self, name: str) -> bool:
        """Whether the route works without the argument ``name``, which broke the connection or took too long.

        ``transformers serve`` closes the connection if a stop text does not fit its tokenizer.
        """
        if name in _ROUTES or not (self.find("completions") or self.find("chat")):
            return False
        test = self._completions if self.find("completions") else self._chat
        try:
            return test().works
        except EndpointError:
            return False

    def _send(self, path: str, **body: Any) -> Any:
        [answer] = self.connection.ask([Request(path, body, cached=False)])
        if isinstance(answer, EndpointError):
            raise answer
        return answer

    def _models(self) -> Finding:
        names = self.connection.models()
        shown = ", ".join(name[:60] for name in names[:4]) or "none"
        return Finding(bool(names), f"lists {shown}{' ...' if len(names) > 4 else ''}")

    def _completions(self) -> Finding:
        if self.api == "chat":
            return Finding(False, "excluded by api='chat'")
        self._send(COMPLETIONS, prompt=_PROMPTS[0], max_tokens=1)
        return Finding(True, "continued a text")

    def _chat(self) -> Finding:
        if self.api == "completions":
            return Finding(False, "excluded by api='completions'")
        messages = [{"role": "user", "content": "Say yes."}]
        try:
            self._send(CHAT, messages=messages, max_tokens=1)
        except EndpointError as error:
            if error.status != 400 or _LIMITS[1] not in str(error):
                raise
            self._send(CHAT, messages=messages, max_completion_tokens=16)
            return Finding(True, f"answered a message; its limit is {_LIMITS[1]}", _LIMITS[1])
        return Finding(True, "answered a message", _LIMITS[0])

    def _stop(self) -> Finding:
        if not self.find("completions"):
            return Finding(False, "needs completions")
        self._send(COMPLETIONS, prompt=_PROMPTS[0], max_tokens=2, stop=["\n"])  # fails if tokens are words
        return Finding(True, "accepts a stop text")

    def _prompt_lists(self) -> Finding:
        if not self.find("completions"):
            return Finding(False, "needs completions")
        if self.find("echo"):
            return self._echo_lists()
        self._send_list([{"prompt": prompt, "max_tokens": 1} for prompt in _PROMPTS[:2]])
        return Finding(True, "answered two prompts in one request")

    def _echo_lists(self) -> Finding:
        """A list as the strategy ``echo`` sends it: texts of several lengths, one of them the beginning of another."""
        texts = [_PROMPTS[3], _PROMPTS[1], _PROMPTS[3] + " go", _PROMPTS[0]][: self.connection.server.batch]
        if len(texts) < 2:
            return Finding(False, "not needed: batch=1")
        bodies = [echo_body(text) for text in texts]
        alone = self.connection.ask([Request(COMPLETIONS, body, cached=False) for body in bodies])
        for text, answer, single in zip(texts, self._send_list(bodies), alone, strict=True):
            if isinstance(single, EndpointError):
                raise single
            try:
                pieces, values = echoed_tokens(text, answer)
            except EndpointError:
                return Finding(False, "the answers to a list of prompts are out of order, or have no log-probabilities")
            if not _agree((pieces, values), echoed_tokens(text, single)):
                return Finding(False, "log-probabilities of a prompt differ between a list and a single request")
        return Finding(True, f"answered {len(texts)} prompts in one request, in order and as single ones")

    def _send_list(self, bodies: list[dict[str, Any]]) -> list[Answer]:
        """The answers to one request with several prompts, without a fallback to single ones."""
        connection = self.connection
        body = {"model": connection.model, **bodies[0], "prompt": [one["prompt"] for one in bodies]}
        answers = connection.client.send(COMPLETIONS, body, lambda data: read_completions(data, len(bodies)))
        connection.meter.count(tokens=answers[0].tokens)
        return answers

    def _logprobs(self) -> Finding:
        if not self.find("completions"):
            return Finding(False, "needs completions")
        answer = self._generated(_PROMPTS[0])
        if not answer.logprobs or answer.logprobs[0] is None:
            return Finding(False, "the server accepts the request, and its response has no log-probabilities")
        return Finding(True, "a generated token has its log-probability")

    def _generated(self, prompt: str) -> Answer:
        """One token with its log-probability, at temperature 1, where no server rescales it."""
        return self._send(COMPLETIONS, prompt=prompt, max_tokens=1, temperature=1.0, top_p=1.0, seed=0, logprobs=1)

    def _echo(self) -> Finding:
        if not self.find("logprobs"):
            return Finding(False, "needs log-probabilities")
        agreed = 0
        for prompt in _PROMPTS:
            generated = self._generated(prompt)
            if not generated.text or len(generated.pieces) != 1 or generated.logprobs[0] is None:
                continue
            echoed = self._send(COMPLETIONS, **echo_body(prompt + generated.text))
            problem = _disagreement(prompt + generated.text, generated, echoed)
            if problem == "":
                agreed += 1
            elif problem is not None:
                return Finding(False, problem)
        if not agreed:
            return Finding(False, "no generated token occurs in its echo, so the log-probabilities cannot be verified")
        share = f"{agreed} of {len(_PROMPTS)} prompts"
        return Finding(True, f"log-probabilities of echoed and generated tokens agree ({share})")

    def _structured(self) -> Finding:
        refused = []
        for form in FORMS:
            if not self.find("chat" if form.path == CHAT else "completions"):
                continue
            try:
                limit = {self.findings["chat"].detail if form.path == CHAT else _LIMITS[0]: 32}
                answer = self._send(form.path, **form.body("Say hello.\nAction:", _CHOICES), **limit, seed=0)
            except EndpointError as error:
                if not error.reached:
                    raise
                refused.append(f"{form.name} ({f'HTTP {error.status}' if error.status else 'no answer'})")
                continue
            if form.read(answer.text) in _CHOICES:
                return Finding(True, f"supports {form.name}", form.name)
            refused.append(f"{form.name} (ignored)")
        return Finding(False, f"no form is supported: {', '.join(refused) or 'none could be tested'}")

    def _systemone(self) -> Finding:
        question = {"type": "choice", "instructions": "Which word is red?", "criteria": {"red": None, "blue": None}}
        answers, _ = self._send(SYSTEMONE, state="red", questions={"word": question})
        found = answers.get("word", {}).get("probabilities")
        if not isinstance(found, dict) or set(found) != {"red", "blue"}:
            return Finding(False, f"no probability for each option: received {type(found).__name__}")
        return Finding(True, "returns a probability for each option")


def _agree(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether two echoes have equal pieces and log-probabilities."""
    pairs = [(a, b) for a, b in zip(one[1], other[1], strict=False) if a is not None and b is not None]
    return one[0] == other[0] and all(abs(a - b) <= _TOLERANCE for a, b in pairs)


def _disagreement(text: str, generated: Answer, echoed: Answer) -> str | None:
    """The defect of an echo; "" if the generated token has the same log-probability in it, None if it is not found."""
    if not echoed.text.startswith(text):
        return "echo is ignored: the response does not contain the prompt"
    prompt_tokens = len(echoed.pieces) - 2  # without the generated token, and the one after the echo
    if prompt_tokens < 1 or len(echoed.logprobs) < 3:
        return "echo gives no log-probabilities of the prompt"
    place = next((i for i in (-2, -1) if echoed.pieces[i] == generated.pieces[0]), None)
    if place is None:
        return None  # tokenized differently: this prompt is not informative
    values = [value for value in echoed.logprobs[1:] if value is not None]
    if len(values) < len(echoed.logprobs) - 1:
        return "echo omits log-probabilities of the prompt"
    if len(set(values)) == 1:
        return f"every echoed token has the same log-probability, {values[0]:g}"
    expected, value = generated.logprobs[0], echoed.logprobs[place]
    assert expected is not None
    if value is None or abs(value - expected) > _TOLERANCE:
        token, shown = repr(generated.pieces[0][:20]), "none" if value is None else f"{value:.3f}"
        rule = f"the token {token} was generated with log-probability {expected:.3f}"
        return f"echo is wrong: {rule} and is echoed with {shown}"
    return ""
