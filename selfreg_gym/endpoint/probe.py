"""What a server really does: tried, not read off its name.

Servers differ, and some differ silently. ``transformers serve`` takes ``logprobs``, ``echo`` and ``response_format``
and ignores them; llama.cpp gives log-probabilities of new tokens and none of the prompt; llama-cpp-python shifted those
of the prompt by one. So every capability is a small request whose answer shows it, and echoed log-probabilities must
agree with those that the server gave when it wrote the same token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from selfreg_gym.endpoint.answers import Answer, read_completions
from selfreg_gym.endpoint.connection import CHAT, COMPLETIONS, SYSTEMONE, Connection, Request
from selfreg_gym.endpoint.echo import echo_body, own_part
from selfreg_gym.endpoint.structured import FORMS, Form
from selfreg_gym.errors import EndpointError

__all__ = ["CAPABILITIES", "Capabilities", "Finding", "probe"]

CAPABILITIES = ("models", "completions", "chat", "stop", "prompt_lists", "logprobs", "echo", "structured", "systemone")
"""In the order in which they are tried; a later one may rest on an earlier one."""

_LIMITS = ("max_tokens", "max_completion_tokens")  # OpenAI's newer models refuse the first, most servers know no other
_ROUTES = ("models", "completions", "chat", "systemone")  # the others are arguments of these

# Openings after which the next token mostly begins a word, so that prompt + token is cut up as it was written.
_OPENINGS = (
    "One, two, three, four,",
    "The sky is blue and the grass is",
    "You are in a room. You can go north or south.\nAction:",
    "to be or not to",
)
_CHOICES = ("zyxgor", "qubvex")  # not written unless they are asked for
_ATTEMPTS = 6  # what fails in a way that may pass is tried so often: a wrong finding would last for a whole run
_TOLERANCE = 0.05  # nats: kernels of another batch shape differ in the third digit, a shift by one token by whole nats


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something works, and how that is known."""

    works: bool
    why: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What was found out about a server. A capability that was not tried does not work."""

    findings: dict[str, Finding]

    def works(self, name: str) -> bool:
        """Whether ``name`` (of ``CAPABILITIES``) was tried and works."""
        return name in self.findings and self.findings[name].works

    def why(self, name: str) -> str:
        """How that is known."""
        return self.findings[name].why if name in self.findings else "not tried"

    @property
    def form(self) -> Form | None:
        """The form of structured choice that the server obeys."""
        found = self.findings.get("structured")
        return next((form for form in FORMS if found is not None and found.works and form.name == found.detail), None)

    @property
    def limit(self) -> str:
        """How a chat names the longest answer."""
        return self.findings["chat"].detail if self.works("chat") else _LIMITS[0]

    def __str__(self) -> str:
        return "; ".join(f"{name}: {'yes' if f.works else 'no'} ({f.why})" for name, f in self.findings.items())


def probe(connection: Connection, wanted: Collection[str] = CAPABILITIES, *, api: str = "auto") -> Capabilities:
    """Try the ``wanted`` capabilities, and those that they rest on.

    Args:
        connection: to the server; the requests are sent anew each time.
        wanted: names of ``CAPABILITIES``.
        api: "chat" or "completions" tries only that one; "auto" both.

    Raises:
        EndpointError: the server could not be reached, which is not a finding about it.
        SetupError: it does not have the model.
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
        """Try a capability once."""
        looks = max(1, _ATTEMPTS // (1 + self.connection.server.retries))
        for look in range(looks):
            if name in self.findings:
                break
            attempt: Callable[[], Finding] = getattr(self, f"_{name}")
            try:
                self.findings[name] = self._told(attempt())
            except EndpointError as error:
                if error.status in (401, 403, 429) or (not error.reached and not self._survives(name)):
                    raise  # no server, too slow, a wrong key: not a finding about the server
                if not error.transient or look == looks - 1:
                    self.findings[name] = self._told(Finding(False, str(error)))
        return self.findings[name].works

    def _told(self, finding: Finding) -> Finding:
        """A finding that may be kept and shown, whatever the server said."""
        return replace(finding, why=self.connection.client.told(finding.why))

    def _survives(self, name: str) -> bool:
        """Whether a plain request is answered where one with an argument more broke the connection, or took too long.

        ``transformers serve`` hangs up where a stop text does not fit its tokenizer.
        """
        if name in _ROUTES or not (self.find("completions") or self.find("chat")):
            return False
        attempt = self._completions if self.find("completions") else self._chat
        try:
            return attempt().works
        except EndpointError:
            return False

    def _send(self, path: str, **body: Any) -> Any:
        [answer] = self.connection.ask([Request(path, body, remembered=False)])
        if isinstance(answer, EndpointError):
            raise answer
        return answer

    def _models(self) -> Finding:
        names = self.connection.models()
        return Finding(
            bool(names),
            f"lists {', '.join(name[:60] for name in names[:4]) or 'none'}{' ...' if len(names) > 4 else ''}",
        )

    def _completions(self) -> Finding:
        if self.api == "chat":
            return Finding(False, "not asked for: api='chat'")
        self._send(COMPLETIONS, prompt=_OPENINGS[0], max_tokens=1)
        return Finding(True, "continued a text")

    def _chat(self) -> Finding:
        if self.api == "completions":
            return Finding(False, "not asked for: api='completions'")
        messages = [{"role": "user", "content": "Say yes."}]
        try:
            self._send(CHAT, messages=messages, max_tokens=1)
        except EndpointError as error:
            if error.status != 400 or _LIMITS[1] not in str(error):
                raise
            self._send(CHAT, messages=messages, max_completion_tokens=16)
            return Finding(True, f"answered a message, and takes {_LIMITS[1]}", _LIMITS[1])
        return Finding(True, "answered a message", _LIMITS[0])

    def _stop(self) -> Finding:
        if not self.find("completions"):
            return Finding(False, "needs completions")
        self._send(COMPLETIONS, prompt=_OPENINGS[0], max_tokens=2, stop=["\n"])  # fails where words are tokens
        return Finding(True, "takes a text to stop at")

    def _prompt_lists(self) -> Finding:
        if not self.find("completions"):
            return Finding(False, "needs completions")
        if self.find("echo"):
            return self._echo_lists()
        bodies = [{"prompt": prompt, "max_tokens": 1} for prompt in _OPENINGS[:2]]
        self._send_list(bodies)
        return Finding(True, "answered two prompts in one request")

    def _echo_lists(self) -> Finding:
        """A list as the way ``echo`` sends it: texts of several lengths, one of them the beginning of another."""
        texts = [_OPENINGS[3], _OPENINGS[1], _OPENINGS[3] + " go", _OPENINGS[0]][: self.connection.server.batch]
        if len(texts) < 2:
            return Finding(False, "not needed: batch=1")
        bodies = [echo_body(text) for text in texts]
        alone = self.connection.ask([Request(COMPLETIONS, body, remembered=False) for body in bodies])
        for text, answer, single in zip(texts, self._send_list(bodies), alone, strict=True):
            if isinstance(single, EndpointError):
                raise single
            try:
                pieces, values = own_part(text, answer)
            except EndpointError:
                return Finding(False, "a list of prompts is answered in another order, or without log-probabilities")
            if not _agree((pieces, values), own_part(text, single)):
                return Finding(False, "log-probabilities of a prompt differ in a list and alone")
        return Finding(True, f"answered {len(texts)} prompts in one request, in order and as alone")

    def _send_list(self, bodies: list[dict[str, Any]]) -> list[Answer]:
        """The answers to one request with several prompts, which are not asked one by one if it fails."""
        connection = self.connection
        body = {"model": connection.model, **bodies[0], "prompt": [one["prompt"] for one in bodies]}
        answers = connection.client.post(COMPLETIONS, body, lambda data: read_completions(data, len(bodies)))
        connection.meter.count(tokens=answers[0].tokens)
        return answers

    def _logprobs(self) -> Finding:
        if not self.find("completions"):
            return Finding(False, "needs completions")
        answer = self._written(_OPENINGS[0])
        if not answer.logprobs or answer.logprobs[0] is None:
            return Finding(False, "the request is accepted and log-probabilities do not come")
        return Finding(True, "a written token comes with its log-probability")

    def _written(self, prompt: str) -> Answer:
        """One token with its log-probability; at temperature 1, where no server rescales it."""
        return self._send(COMPLETIONS, prompt=prompt, max_tokens=1, temperature=1.0, top_p=1.0, seed=0, logprobs=1)

    def _echo(self) -> Finding:
        if not self.find("logprobs"):
            return Finding(False, "needs log-probabilities")
        agreed = 0
        for prompt in _OPENINGS:
            written = self._written(prompt)
            if not written.text or len(written.pieces) != 1 or written.logprobs[0] is None:
                continue
            echoed = self._send(COMPLETIONS, **echo_body(prompt + written.text))
            problem = _disagreement(prompt + written.text, written, echoed)
            if problem == "":
                agreed += 1
            elif problem is not None:
                return Finding(False, problem)
        if not agreed:
            return Finding(False, "no written token could be found again in an echo, so its values cannot be trusted")
        return Finding(True, f"echoed and written log-probabilities agree ({agreed} of {len(_OPENINGS)} tried)")

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
                return Finding(True, f"obeys {form.name}", form.name)
            refused.append(f"{form.name} (ignored)")
        return Finding(False, f"no form is obeyed: {', '.join(refused) or 'none could be tried'}")

    def _systemone(self) -> Finding:
        question = {"type": "choice", "instructions": "Which word is red?", "criteria": {"red": None, "blue": None}}
        answers, _ = self._send(SYSTEMONE, state="red", questions={"word": question})
        found = answers.get("word", {}).get("probabilities")
        if not isinstance(found, dict) or set(found) != {"red", "blue"}:
            return Finding(False, f"no probability for each option, but {type(found).__name__}")
        return Finding(True, "gives a probability for each option")


def _agree(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether two echoes have the same pieces and the same log-probabilities."""
    pairs = [(a, b) for a, b in zip(one[1], other[1], strict=False) if a is not None and b is not None]
    return one[0] == other[0] and all(abs(a - b) <= _TOLERANCE for a, b in pairs)


def _disagreement(text: str, written: Answer, echoed: Answer) -> str | None:
    """ "" where the echo says of the written token what was said when it was written; None where it cannot be found."""
    if not echoed.text.startswith(text):
        return "echo is ignored: the prompt does not come back"
    extra = len(echoed.pieces) - 2  # before the written token and the one token more
    if extra < 1 or len(echoed.logprobs) < 3:
        return "echo gives no log-probabilities of the prompt"
    place = next((i for i in (-2, -1) if echoed.pieces[i] == written.pieces[0]), None)
    if place is None:
        return None  # cut up differently: this prompt shows nothing
    values = [value for value in echoed.logprobs[1:] if value is not None]
    if len(values) < len(echoed.logprobs) - 1:
        return "echo leaves out log-probabilities of the prompt"
    if len(set(values)) == 1:
        return f"every echoed token has the same log-probability, {values[0]:g}"
    expected, value = written.logprobs[0], echoed.logprobs[place]
    assert expected is not None
    if value is None or abs(value - expected) > _TOLERANCE:
        return (
            f"echo is not to be trusted: the token {written.pieces[0][:20]!r} was written with log-probability "
            f"{expected:.3f} and is echoed with {'none' if value is None else format(value, '.3f')}"
        )
    return ""
