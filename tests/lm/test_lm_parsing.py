"""Reading the action out of messy answers."""

from __future__ import annotations

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
        ("Action = Done", "Done"),
        ('The next action:"Go to  Room 2"', "Go to Room 2"),
        ("I think we should look.\n- Explore Room 1\n", "Explore Room 1"),
        ("1. Go to Room 2\n2. Done!", "Done!"),
        ("Action 1: Go to Room 2", "Go to Room 2"),
        ("\u201cGo to Room 2\u201d", "Go to Room 2"),
    ],
)
def test_form_is_undone(answer: str, action: str) -> None:
    assert parse_action(answer, OFFERED) == action


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("Go to Room 3", "Go to Room 3"),
        ("Action: Go to the moon", "Go to the moon"),
        ("Reasoning only, no action", "Reasoning only, no action"),
        ("Go to Room 1", "Go to Room 1"),
        ("", ""),
        ("\x00\n\t", "\x00"),
    ],
)
def test_what_is_inadmissible_stays_so(answer: str, action: str) -> None:
    assert parse_action(answer, OFFERED) == action


def test_the_nearest_action_only_when_asked() -> None:
    assert parse_action("Action: Put cup on table", OFFERED) == "Put cup on table"
    assert parse_action("Action: Put cup on table", OFFERED, nearest=True) == "Put the cup on the table"
    assert parse_action("qqq", OFFERED, nearest=True) == "qqq"


def test_without_a_list_the_text_is_taken_as_it_is() -> None:
    assert parse_action("Reasoning: why not.\nAction: look around", None) == "look around"


def test_a_very_long_answer_is_read_quickly() -> None:
    assert parse_action("blah " * 200_000 + "\nAction: Done!", OFFERED) == "Done!"
