"""Request formats for "answer with one of these texts". Servers have no common one.

=====================  ========================================================  ===========================
form                   request                                                   server
=====================  ========================================================  ===========================
``structured_outputs`` ``{"structured_outputs": {"choice": [...]}}``             vLLM from 0.12
``guided_choice``      ``{"guided_choice": [...]}``                              vLLM before 0.12
``response_format``    a JSON schema with an ``enum``                            OpenAI, vLLM, SGLang, llama.cpp
the same, TGI's        the schema under ``value``                                TGI
``grammar``            GBNF, ``root ::= "a" | "b"``                              llama.cpp
``regex``              ``{"regex": "(a|b)"}``                                    SGLang
=====================  ========================================================  ===========================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from selfreg_gym.endpoint.connection import CHAT, COMPLETIONS

__all__ = ["FORMS", "Form"]


@dataclass(frozen=True, slots=True)
class Form:
    """A request format that restricts the answer to one of several texts.

    Attributes:
        name: form and route, for reports.
        path: ``CHAT`` or ``COMPLETIONS``.
        constraint: from the choices to the fields of the request.
        reads_json: whether the answer is ``{"action": ...}``.
    """

    name: str
    path: str
    constraint: Callable[[Sequence[str]], dict[str, Any]]
    reads_json: bool = False

    def body(self, prompt: str, choices: Sequence[str]) -> dict[str, Any]:
        """Prompt and constraint; in a completion a space precedes each choice, after ``Action:``."""
        if self.path == CHAT:
            return {"messages": [{"role": "user", "content": prompt}], **self.constraint(choices)}
        return {"prompt": prompt, **self.constraint([f" {choice}" for choice in choices])}

    def read(self, text: str) -> str:
        """The chosen text; ``""`` for a missing or null action. Text that is not JSON is returned stripped."""
        if self.reads_json:
            try:
                value = json.loads(text, parse_constant=lambda _: None)
            except (ValueError, RecursionError):
                return text.strip()
            value = value.get("action") if isinstance(value, dict) else value
            number = isinstance(value, int | float) and not isinstance(value, bool)
            text = value if isinstance(value, str) else str(value) if number else ""
        return text.strip()


def _gbnf(choices: Sequence[str]) -> dict[str, Any]:
    return {"grammar": "root ::= " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)}


def _schema(choices: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"action": {"type": "string", "enum": list(choices)}},
        "required": ["action"],
        "additionalProperties": False,
    }


def _json_schema(choices: Sequence[str]) -> dict[str, Any]:
    schema = {"name": "act", "strict": True, "schema": _schema(choices)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _json_value(choices: Sequence[str]) -> dict[str, Any]:
    return {"response_format": {"type": "json_object", "value": _schema(choices)}}


FORMS = (
    Form("structured_outputs in chat", CHAT, lambda choices: {"structured_outputs": {"choice": list(choices)}}),
    Form(
        "structured_outputs in completions", COMPLETIONS, lambda choices: {"structured_outputs": {"choice": [*choices]}}
    ),
    Form("guided_choice in chat", CHAT, lambda choices: {"guided_choice": list(choices)}),
    Form("guided_choice in completions", COMPLETIONS, lambda choices: {"guided_choice": list(choices)}),
    Form("response_format in chat", CHAT, _json_schema, reads_json=True),
    Form("TGI's response_format in chat", CHAT, _json_value, reads_json=True),
    Form("grammar in completions", COMPLETIONS, _gbnf),
    Form("regex in completions", COMPLETIONS, lambda choices: {"regex": f"({'|'.join(map(re.escape, choices))})"}),
)
"""In the order of the probe."""
