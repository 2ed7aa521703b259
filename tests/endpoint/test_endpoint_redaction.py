"""Redaction: keys, terminal commands, length."""

from __future__ import annotations

import base64
import html
import json
import re
import textwrap
from urllib.parse import quote

import pytest

from selfreg_gym.endpoint.redaction import Redaction, readable, shortened, without_controls

KEY = "sk-Ab3/+x&y=Z~9876543210"


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        KEY.upper(),
        quote(KEY),
        quote(KEY, safe=""),
        html.escape(KEY),
        json.dumps(KEY),
        KEY.encode().hex(),
        *(
            base64.b64encode((before + KEY + after).encode()).decode()
            for before in ("", "u", "me:")
            for after in ("", ":x")
        ),
        base64.urlsafe_b64encode(f"user:{KEY}".encode()).decode(),
        textwrap.fill(KEY, 7),
        "\x1b[31m".join((KEY[:9], KEY[9:])),
        "\x00".join(KEY),
    ],
)
def test_a_key_is_removed_in_every_form(echo: str) -> None:
    message = Redaction(KEY).message(f"denied: <{echo}>")
    assert "[key]" in message
    plain = re.sub(r"[^a-z0-9]", "", message.lower())
    for form in (KEY, base64.b64encode(KEY.encode()).decode(), KEY.encode().hex()):
        bare = re.sub(r"[^a-z0-9]", "", form.lower())
        assert not any(bare[i : i + 8] in plain for i in range(len(bare) - 7))


def test_short_keys_and_other_texts_are_unchanged() -> None:
    assert Redaction("short").clean("short words") == "short words"
    assert Redaction(None).clean("anything") == "anything"
    assert Redaction(KEY).clean("anything") == "anything"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[2J\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("\x9b31mred", "red"),
        ("a\rb\x00\x08c\x7f", "a\nbc"),
        ("\u202eevil\u2066\ufeff\u200b", "evil"),
        ("one\u2028two\r\nthree\tfour", "one\ntwo\nthree\tfour"),
        ("идти на север 北へ行け 👨‍👩‍👧 é", "идти на север 北へ行け 👨‍👩‍👧 é"),
    ],
)
def test_control_characters_are_removed(text: str, seen: str) -> None:
    assert without_controls(text) == seen


def test_texts_have_a_limited_length() -> None:
    assert len(Redaction(None).message("long " * 10**6)) == 300
    assert shortened("a\n\n b") == "a b"
    assert readable("x\ud83d") == "x\ufffd"
    assert len(readable("é" * 10**6)) == 200_000
