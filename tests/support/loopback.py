"""An OpenAI-compatible server on loopback for the tests, with selectable capabilities and faults.

Its texts are a deterministic function of the request (``Rule``), or come from a real tiny Llama (``Llama``).
"""

from __future__ import annotations

import itertools
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback_models import Llama, Rule, number

__all__ = ["FAULTS", "LACKING", "LASTING", "SILENT", "TGI", "Llama", "Loopback", "Rule", "random_faults"]

LACKING = ("no logprobs", "half the logprobs", "no probabilities")
SILENT = ("abort", "error in choice", "error in body", "null text", "tool calls", "no text", "odd reason")
"""Transient responses with HTTP 200 and without an answer."""
LASTING = ("filter", "filter results", "refusal", "cut", "html", "redirect")
"""Responses that are not retried."""
FAULTS = (
    *("429", "429 date", "500", "html error", "reset", "hang", "truncated", "malformed", "empty", "null", "drip"),
    *("slow headers", "stream", "bad gzip", *SILENT),
)
"""Transient faults."""
EVERYTHING = ("models", "completions", "chat", "lists", "logprobs", "echo", "structured", "systemone")


class Loopback:
    """The server, which runs until ``close``.

    Args:
        can: its capabilities; requests for others are ignored (``refuses=False``) or get HTTP 400.
        brain: the model.
        fault: called with (number of the request, path); returns one of ``FAULTS``, ``LASTING``, ``LACKING`` or None.
        odd: a defect of the answers: "shifted" or "constant" log-probabilities, "giant", "control", "leak" (the key).
        key: the required key, or None.
    """

    def __init__(
        self,
        *,
        can: tuple[str, ...] = EVERYTHING,
        brain: Any = None,
        fault: Callable[[int, str], str | None] | None = None,
        odd: str = "",
        refuses: bool = False,
        key: str | None = None,
        forms: tuple[str, ...] = ("structured_outputs",),
        hang: float = 3.0,
        retry_after: str = "0",
    ) -> None:
        self.can, self.brain, self.fault, self.odd, self.refuses = set(can), brain or Rule(), fault, odd, refuses
        self.key, self.forms, self.hang, self.retry_after = key, forms, hang, retry_after
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        loopback = self

        class Handler(_Handler):
            server_of_tests = loopback

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def count(self, path: str) -> int:
        return sum(1 for seen, _ in self.requests if seen.endswith(path))

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON of a request without a fault."""
        if path.endswith("/models") and "models" in self.can:
            return 200, {"object": "list", "data": [{"id": "rule", "object": "model"}]}
        if body.get("model") != "rule":
            return 404, {"error": {"message": f"no model {body.get('model')!r}"}}
        for name, routes in (
            ("completions", "/v1/completions"),
            ("chat", "/chat/completions"),
            ("systemone", "/systemone"),
        ):
            if path.endswith(routes) and name in self.can:
                return getattr(self, f"_{name}")(body)
        return 404, {"detail": "Not Found"}

    def _refused(self, body: dict[str, Any]) -> bool:
        lacking = {"logprobs": "logprobs", "echo": "echo", **dict.fromkeys(_FORMS, "structured")}
        known = {"response_format" if form == TGI else form for form in self.forms}
        return self.refuses and any(
            name in body and (need not in self.can or (need == "structured" and name not in known))
            for name, need in lacking.items()
        )

    def _completions(self, body: dict[str, Any]) -> tuple[int, Any]:
        prompts = body["prompt"]
        if isinstance(prompts, list) and "lists" not in self.can:
            return 400, {"detail": "prompt must be a string."}
        if self._refused(body):
            return 422, {"detail": "Unexpected fields in the request"}
        choices, read, written = [], 0, 0
        for index, prompt in enumerate(prompts if isinstance(prompts, list) else [prompts]):
            text = self._write(prompt, body)
            pieces, new = self.brain.pieces(prompt), len(self.brain.pieces(text))
            read, written = read + len(pieces), written + new
            choice: dict[str, Any] = {"index": index, "text": text, "logprobs": None, "finish_reason": "length"}
            echo = bool(body.get("echo")) and "echo" in self.can
            if echo:
                choice["text"] = prompt + text
            if body.get("logprobs") and "logprobs" in self.can:
                all_pieces = self.brain.pieces(prompt + text)[: len(pieces) + new]
                values = self.brain.values(all_pieces)
                if self.odd == "shifted" and echo:
                    values = [None, *values[2:], -1.0]
                if self.odd == "constant":
                    values = [None] + [0.0] * (len(values) - 1)
                begin = 0 if echo else len(pieces)
                choice["logprobs"] = {"tokens": all_pieces[begin:], "token_logprobs": values[begin:]}
            choices.append(choice)
        choices.reverse()  # clients must read the index
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return 200, {"object": "text_completion", "model": "rule", "choices": choices, "usage": usage}

    def _chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        if self._refused(body):
            return 400, {"error": {"message": "unknown field", "type": "invalid_request_error"}}
        if self.odd == "new limit" and "max_tokens" in body:
            return 400, {"error": {"message": "'max_tokens' is not supported. Use 'max_completion_tokens' instead."}}
        prompt = "\n".join(message["content"] for message in body["messages"])
        text = self._write(prompt, body).strip()
        read, written = len(self.brain.pieces(prompt)), len(self.brain.pieces(text))
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    def _write(self, prompt: str, body: dict[str, Any]) -> str:
        sample = body.get("seed") if body.get("temperature", 1) > 0 else None
        for form in self.forms if "structured" in self.can else ():
            choices = _choices(form, body)
            if choices:
                chosen = choices[int(len(choices) * number(prompt, sample))]
                return json.dumps({"action": chosen}) if form in ("response_format", TGI) else chosen
        if self.odd == "giant" and body.get("max_tokens", 1) > 1:
            return "Reasoning: " + "so it goes " * 100_000 + "\nAction: heads"
        if self.odd == "control" and body.get("max_tokens", 1) > 1:
            return "\x00\x07\x1b[31m\u202e идти на север \ud83d 北へ行け \u0000"
        if self.odd == "leak" and body.get("max_tokens", 1) > 1:
            return f"your key is {self.key}"
        return self.brain.write(prompt, sample=sample, max_tokens=body.get("max_tokens", 16))

    def _systemone(self, body: dict[str, Any]) -> tuple[int, Any]:
        answers = {}
        for name, question in body["questions"].items():
            kind = question["type"]
            options = ["true", "false"] if kind == "noul" else list(question["criteria"])
            if len(options) > 26:
                return 422, {"detail": "at most 26 options"}
            values = self.brain.decide(json.dumps(body["state"]), question, options)
            answers[name] = {
                "noul": {"type": kind, "noul": values[0]},
                "choice": {"type": kind, "choice": "?", "probabilities": dict(zip(options, values, strict=True))},
                "score": {"type": kind, "score": sum(i * v for i, v in enumerate(values))},
            }[kind]
        return 200, {"model": "rule", "answers": answers, "usage": {"input_tokens": 7, "output_tokens": 0}}


TGI = "TGI's response_format"
_FORMS = ("structured_outputs", "guided_choice", "response_format", "grammar", "regex")


def _choices(form: str, body: dict[str, Any]) -> list[str]:
    found = body.get("response_format" if form == TGI else form)
    if not found:
        return []
    if form == TGI:
        return found.get("value", {"properties": {"action": {"enum": []}}})["properties"]["action"]["enum"]
    if form == "structured_outputs":
        return found["choice"]
    if form == "guided_choice":
        return found
    if form == "response_format":
        return found["json_schema"]["schema"]["properties"]["action"]["enum"] if "json_schema" in found else []
    if form == "grammar":
        return [json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', found)]
    return [re.sub(r"\\(.)", r"\1", text) for text in re.split(r"(?<!\\)\|", found[1:-1])]


def random_faults(share: float, *, seed: int = 0, kinds: tuple[str, ...] = FAULTS) -> Callable[[int, str], str | None]:
    """Faults in a random ``share`` of the requests, of each kind in turn."""
    generator, turns = random.Random(seed), itertools.cycle(kinds)
    lock = threading.Lock()

    def fault(count: int, path: str) -> str | None:
        with lock:
            return next(turns) if generator.random() < share else None

    return fault


def without_answer(value: dict[str, Any], fault: str) -> dict[str, Any]:
    """A response without an answer, of one of the kinds in ``SILENT`` or ``LASTING``."""
    problem = {"code": 502, "message": "provider failed"}
    if fault == "error in body" or "choices" not in value:
        return {"error": problem}
    for choice in value["choices"]:
        message = choice.get("message", choice)
        name = "content" if "message" in choice else "text"
        reason = {"abort": "abort", "filter": "content_filter", "odd reason": "out_of_luck", "cut": "length"}
        choice["finish_reason"] = reason.get(fault, "tool_calls" if fault == "tool calls" else "stop")
        if fault == "error in choice":
            choice["error"] = problem
        elif fault == "filter results":
            choice["content_filter_results"] = {"violence": {"filtered": True, "severity": "high"}}
        elif fault == "refusal":
            choice["finish_reason"] = "stop" if "message" in choice else "refusal"
            message |= {name: None, "refusal": "I cannot help with that."}
        elif fault in ("null text", "tool calls"):
            message[name] = None
        elif fault in ("no text", "cut"):
            message[name] = ""
        if fault == "tool calls" and "message" in choice:
            message["tool_calls"] = [{"type": "function", "function": {"name": "act", "arguments": "{}"}}]
    return value


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_tests: Loopback

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
        self._handle(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _handle(self, body: dict[str, Any]) -> None:
        server = self.server_of_tests
        with server.lock:
            server.requests.append((self.path, body))
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            fault = server.fault(len(server.requests), self.path) if server.fault else None
            server.faults[fault or "none"] += 1
        try:
            if server.key is not None and self.headers.get("Authorization") != f"Bearer {server.key}":
                sent = self.headers.get("Authorization")
                self._json(401, {"error": {"message": f"Incorrect API key provided: {sent}"}})
            elif fault is None:
                self._json(*server.answer(self.path, body))
            else:
                self._fail(fault, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with server.lock:
                server.at_once -= 1

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._raw(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _raw(self, status: int, data: bytes, headers: dict[str, str], *, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def _fail(self, fault: str, body: dict[str, Any]) -> None:
        server = self.server_of_tests
        if fault in LACKING:
            status, value = server.answer(self.path, body)
            for choice in value.get("choices", []):
                if fault == "half the logprobs" and choice["logprobs"]:
                    choice["logprobs"]["token_logprobs"] = [None] * len(choice["logprobs"]["tokens"])
                elif fault == "no logprobs":
                    choice["logprobs"] = None
            for answer in value.get("answers", {}).values():
                answer.pop("probabilities" if "probabilities" in answer else "noul", None)
            self._json(status, value)
            return
        if fault in SILENT or fault in LASTING[:4]:
            status, value = server.answer(self.path, body)
            self._json(status, without_answer(value, fault))
            return
        whole = json.dumps(server.answer(self.path, body)[1]).encode()
        plain = {"Content-Type": "application/json"}
        if fault == "429":
            self._json(429, {"error": {"message": "slow down"}}, {"Retry-After": server.retry_after})
        elif fault == "429 date":
            when = format_datetime(datetime.now(UTC) + timedelta(seconds=0), usegmt=True)
            self._json(429, {"error": {"message": "slow down"}}, {"Retry-After": when})
        elif fault == "500":
            self._json(500, {"error": {"message": "out of memory"}})
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault == "hang":
            time.sleep(server.hang)
            self.close_connection = True
        elif fault == "truncated":
            self._raw(200, whole[: len(whole) // 2], plain, length=len(whole))
            self.close_connection = True
        elif fault == "malformed":
            self._raw(200, whole[: len(whole) // 2], plain)
        elif fault in ("html", "html error"):
            page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in</body></html>"
            self._raw(200 if fault == "html" else 502, page, {"Content-Type": "text/html"})
        elif fault == "redirect":
            self._raw(301, b"", {"Location": self.path.replace("/v1/", "/v2/")})
        elif fault == "stream":
            self._raw(200, b'data: {"choices": []}\n\n', plain)
        elif fault == "bad gzip":
            self._raw(200, b"\x1f\x8bno gzip", {**plain, "Content-Encoding": "gzip"})
        elif fault == "slow headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for i in range(int(server.hang / 0.02)):
                self.wfile.write(f"X-{i}: y\r\n".encode())
                time.sleep(0.02)
            self.close_connection = True
        elif fault == "empty":
            self._json(200, {"choices": [], "data": None, "answers": None})
        elif fault == "null":
            self._raw(200, b"null", plain)
        elif fault == "drip":
            self._raw(200, b"", plain, length=1000)
            for _ in range(int(server.hang / 0.02)):
                self.wfile.write(b" ")
                time.sleep(0.02)
            self.close_connection = True
