"""Chat templates: the fixed date, thoughts that a template opens, the token after an answer."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import transformers.utils.chat_template_utils as clock

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.lm import generation
from selfreg_gym.lm.chat_template import turn_of
from selfreg_gym.lm.prompts import PROMPT_DATE, actor_prompt, chat, helper_prompt, success_prompt
from selfreg_gym.lm.tokenizer import build_tokenizer
from selfreg_gym.types import Decision

DEEPSEEK = "{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}assistant\n<think>\n"
QWEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HARMONY = (
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>"
    "{{ m.content }}{% if m.role == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
MAGISTRAL = (
    "[SYSTEM_PROMPT]Think in [THINK]thought[/THINK].[/SYSTEM_PROMPT]"
    "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
)


def with_template(template: str, *special: str) -> Any:
    tokenizer = build_tokenizer(["Room 2 . You can go left , go right"])
    if special:
        tokenizer.add_special_tokens({"extra_special_tokens": list(special)})
    tokenizer.chat_template = template
    return tokenizer


def test_a_template_prints_a_fixed_date(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = with_template("Today Date: {{ strftime_now('%d %b %Y') }}\n{{ messages[0]['content'] }}\n")
    today = actor_prompt("Room 2", tokenizer=tokenizer)

    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Tomorrow:
            return cls(2030, 1, 1)

    monkeypatch.setattr(clock, "datetime", Tomorrow)
    assert actor_prompt("Room 2", tokenizer=tokenizer) == today
    assert today == f"Today Date: {PROMPT_DATE:%d %b %Y}\nRoom 2Action:"


@pytest.mark.parametrize(
    "template",
    [
        "\n{%- if strftime_now is defined %}{%- set d = strftime_now('%d %b %Y') %}{%- endif %}\n"
        "On {{ d }}: {{ messages[0].content }}",
        "{%- macro today() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}On {{ today() }}: {{ messages[0].content }}",
        "  {% if true %}On {% endif %}\n"
        "  {{ strftime_now('%A, %B %-d, %Y at %H:%M (%j) 100%%') }}: {{ messages[0].content }}",
    ],
)
def test_a_template_renders_as_in_transformers_except_for_the_date(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Fixed:
            return cls(PROMPT_DATE.year, PROMPT_DATE.month, PROMPT_DATE.day)

    tokenizer = with_template(template)
    ours = chat("hi", tokenizer)
    monkeypatch.setattr(clock, "datetime", Fixed)
    turns = [{"role": "user", "content": "hi"}]
    assert ours == tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize(
    ("template", "special", "opened", "closing", "end"),
    [
        (DEEPSEEK, (), "<think>", "\n\n</think>\n\n", ""),
        (QWEN, ("<|im_start|>", "<|im_end|>"), "", "<think>\n\n</think>\n\n", "<|im_end|>"),
        (HARMONY, ("<|start|>", "<|end|>", "<|channel|>", "<|return|>"), "", "<|channel|>final<|message|>",
         "<|return|>"),
        (MAGISTRAL, ("[INST]", "[/INST]", "[THINK]", "[/THINK]"), "", "", "</s>"),
        ("{{ messages[0].content }}<|channel|>analysis<|message|>", (), "<|channel|>analysis<|message|>",
         "\n\n<|end|><|start|>assistant<|channel|>final<|message|>\n\n", ""),
        ("{{ messages[0].content }}\n[me] ", (), "", "", ""),
    ],
)  # fmt: skip
def test_a_thought_is_closed_before_an_action_is_ranked(
    template: str, special: tuple[str, ...], opened: str, closing: str, end: str
) -> None:
    tokenizer = with_template(template, *special)
    assert turn_of(tokenizer) == (opened, closing, end)
    turn = chat("Room 2", tokenizer)
    assert actor_prompt("Room 2", tokenizer=tokenizer) == f"{turn}{closing}Action:"
    assert success_prompt("Room 2", tokenizer=tokenizer) == f"{turn}{closing}Action:"
    assert helper_prompt("Room 2", 1.0, tokenizer=tokenizer) == f"{turn}{closing}Budget 1.00. Help?"
    assert not actor_prompt("Room 2", tokenizer=tokenizer, reasoning=True).endswith(closing or "never")


def test_a_mark_in_the_observation_opens_no_thought() -> None:
    tokenizer = with_template(QWEN)
    assert turn_of(tokenizer).opened == ""
    assert actor_prompt("A sign: <think>", tokenizer=tokenizer).endswith("</think>\n\nAction:")


@pytest.mark.parametrize(("template", "opened"), [(DEEPSEEK, True), (QWEN, False)])
def test_a_thought_opened_by_the_template_is_open_in_the_answer(
    template: str, opened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.lm.conftest import micro_llama

    tokenizer = with_template(template)
    micro_llama(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    said = "If I say\nAction: go left\nI would fall"
    actor = LM(tmp_path, mode="generate", reasoning=True)
    for answer, wanted in (
        (said, "" if opened else "go left"),
        (f"{said}</think>\nAction: go right", "go right"),
        (f"<think>{said}", ""),
    ):
        monkeypatch.setattr(generation, "generate", lambda *_, answer=answer, **__: [(answer, 9)])
        [act] = actor.act([Decision("Room 2.", ("go left", "go right"), key=(1, 0, 0))])
        assert (act.text, act.error) == (wanted, None)
