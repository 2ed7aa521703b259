"""``Connection``: many requests to one server, each asked once, at most ``concurrency`` of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from selfreg_gym.endpoint.accounting import Meter, Tokens
from selfreg_gym.endpoint.answers import Answer, no_answer, read_chat, read_completions, readable
from selfreg_gym.endpoint.cache import AnswerCache, request_key
from selfreg_gym.endpoint.client import Client
from selfreg_gym.endpoint.crew import Crew
from selfreg_gym.endpoint.server import Server
from selfreg_gym.errors import EndpointError, SetupError
from selfreg_gym.lm.memo import Memo

__all__ = ["Connection", "Request"]

_REMEMBERED = 20_000
_LONGEST_NAME = 300  # characters; every manifest and report would repeat it
CHAT, COMPLETIONS, MODELS, SYSTEMONE = "/chat/completions", "/completions", "/models", "/systemone"


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the server; everything but ``model``, which the connection adds.

    Attributes:
        path: ``CHAT``, ``COMPLETIONS`` or ``SYSTEMONE``.
        body: plain JSON values. A prompt of ``COMPLETIONS`` is one text.
        draw: the number of the draw where the answer is random: requests that differ in it alone are independent. None
            where the answer is the same each time.
        remembered: whether the answer is kept in memory and in the cache.
        listed: may share one request with others that differ in the prompt alone. For answers that carry their own
            count of tokens; a server counts those of a list together.
        check: called with the answer as it arrives, and with one that is remembered; where it raises an EndpointError
            that may pass (what was asked for is missing), the server is asked again.
    """

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    draw: int | None = None
    remembered: bool = True
    listed: bool = False
    check: Callable[[Any], Any] | None = None


class Connection:
    """A server, what it answered, and what that cost. Made lazily, pickled without its live parts, never copied.

    Used from one thread; the requests themselves run in a pool of ``server.concurrency`` threads.

    Args:
        server: where and how.
        cache: file of an :class:`AnswerCache`, or None for memory alone.
    """

    def __init__(self, server: Server, *, cache: str | Path | None = None) -> None:
        self.server = server
        self.cache_path = None if cache is None else Path(cache)
        self._wake()

    def _wake(self) -> None:
        self.meter = Meter()
        self._client: Client | None = None
        self._cache: AnswerCache | None = None
        self._crew: Crew | None = None
        self._model: str | None = self.server.model
        self._memo: Memo[Any] = Memo(_REMEMBERED)

    @property
    def client(self) -> Client:
        """The client, made when first asked for."""
        if self._client is None:
            self._client = Client(self.server, self.meter)
        return self._client

    @property
    def model(self) -> str:
        """The model's name; the only one that the server lists if none was given.

        Raises:
            EndpointError: the server cannot be asked.
            SetupError: it lists none or several.
        """
        if self._model is None:
            listed = self.models()
            if len(listed) != 1:
                shown = ", ".join(name[:80] for name in listed[:8]) or "none listed"
                raise SetupError(
                    f"{self.server.base_url} serves {len(listed)} models ({shown}): say which one by model=."
                )
            self._model = listed[0]
        return self._model

    def models(self) -> list[str]:
        """The names that the server lists, but for those too long to be one.

        Raises:
            EndpointError: it lists none.
        """

        def read(data: dict[str, Any]) -> list[str]:
            entries = data.get("data")
            if not isinstance(entries, list):
                raise no_answer("a list of models without data")
            names = [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]
            return [self.client.clean(readable(name)) for name in names if 0 < len(name) <= _LONGEST_NAME]

        return self.client.get(MODELS, read)

    # ------------------------------------------------------------------ asking

    def ask(self, requests: Sequence[Request], *, lists: bool = False) -> list[Any]:
        """Answer every request, in order.

        The same request is sent once, and not at all if its answer is remembered.

        Args:
            requests: what to ask.
            lists: whether the server takes several prompts in one request; used for ``Request.listed``.

        Returns:
            For each an :class:`Answer` (for ``SYSTEMONE`` the parsed ``answers``), or the EndpointError it ended in.
        """
        model = self.model
        bodies = [_clean({"model": model, **request.body}) for request in requests]
        keys = [request_key(r.path, body, r.draw) for r, body in zip(requests, bodies, strict=True)]
        found: dict[bytes, Any] = {}
        groups: dict[bytes, list[int]] = {}
        for i, (request, key) in enumerate(zip(requests, keys, strict=True)):
            if key in found:
                continue
            found[key] = self._known(request, key) if request.remembered else None
            if found[key] is not None:
                continue
            together = lists and request.listed
            groups.setdefault(_without_prompt(request, bodies[i]) if together else key, []).append(i)
        jobs = [part for group in groups.values() for part in _cut(group, self.server.batch)]
        for part, outcome in self._send(jobs, requests, bodies):
            for i, answer in zip(part, outcome, strict=True):
                found[keys[i]] = answer
                if requests[i].remembered and not isinstance(answer, EndpointError):
                    self.remember(keys[i], _freeze(answer))
        return [found[key] for key in keys]

    def _send(
        self, jobs: Sequence[Sequence[int]], requests: Sequence[Request], bodies: Sequence[dict[str, Any]]
    ) -> Any:
        """Yield ``(indices, answers)`` of each job as it ends."""
        if len(jobs) == 1:  # no thread for the commonest case
            yield jobs[0], self._answers([requests[i] for i in jobs[0]], [bodies[i] for i in jobs[0]])
            return
        if not jobs:
            return
        if self._crew is None:
            self._crew = Crew(self.server.concurrency)
        _ = self.client  # made here, not in a thread
        tasks = [partial(self._answers, [requests[i] for i in part], [bodies[i] for i in part]) for part in jobs]
        try:
            for place, answers in self._crew.work(tasks):
                yield jobs[place], answers
        except BaseException:
            self.close()  # Ctrl-C: nothing waits for the server any longer
            raise

    def _answers(self, requests: Sequence[Request], bodies: Sequence[dict[str, Any]]) -> list[Any]:
        """One request over the wire, for one question or for several prompts."""
        path, body = requests[0].path, bodies[0]
        if len(bodies) > 1:
            body = {**body, "prompt": [one["prompt"] for one in bodies]}

        def read(data: dict[str, Any]) -> list[Any]:
            found = _READERS[path](data, len(bodies))
            for request, answer in zip(requests, found, strict=True):
                if request.check is not None:
                    request.check(answer)
            return found

        try:
            answers = self.client.post(path, body, read)
        except EndpointError as error:
            return [error] * len(bodies)
        if path != SYSTEMONE:
            answers = [_without_key(answer, self.client) for answer in answers]
        spent = [answer.tokens for answer in answers if isinstance(answer, Answer) and answer.tokens is not None]
        for tokens in spent:
            self.meter.count(tokens=tokens)
        if path == SYSTEMONE:
            self.meter.count(tokens=answers[0][1])
        return answers

    # ------------------------------------------------------------------ remembering

    def recall(self, key: bytes) -> Any:
        """Plain JSON that was remembered under ``key``, or None."""
        known = self._memo.get(key)
        if known is None and self.cache_path is not None:
            known = self._file().get(key)
            if known is not None:
                self._memo.put(key, known)
        if known is not None:
            self.meter.count(remembered=1)
        return known

    def _known(self, request: Request, key: bytes) -> Any:
        """The remembered answer, or None. One that does not pass the check is forgotten, so that it is asked anew."""
        known = self.recall(key)
        if known is None:
            return None
        try:
            answer = _thaw(request.path, known)
            if request.check is not None:
                request.check(answer)
        except (EndpointError, LookupError, TypeError):  # a file of an earlier version, or written by hand
            self.forget(key)
            return None
        return answer

    def forget(self, key: bytes) -> None:
        """Keep nothing under ``key`` any longer."""
        self._memo.drop(key)
        if self.cache_path is not None:
            self._file().drop(key)

    def remember(self, key: bytes, value: Any) -> None:
        """Keep plain JSON under ``key``, in memory and in the cache."""
        self._memo.put(key, value)
        if self.cache_path is not None:
            self._file().put(key, value)

    def _file(self) -> AnswerCache:
        if self._cache is None:
            assert self.cache_path is not None
            self._cache = AnswerCache(self.cache_path)
        return self._cache

    def close(self) -> None:
        """Give up what is under way and close what is open; the next request opens it again."""
        if self._client is not None:
            self._client.close()
        if self._crew is not None:
            self._crew.dismiss()
        if self._cache is not None:
            self._cache.close()
        self._client = self._crew = self._cache = None

    def usage(self) -> dict[str, int | float]:
        """What was really sent and spent: requests, tokens, price (:class:`Meter`)."""
        return self.meter.totals(self.server)

    def __getstate__(self) -> dict[str, Any]:
        return {"server": self.server, "cache_path": self.cache_path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.server, self.cache_path = state["server"], state["cache_path"]
        self._wake()

    def __deepcopy__(self, memo: dict[int, Any]) -> Connection:
        return self

    def __repr__(self) -> str:
        return f"Connection({self.server.base_url!r}, model={self._model!r})"


def _read_systemone(data: dict[str, Any], count: int) -> list[Any]:
    answers = data.get("answers")
    if not isinstance(answers, dict) or not all(isinstance(answer, dict) for answer in answers.values()):
        raise no_answer("no answers")
    # Numbers under names that we gave, and nothing else that the server may say.
    kept = {
        name: {part: answer[part] for part in ("noul", "score", "probabilities") if part in answer}
        for name, answer in answers.items()
    }
    usage = data.get("usage")
    counts = [usage.get(name, 0) if isinstance(usage, dict) else 0 for name in ("input_tokens", "output_tokens")]
    tokens = Tokens(*(n if isinstance(n, int) and n >= 0 else 0 for n in counts))
    return [(kept, tokens)]


_READERS: dict[str, Callable[[dict[str, Any], int], list[Any]]] = {
    COMPLETIONS: read_completions,
    CHAT: lambda data, count: [read_chat(data)],
    SYSTEMONE: _read_systemone,
}


def _clean(value: Any) -> Any:
    """Texts without lone surrogates, which no JSON can carry, everywhere in a body."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not value.isascii() else value
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _without_prompt(request: Request, body: dict[str, Any]) -> bytes:
    return request_key(request.path, {name: value for name, value in body.items() if name != "prompt"}, request.draw)


def _cut(group: list[int], size: int) -> list[list[int]]:
    return [group[at : at + size] for at in range(0, len(group), size)]


def _without_key(answer: Answer, client: Client) -> Answer:
    """A server that repeats the key in its answer must not bring it into a store."""
    text = client.clean(answer.text)
    if text == answer.text:
        return answer
    return Answer(text, answer.tokens, tuple(map(client.clean, answer.pieces)), answer.logprobs)


def _freeze(answer: Any) -> Any:
    """An answer as plain JSON."""
    if isinstance(answer, Answer):
        return asdict(answer)
    answers, tokens = answer
    return [answers, asdict(tokens)]


def _thaw(path: str, value: Any) -> Any:
    if path == SYSTEMONE:
        return value[0], Tokens(**value[1])
    tokens = None if value["tokens"] is None else Tokens(**value["tokens"])
    return Answer(readable(value["text"]), tokens, tuple(value["pieces"]), tuple(value["logprobs"]))
