"""``Connection``: requests to one server, in parallel, cached and counted."""

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
from selfreg_gym.endpoint.formats import CHAT, COMPLETIONS, MODELS, READERS, SYSTEMONE, from_json, to_json
from selfreg_gym.endpoint.redaction import shortened, without_controls
from selfreg_gym.endpoint.server import Server, check_cache
from selfreg_gym.endpoint.thread_pool import ThreadPool
from selfreg_gym.errors import EndpointError, SetupError, did_you_mean
from selfreg_gym.lm.memo import Memo
from selfreg_gym.utils.printable import repaired
from selfreg_gym.utils.time_limit import Interrupted

__all__ = ["CHAT", "COMPLETIONS", "MODELS", "SYSTEMONE", "Connection", "Request"]

_MEMO_SIZE = 20_000  # answers
_LONGEST_NAME = 300  # characters of a model's name, which manifests and reports repeat
_MODEL_MISSING = re.compile(  # "The model `x` does not exist", "model 'x' not found", "unknown model: x"
    r"\b(?:no|no such|unknown|invalid|unrecognized|unsupported|missing) model\b|model_not_found"
    r"|\bmodel\b.{0,400}\b(?:not (?:found|exist|available|supported|loaded|served|known)|unknown|unavailable)\b",
    re.IGNORECASE,
)
_NOT_ABOUT_LISTS = (401, 403, 408, 429)  # HTTP statuses that are not caused by the list of prompts


@dataclass(frozen=True, slots=True)
class Request:
    """One request, without ``model``, which the connection adds.

    Attributes:
        path: ``CHAT``, ``COMPLETIONS`` or ``SYSTEMONE``.
        body: JSON values. A prompt of ``COMPLETIONS`` is one text.
        draw: number of the draw if the answer is random: requests with different draws are independent. None if the
            answer is deterministic.
        cached: whether the answer is kept in memory and in the cache.
        batchable: may be sent in one list with requests that differ in the prompt only. The server counts the tokens of
            a list together.
        check: validates an answer, new or cached: it raises an EndpointError, and the request is retried if the error
            is transient.
        needs_text: an answer without text is an error.
    """

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    draw: int | None = None
    cached: bool = True
    batchable: bool = False
    check: Callable[[Any], Any] | None = None
    needs_text: bool = False

    def validate(self, answer: Any) -> None:
        """Raise if ``answer`` is incomplete.

        Raises:
            EndpointError: no text (if ``needs_text``), or the error of ``check``.
        """
        if self.needs_text:
            require_text(answer, self.body.get("max_tokens", self.body.get("max_completion_tokens")))
        if self.check is not None:
            self.check(answer)


class _Resources:
    """The open resources of a connection, in a separate object, to be closed after its garbage collection."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.cache: AnswerCache | None = None
        self.pool: ThreadPool | None = None

    def close(self) -> None:
        """Close all of them."""
        resources = self.client, self.pool, self.cache
        self.client = self.pool = self.cache = None
        for resource in resources:
            if resource is not None:
                resource.close()


def _finalize(resources: _Resources) -> None:
    """Close the resources of a connection at its garbage collection or at exit."""
    with contextlib.suppress(Exception):  # the interpreter may be shutting down
        resources.close()


class Connection:
    """A server, its answers and their cost. Opened lazily, pickled without its open resources, never copied.

    It is used from one thread at a time; the requests run in a pool of ``server.concurrency`` threads. Its resources
    are closed by :meth:`close`, else at its garbage collection or at the end of the program.

    Args:
        server: address, time limits and prices.
        cache: file of an :class:`AnswerCache`; None keeps answers in memory only.

    Raises:
        InvalidArgumentError: ``cache`` is not a path.
    """

    def __init__(self, server: Server, *, cache: str | Path | None = None) -> None:
        self.server = server
        self.cache_path = check_cache(cache)
        self._start()

    def _start(self) -> None:
        self.meter = Meter()
        self._resources = _Resources()
        weakref.finalize(self, _finalize, self._resources)
        self._model: str | None = self.server.model
        self._memo: Memo[Any] = Memo(_MEMO_SIZE)
        self._lists_refused = False
        self._models_lock = threading.Lock()
        self._model_names: list[str] | None = None

    @property
    def client(self) -> Client:
        """The client, opened at the first access."""
        if self._resources.client is None:
            self._resources.client = Client(self.server, self.meter)
        return self._resources.client

    @property
    def model(self) -> str:
        """Name of the model; if none was given, the only one that the server lists.

        Raises:
            EndpointError: the request failed.
            SetupError: the server lists no model, or several.
        """
        if self._model is None:
            names = self.models()
            if len(names) != 1:
                raise SetupError(
                    f"{self.server.base_url} serves {len(names)} models ({_shown_names(names)}): choose one by model=."
                )
            self._model = names[0]
        return self._model

    def models(self) -> list[str]:
        """The model names that the server lists, without those that are too long or not printable.

        Raises:
            EndpointError: the server lists no models.
        """

        def read(data: dict[str, Any]) -> list[str]:
            entries = data.get("data")
            if not isinstance(entries, list):
                raise no_answer("the list of models has no data")
            names = [entry.get("id") for entry in entries if isinstance(entry, dict)]
            texts = [name for name in names if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME]
            return [self.client.redaction.clean(name) for name in texts if name.isprintable()]

        return self.client.send(MODELS, None, read)

    def ask(self, requests: Sequence[Request], *, lists: bool = False) -> list[Any]:
        """Answers of N requests, in order. Equal requests are sent once, and cached ones not at all.

        Args:
            requests: N requests.
            lists: whether the server takes several prompts in one request, for ``Request.batchable``.

        Returns:
            N answers: :class:`Answer`, for ``SYSTEMONE`` the pair (answers, tokens), or an EndpointError.
        """
        model = self.model
        bodies = [_clean({"model": model, **request.body}) for request in requests]
        keys = [request_key(r.path, body, r.draw) for r, body in zip(requests, bodies, strict=True)]
        found: dict[bytes, Any] = {}
        groups: dict[bytes, list[int]] = {}
        for i, (request, key) in enumerate(zip(requests, keys, strict=True)):
            if key in found:
                continue
            found[key] = self._cached(request, key) if request.cached else None
            if found[key] is not None:
                continue
            if lists and request.batchable and not self._lists_refused:
                rest = {name: value for name, value in bodies[i].items() if name != "prompt"}
                key = request_key(request.path, rest, request.draw)
            groups.setdefault(key, []).append(i)
        size = self.server.batch
        jobs = [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]
        for part, outcome in self._send(jobs, requests, bodies):
            for i, answer in zip(part, outcome, strict=True):
                found[keys[i]] = answer
                if requests[i].cached and not isinstance(answer, EndpointError):
                    self.store(keys[i], to_json(answer))
        return [found[key] for key in keys]

    def _send(
        self, jobs: Sequence[Sequence[int]], requests: Sequence[Request], bodies: Sequence[dict[str, Any]]
    ) -> Any:
        """Yield ``(indices, answers)`` of each job (indices of one HTTP request), in the order of completion."""
        if len(jobs) == 1:  # the most frequent case needs no thread
            yield jobs[0], self._answers([requests[i] for i in jobs[0]], [bodies[i] for i in jobs[0]])
            return
        if not jobs:
            return
        if self._resources.pool is None:
            self._resources.pool = ThreadPool(self.server.concurrency)
        _ = self.client  # opened here, not in a thread
        tasks = [partial(self._answers, [requests[i] for i in part], [bodies[i] for i in part]) for part in jobs]
        try:
            for index, answers in self._resources.pool.run(tasks):
                yield jobs[index], answers
        except Interrupted:
            raise  # the next call uses the open resources
        except BaseException:
            self.close()  # after Ctrl-C nothing waits for the server
            raise

    def _answers(self, requests: Sequence[Request], bodies: Sequence[dict[str, Any]]) -> list[Any]:
        """Answers of one HTTP request, for one request or a list of prompts."""
        path, body = requests[0].path, bodies[0]
        if len(bodies) > 1:
            body = {**body, "prompt": [one["prompt"] for one in bodies]}

        def read(data: dict[str, Any]) -> list[Any]:
            found = READERS[path](data, len(bodies))
            for request, answer in zip(requests, found, strict=True):
                request.validate(answer)
            return found

        try:
            answers = self.client.send(path, body, read)
        except EndpointError as error:
            if len(bodies) > 1 and error.reached and error.status not in _NOT_ABOUT_LISTS:
                # Single requests; if one succeeds, lists are not used again.
                answers = [self._answers([request], [body])[0] for request, body in zip(requests, bodies, strict=True)]
                self._lists_refused |= any(not isinstance(answer, EndpointError) for answer in answers)
                return answers
            self._raise_if_model_is_missing(error)
            return [error] * len(bodies)
        if path == SYSTEMONE:
            self.meter.count(tokens=answers[0][1])
            return answers
        answers = [_redacted(answer, self.client) for answer in answers]
        for answer in answers:
            self.meter.count(tokens=answer.tokens)
        return answers

    def _raise_if_model_is_missing(self, error: EndpointError) -> None:
        """Raise SetupError if the message is about a missing model and the server does not list the model."""
        name = self._model or ""
        relevant = error.status is not None and error.status not in _NOT_ABOUT_LISTS
        if not name or not relevant or not _MODEL_MISSING.search(str(error)):
            return
        with self._models_lock:
            if self._model_names is None:
                try:
                    self._model_names = self.models()
                except EndpointError:
                    self._model_names = []
        if self._model_names and name not in self._model_names:
            raise SetupError(
                f"{self.server.base_url} has no model {shortened(name, 120)!r}.{did_you_mean(name, self._model_names)} "
                f"It has: {_shown_names(self._model_names)}. Choose one of them by model=."
            )

    def load(self, key: bytes) -> Any:
        """The JSON value stored under ``key``, or None."""
        value = self._memo.get(key)
        if value is None and self.cache_path is not None:
            value = self._file().get(key)
            if value is not None:
                self._memo.put(key, value)
        if value is not None:
            self.meter.count(cached=1)
        return value

    def _cached(self, request: Request, key: bytes) -> Any:
        """The stored answer, or None. An invalid one is deleted, so that the request is sent again."""
        value = self.load(key)
        if value is None:
            return None
        try:
            answer = from_json(request.path, value)
            request.validate(answer)
        except (EndpointError, LookupError, TypeError, ValueError, OverflowError):  # an older or edited file
            self.delete(key)
            return None
        return answer

    def delete(self, key: bytes) -> None:
        """Delete the value stored under ``key``."""
        self._memo.drop(key)
        if self.cache_path is not None:
            self._file().drop(key)

    def store(self, key: bytes, value: Any) -> None:
        """Store a JSON value under ``key``, in memory and in the cache."""
        self._memo.put(key, value)
        if self.cache_path is not None:
            self._file().put(key, value)

    def _file(self) -> AnswerCache:
        if self._resources.cache is None:
            assert self.cache_path is not None
            self._resources.cache = AnswerCache(self.cache_path)
        return self._resources.cache

    def close(self) -> None:
        """End the requests in progress and close all resources; the next request opens them again."""
        self._resources.close()

    def usage(self) -> dict[str, int | float]:
        """Requests, tokens and cost of this connection (:meth:`Meter.totals`)."""
        return self.meter.totals(self.server)

    def __getstate__(self) -> dict[str, Any]:
        return {"server": self.server, "cache_path": self.cache_path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.server, self.cache_path = state["server"], state["cache_path"]
        self._start()

    def __deepcopy__(self, memo: dict[int, Any]) -> Connection:
        return self

    def __repr__(self) -> str:
        return f"Connection({self.server.base_url!r}, model={self._model!r})"


def _clean(value: Any) -> Any:
    """A request body without lone surrogates, which JSON cannot represent."""
    if isinstance(value, str):
        return repaired(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _shown_names(names: Sequence[str]) -> str:
    """The first names, for an error."""
    shown = ", ".join(shortened(without_controls(name), 80) for name in names[:8])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 8 else shown or "none listed"


def _redacted(answer: Answer, client: Client) -> Answer:
    """The answer without the key, which a server may repeat and which must not be stored."""
    text = client.redaction.clean(answer.text)
    if text == answer.text:
        return answer
    return replace(answer, text=text, pieces=tuple(map(client.redaction.clean, answer.pieces)))
