"""Unusable chat templates and end-of-text tokens raise errors that name the file."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.lm.prompts import actor_prompt
from selfreg_gym.types import Decision


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in %}",
        "{{ raise_exception('no') }}",
        "{{ messages[0].content.nope.x }}",
        "{{ tools | length }}{{ messages[0].content }}",
        "{{ now() }}{{ messages[0].content }}",
        "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}",
    ],
)
def test_a_template_that_raises(tokenizer: Any, template: str) -> None:
    broken = copy.deepcopy(tokenizer)
    broken.chat_template = template
    with pytest.raises(CheckpointError, match=r"that fails .*: correct chat_template\.jinja"):
        actor_prompt("Room 2", tokenizer=broken)


def test_a_template_without_the_text_raises(tokenizer: Any) -> None:
    silent = copy.deepcopy(tokenizer)
    silent.chat_template = "hello {{ messages | length }}"
    with pytest.raises(CheckpointError, match="must write the text of the user's message"):
        actor_prompt("Room 2", tokenizer=silent)


def test_a_template_for_lists_of_parts(tokenizer: Any) -> None:
    parts = copy.deepcopy(tokenizer)
    parts.chat_template = "{% for m in messages %}<{% for c in m.content %}{{ c['text'] }}{% endfor %}>{% endfor %}\n"
    assert actor_prompt("Room 2", tokenizer=parts) == "<Room 2>Action:"


@pytest.mark.parametrize("value", ["</s>", [[2]], [2, None, "x"], {"a": 2}, 2.5])
def test_an_invalid_end_of_text_token_raises(checkpoint: Path, tmp_path: Path, value: Any) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": value}))
    with pytest.raises(CheckpointError):
        LM(folder).act([Decision("Room 2", ("one", "two"), key=(0, 0, 0))])


@pytest.mark.parametrize("path", [5, ["a"], b"a"])
def test_an_invalid_path_raises(path: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="path must be a directory"):
        LM(path)
