"""``Connection``: many requests to one server, each asked once, at most ``concurrency`` of them at a time."""

from __future__ import annotations

import contextlib
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from selfreg_gym.endpoint.accounting import Meter
from selfreg_gym.endpoint.answers import Answer, no_answer, require_text
from selfreg_gym.endpoint.cache import AnswerCache, request_key
from selfreg_gym.endpoint.client import Client
from selfreg_gym.endpoint.formats import CHAT, COMPLETIONS, MODELS, READERS, SYSTEMONE, freeze, thaw
from selfreg_gym.endpoint.redaction import shortened, without_controls
from selfreg_gym.endpoint.server import Server, check_cache
from selfreg_gym.endpoint.thread_pool import Crew
from selfreg_gym.errors import EndpointError, SetupError, did_you_mean
from selfreg_gym.lm.memo import Memo
from selfreg_gym.utils.printable import repaired

__all__ = ["CHAT", "COMPLETIONS", "MODELS", "SYSTEMONE", "Connection", "Request"]

_REMEMBERED = 20_000
_LONGEST_NAME = 300  # characters; every manifest and report would repeat it
_NO_MODEL = re.compile(  # "The model `x` does not exist", "model 'x' not found", "unknown model: x"
    r"\b(?:no|no such|unknown|invalid|unrecognized|unsupported|missing) model\b|model_not_found"
    r"|\bmodel\b.{0,400}\b(?:not (?:found|exist|available|supported|loaded|served|known)|unknown|unavailable)\b",
    re.IGNORECASE,
)
_NOT_THE_LIST = (401, 403, 408, 429)  # refusals that single prompts would meet as well


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
        needs_text: an answer without text is an error, as if ``check`` had raised it.
    """

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    draw: int | None = None
    remembered: bool = True
    listed: bool = False
    check: Callable[[Any], Any] | None = None
    needs_text: bool = False

    def examine(self, answer: Any) -> None:
        """Raise if ``answer`` lacks what was asked for.

        Raises:
            EndpointError: there is no text, or what ``check`` raises.
        """
        if self.needs_text:
            require_text(answer, self.body.get("max_tokens", self.body.get("max_completion_tokens")))
        if self.check is not None:
            self.check(answer)


class _Live:
    """The open resources of a connection, in their own object: they can be closed after the connection is gone."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.cache: AnswerCache | None = None
        self.crew: Crew | None = None

    def close(self) -> None:
        """Close and forget all of it."""
        client, crew, cache = self.client, self.crew, self.cache
        self.client = self.crew = self.cache = None
        if client is not None:
            client.close()
        if crew is not None:
            crew.dismiss()
        if cache is not None:
            cache.close()


def _abandoned(live: _Live) -> None:
    """Close the resources of a connection that was not closed, at garbage collection or at exit."""
    with contextlib.suppress(
        Exception
    ):  # the interpreter may be shutting down, or another thread may have collected it
        live.close()


class Connection:
    """A server, what it answered, and what that cost. Made lazily, pickled without its live parts, never copied.

    Used from one thread; the requests themselves run in a pool of ``server.concurrency`` threads. What it holds open is
    closed by :meth:`close`, else when it is garbage-collected or the program ends.

    Args:
        server: where and how.
        cache: file of an :class:`AnswerCache`, or None for memory alone.
    """

    def __init__(self, server: Server, *, cache: str | Path | None = None) -> None:
        self.server = server
        self.cache_path = check_cache(cache)
        self._wake()

    def _wake(self) -> None:
        self.meter = Meter()
        self._live = _Live()
        weakref.finalize(self, _abandoned, self._live)
        self._model: str | None = self.server.model
        self._memo: Memo[Any] = Memo(_REMEMBERED)
        self._alone = False  # lists of prompts failed where single ones did not
        self._looking_up = threading.Lock()
        self._listed: list[str] | None = None

    @property
    def client(self) -> Client:
        """The client, made when first asked for."""
        if self._live.client is None:
            self._live.client = Client(self.server, self.meter)
        return self._live.client

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
                raise SetupError(
                    f"{self.server.base_url} serves {len(listed)} models ({_some(listed)}): say which one by model=."
                )
            self._model = listed[0]
        return self._model

    def models(self) -> list[str]:
        """The names that the server lists, without those that are too long or not printable.

        Raises:
            EndpointError: it lists none.
        """

        def read(data: dict[str, Any]) -> list[str]:
            entries = data.get("data")
            if not isinstance(entries, list):
                raise no_answer("a list of models without data")
            names = [entry.get("id") for entry in entries if isinstance(entry, dict)]
            texts = [name for name in names if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME]
            return [self.client.clean(name) for name in texts if name.isprintable()]

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
            together = lists and request.listed and not self._alone
            groups.setdefault(_without_prompt(request, bodies[i]) if together else key, []).append(i)
        jobs = [part for group in groups.values() for part in _cut(group, self.server.batch)]
        for part, outcome in self._send(jobs, requests, bodies):
            for i, answer in zip(part, outcome, strict=True):
                found[keys[i]] = answer
                if requests[i].remembered and not isinstance(answer, EndpointError):
                    self.remember(keys[i], freeze(answer))
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
        if self._live.crew is None:
            self._live.crew = Crew(self.server.concurrency)
        _ = self.client  # made here, not in a thread
        tasks = [partial(self._answers, [requests[i] for i in part], [bodies[i] for i in part]) for part in jobs]
        try:
            for place, answers in self._live.crew.work(tasks):
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
            found = READERS[path](data, len(bodies))
            for request, answer in zip(requests, found, strict=True):
                request.examine(answer)
            return found

        try:
            answers = self.client.post(path, body, read)
        except EndpointError as error:
            if len(bodies) > 1 and error.reached and error.status not in _NOT_THE_LIST:
                return self._one_by_one(requests, bodies)
            self._explain(error)
            return [error] * len(bodies)
        if path != SYSTEMONE:
            answers = [_without_key(answer, self.client) for answer in answers]
        spent = [answer.tokens for answer in answers if isinstance(answer, Answer) and answer.tokens is not None]
        for tokens in spent:
            self.meter.count(tokens=tokens)
        if path == SYSTEMONE:
            self.meter.count(tokens=answers[0][1])
        return answers

    def _one_by_one(self, requests: Sequence[Request], bodies: Sequence[dict[str, Any]]) -> list[Any]:
        """Single requests in place of a list that was refused or wrongly answered; lists are not used again then."""
        answers = [self._answers([request], [body])[0] for request, body in zip(requests, bodies, strict=True)]
        self._alone = self._alone or any(not isinstance(answer, EndpointError) for answer in answers)
        return answers

    def _explain(self, error: EndpointError) -> None:
        """Raise if the reason of a refusal is a model that the server does not have.

        Raises:
            SetupError: it says so, and does not list the model.
        """
        name = self._model or ""
        if not name or error.status is None or error.status in _NOT_THE_LIST or not _NO_MODEL.search(str(error)):
            return
        with self._looking_up:
            if self._listed is None:
                try:
                    self._listed = self.models()
                except EndpointError:
                    self._listed = []
        if self._listed and name not in self._listed:
            raise SetupError(
                f"{self.server.base_url} has no model {shortened(name, 120)!r}.{did_you_mean(name, self._listed)} "
                f"It has: {_some(self._listed)}. Give one of them as model=."
            )

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
            answer = thaw(request.path, known)
            request.examine(answer)
        except (EndpointError, LookupError, TypeError, ValueError, OverflowError):  # an older or edited file
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
        if self._live.cache is None:
            assert self.cache_path is not None
            self._live.cache = AnswerCache(self.cache_path)
        return self._live.cache

    def close(self) -> None:
        """Give up what is under way and close what is open; the next request opens it again."""
        self._live.close()

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


def _clean(value: Any) -> Any:
    """Texts without lone surrogates, which no JSON can carry, everywhere in a body."""
    if isinstance(value, str):
        return repaired(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _without_prompt(request: Request, body: dict[str, Any]) -> bytes:
    return request_key(request.path, {name: value for name, value in body.items() if name != "prompt"}, request.draw)


def _cut(group: list[int], size: int) -> list[list[int]]:
    return [group[at : at + size] for at in range(0, len(group), size)]


def _some(names: Sequence[str]) -> str:
    """The first names of a list, for an error."""
    shown = ", ".join(shortened(without_controls(name), 80) for name in names[:8])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 8 else shown or "none listed"


def _without_key(answer: Answer, client: Client) -> Answer:
    """The answer with the key removed, which a server may repeat: it must not come into a store."""
    text = client.clean(answer.text)
    if text == answer.text:
        return answer
    return replace(answer, text=text, pieces=tuple(map(client.clean, answer.pieces)))
