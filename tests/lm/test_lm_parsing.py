"""Parsing actions in answers of many forms."""

from __future__ import annotations

import time

import pytest

from selfreg_gym.lm.parsing import parse_action

OFFERED = ("Explore Room 1", "Go to Room 2", "Go to Room 12", "Put the cup on the table", "Done!")


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("Go to Room 2", "Go to Room 2"),
        (" go to room 2.", "Go to Room 2"),
        ("Reasoning: the cup is there. Action: Go to Room 12", "Go to Room 12"),
        ("Reasoning: Action: Done! would be too early.\nAction: Explore Room 1\n", "Explore Room 1"),
        ("**Action:** `Put the cup on the table`\n\nI hope that helps.", "Put the cup on the table"),
        ("ACTION:\n\n  Done !\n", "Done!"),
        ("Action = Done", "Done!"),
        ('The next action:"Go to  Room 2"', "Go to Room 2"),
        ("I think we should look.\n- Explore Room 1\n", "Explore Room 1"),
        ("1. Go to Room 2\n2. Done!", "Done!"),
        ("Action 1: Go to Room 2", "Go to Room 2"),
        ("\u201cGo to Room 2\u201d", "Go to Room 2"),
        # thinking, code, JSON, tags
        ("<think>Action: Done! or not?</think>\n\nAction: Go to Room 2", "Go to Room 2"),
        ("Action: Done!\n</think>\nGo to Room 2", "Go to Room 2"),  # the template has opened the thought
        ("Action: Go to Room 2\n<think>should I", "Go to Room 2"),
        ("Action: Go to Room 2\n<think>well</think>", "Go to Room 2"),
        ("```\nGo to Room 2\n```", "Go to Room 2"),
        ("Action:\n```text\nGo to Room 2\n```\n", "Go to Room 2"),
        ('{"reasoning": "it is there", "action": "Go to Room 2"}', "Go to Room 2"),
        ('```json\n{\n  "action": "Go to Room 2",\n  "confidence": 0.9\n}\n```', "Go to Room 2"),
        ('{"action": "Go to Room 2", "reasoning": "it is there"}', "Go to Room 2"),
        ("I look.\n<action>\nGo to Room 2\n</action>", "Go to Room 2"),
        ("The answer is $\\boxed{Go to Room 2}$.", "Go to Room 2"),
        # markdown, numbers, arrows, the mark twice
        ("### Action:\nGo to Room 2", "Go to Room 2"),
        ("- **Reasoning**: look\n- **Action**: *Go to Room 2*", "Go to Room 2"),
        ("**Action: Go to Room 2**", "Go to Room 2"),
        ("Final Action: Go to Room 2.", "Go to Room 2"),
        ("Action -> Go to Room 2", "Go to Room 2"),
        ("Action: Action: Go to Room 2", "Go to Room 2"),
        ("2. Action: Go to Room 2", "Go to Room 2"),
        ("Action: Reasoning: it is there. Action: Go to Room 2", "Go to Room 2"),
        # remarks after it
        ("Action: Go to Room 2, because the cup is there.", "Go to Room 2"),
        ("Action: Go to Room 2 because the cup is there", "Go to Room 2"),
        ("Action: Go to Room 2 (the kitchen)", "Go to Room 2"),
        ("Action: Go to Room 2. Then I will look around.", "Go to Room 2"),
        ("Action: Go to Room 2 - it is near", "Go to Room 2"),
        ('Action: "Go to Room 2" since it is near', "Go to Room 2"),
        ("Action: Done! The cup is on the table.", "Done!"),
        # several actions
        ("Action: Go to Room 2\nObservation: You see a cup.\nAction: Done!", "Go to Room 2"),
        ("Action: Go to Room 2\nNo, wait.\nAction: Explore Room 1", "Explore Room 1"),
        ("Action 1: Go to Room 2\nAction 2: Done!", "Go to Room 2"),
        ("Action: Go to Room 2<|im_end|>\n<|im_start|>user\nAction: Done!", "Go to Room 2"),
        # without the mark
        ("I will **Go to Room 2** now.", "Go to Room 2"),
        ("The best action is Go to Room 2.", "Go to Room 2"),
        # other scripts
        ("Razonamiento: est\u00e1 ah\u00ed.\nAcci\u00f3n: Go to Room 2", "Go to Room 2"),
        (
            "\u7406\u7531\uff1a\u676f\u5b50\u5728\u90a3\u91cc\u3002\n\u884c\u52a8\uff1aGo to Room 2\u3002",
            "Go to Room 2",
        ),
        ("Action\uff1a\uff27o to Room\u00a0\uff12", "Go to Room 2"),
        ("\u300cGo to Room 2\u300d", "Go to Room 2"),
    ],
)
def test_the_action_is_found(answer: str, action: str) -> None:
    assert parse_action(answer, OFFERED) == action


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("Go to Room 3", "Go to Room 3"),
        ("Action: Go to the moon", "Go to the moon"),
        ("Reasoning only, no action", "Reasoning only, no action"),
        ("Go to Room 1", "Go to Room 1"),
        ("Action: I cannot decide.", "I cannot decide."),
        ("Action: Go to Room 2 and Room 12", "Go to Room 2 and Room 12"),
        ("I could **Go to Room 2** or **Go to Room 12**.", "I could **Go to Room 2** or **Go to Room 12**."),
        ("A reaction: Go to Room 2", "A reaction: Go to Room 2"),
        ("<think>Action: Done! is tempting, but", ""),  # the thought never ends
        ("\u0394\u03b5\u03bd \u03be\u03ad\u03c1\u03c9", "\u0394\u03b5\u03bd \u03be\u03ad\u03c1\u03c9"),
        ("", ""),
        ("\x00\n\t", "\x00"),
    ],
)
def test_an_inadmissible_answer_is_returned_as_written(answer: str, action: str) -> None:
    assert parse_action(answer, OFFERED) == action


def test_the_nearest_action_only_with_nearest() -> None:
    assert parse_action("Action: Put cup on table", OFFERED) == "Put cup on table"
    assert parse_action("Action: Put cup on table", OFFERED, nearest=True) == "Put the cup on the table"
    assert parse_action("qqq", OFFERED, nearest=True) == "qqq"


def test_without_admissible_actions_the_text_is_returned() -> None:
    assert parse_action("Reasoning: why not.\nAction: look around", None) == "look around"


@pytest.mark.parametrize(
    "filler", ["blah ", "*", "\n", "<think>", "action ", "Action: ", "`", " (", "\u884c\u52a8", "#"]
)
def test_a_very_long_answer_is_parsed_quickly(filler: str) -> None:
    begun = time.process_time()
    assert parse_action(filler * (200_000 // len(filler)) + "</think>\nAction: Done!", OFFERED) == "Done!"
    parse_action(filler * (200_000 // len(filler)), OFFERED)
    assert time.process_time() - begun < 10  # a tenth of a second; quadratic time would be minutes


def test_actions_that_differ_in_final_punctuation_are_distinct() -> None:
    assert parse_action("Stop", ("Stop!", "Stop?")) == "Stop"
    assert parse_action("Stop!", ("Stop!", "Stop?")) == "Stop!"


@pytest.mark.parametrize(
    "piece", ["action is ", "Action: go north\n", '"', "<a>", "Action: ", "<think>", "**", "the action: go\n"]
)
def test_parsing_time_is_linear_in_the_length(piece: str) -> None:
    parse_action(piece * (200_000 // len(piece)), ("go north", "go south"))
