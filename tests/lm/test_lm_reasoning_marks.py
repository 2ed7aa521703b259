"""Marks of thoughts, channels, answers and turns of the known model families."""

from __future__ import annotations

import pytest

from selfreg_gym.lm.parsing import parse_action
from selfreg_gym.lm.reasoning_marks import answer_of, closing_of, has_mark, is_mark, open_reasoning

ACTIONS = ("go north", "go south")
CONSIDERED = "Maybe\nAction: go south\nno, a wall."
THOUGHTS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<THINK>", "</THINK>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<analysis>", "</analysis>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<reflection>", "</reflection>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<thought_process>", "</thought_process>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("<|think|>", "<|/think|>"),
    ("<|think_start|>", "<|think_end|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<\uff5cthink\uff5c>", "<\uff5c/think\uff5c>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("Here is my thought process:", "Here is my response:"),
]
ENDS = ["", "</s>", "<eos>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<turn|>"]
ENDS += [
    "<|END_OF_TURN_TOKEN|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<|im_end|>\n<|im_start|>user\nAction: go south",
]


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
def test_an_action_in_a_thought_is_not_the_answer(opening: str, closing: str) -> None:
    for end in ENDS:
        assert parse_action(f"{opening}{CONSIDERED}{closing}go north{end}", ACTIONS) == "go north"
        assert parse_action(f"{opening}{CONSIDERED}{closing}\n\nAction: go north{end}", ACTIONS) == "go north"
    assert parse_action(f"{CONSIDERED}{closing}go north", ACTIONS) == "go north"  # the prompt has opened the thought


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
def test_a_thought_that_is_cut_off_gives_no_answer(opening: str, closing: str) -> None:
    assert parse_action(f"{opening}{CONSIDERED}", ACTIONS) == ""
    assert parse_action(f"{opening}{CONSIDERED}", None) == ""
    assert parse_action(f"{opening}{CONSIDERED}</s>", ACTIONS) == ""
    assert open_reasoning(f"assistant\n{opening}") == opening
    assert open_reasoning(f"assistant\n{opening}{CONSIDERED}{closing}") == ""
    assert closing_of(opening) == closing
    assert has_mark(opening)
    assert has_mark(closing)


@pytest.mark.parametrize("end", ENDS)
def test_end_tokens_are_removed_from_an_action(end: str) -> None:
    for said in ("go north", "Action: go north", "**go north**", "fly"):
        wanted = "go north" if "north" in said else "fly"
        assert parse_action(said + end, ACTIONS) == wanted
        assert parse_action(f"<s>{said}{end}", ACTIONS) == wanted
    assert parse_action(f"look around{end}", None) == "look around"


@pytest.mark.parametrize(
    "said",
    [
        "<answer>go north</answer>",
        "<answer>\nReasoning: a way.\nAction: go north\n</answer></s>",
        "I look. <answer>go north</answer> I hope so.",
        "<final_answer>go north</final_answer>",
        "<response>go north",
        "<output>go north</output>",
        "go north</answer>",
        "go north</action>",
        "<action>go north",
        "<command>go north</command>",
        "[ANSWER]go north[/ANSWER]",
        "<|START_RESPONSE|>go north<|END_RESPONSE|>",
        "<|begin_of_solution|>go north<|end_of_solution|>",
        "<|begin_of_box|>go north<|end_of_box|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\nAction: go north<|eot_id|>",
        "<|im_start|>assistant\ngo north<|im_end|>",
        "Action:<think>hm</think>go north",
        "Action: go north<|im_end|>\n<|im_start|>assistant\n<think>hm</think>Action: go south",
        "analysisMaybe\nAction: go south\nno.assistantfinalgo north",  # channels without their special tokens
        "<|channel|>final <|constrain|>json<|message|>go north<|return|>",
        "<|think|>Action: go south<|end|><|begin|>assistant<|content|>go north<|end|>",
        "<think>one</think>Let me see.<think>two</think>Action: go north",
        "go <unk>north<pad><pad>",
    ],
)
def test_tags_around_an_answer_are_removed(said: str) -> None:
    assert parse_action(said, ACTIONS) == "go north"


def test_only_the_final_channel_counts() -> None:
    assert parse_action("<|channel|>commentary<|message|>Action: go south<|end|>", ACTIONS) == ""
    assert answer_of("<|channel|>final<|message|>one<|end|><|channel|>final<|message|>two") == "two"


def test_an_action_can_be_spelled_like_a_mark() -> None:
    assert parse_action("type </s>", ("type </s>", "wait")) == "type </s>"


def test_marks_among_special_tokens_are_kept_when_an_answer_is_decoded() -> None:
    for token in ("[THINK]", "</think>", "<|START_THINKING|>", "<|channel|>", "<|message|>", "<|END_RESPONSE|>"):
        assert is_mark(token)
    for token in ("</s>", "<|im_end|>", "<pad>", "<|im_start|>", "[INST]"):
        assert not is_mark(token)


@pytest.mark.parametrize(
    "said",
    [
        "<unused94>thought\nAction: go south<unused95>go north",
        "<|im_start|>think\nAction: go south<|im_end|><|im_start|>answer\ngo north<|im_end|>",
        "Here are my reasoning steps:\nAction: go south\n[BEGIN FINAL RESPONSE]go north[END FINAL RESPONSE]",
        "Action: go south\n[BEGIN FINAL RESPONSE]\ngo north",
        "<plan>Action: go south</plan>go north",
        "<planning>Action: go south</planning>\ngo north",
        '<details type="reasoning" done="true">Action: go south</details>go north',
        "go north[e~[",
    ],
)
def test_marks_of_more_families(said: str) -> None:
    assert parse_action(said, ("go north", "go south")) == "go north"


@pytest.mark.parametrize(
    ("mark", "closing"),
    [
        ("<unused94>thought", "<unused95>"),
        ("<|im_start|>think", "<|im_start|>answer"),
        ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
        ("<plan>", "</plan>"),
    ],
)
def test_closing_marks_of_more_families(mark: str, closing: str) -> None:
    assert open_reasoning(f"question\n{mark}\n") == mark
    assert closing_of(mark) == closing
    assert open_reasoning(f"{mark}\nx\n{closing}\n") == ""
