"""Text of unknown origin is safe to display."""

from __future__ import annotations

import pytest

from selfreg_gym.utils.printable import file_name, shorten, visible

HOSTILE = (
    "../../../../escape", "/etc/passwd", "..", ".", "", " ", "nul\x00", "C:\\x", "a\nb", "x" * 300, "\ud800", "$a_1$ $",
    "[/b]", "<script>alert(1)</script>", "--><b>", "\u202eabc", "\x1b[2J", "con", "Ünïcode 名前", "a/b", "a_b", "A-b",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_file_names_are_made_of_letters_digits_and_hyphens(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name) <= 50
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_different_texts_have_different_file_names() -> None:
    assert len({file_name(text) for text in HOSTILE}) == len(HOSTILE)
    assert file_name("s_hum") == "s-hum", "an ordinary name is kept"
    assert file_name("s-hum") != "s-hum", "which is taken"


@pytest.mark.parametrize("text", HOSTILE)
def test_visible_text_can_be_written_and_printed(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert shown.isprintable() or shown == ""
    assert visible(shown) == shown


def test_characters_with_a_glyph_are_not_changed() -> None:
    assert visible("Ünïcode 名前 \N{EM DASH} \N{MICRO SIGN}") == "Ünïcode 名前 \N{EM DASH} \N{MICRO SIGN}"
    assert visible("a\nb\x07", keep="\n") == "a\nb\\x07"
    assert visible(None) == "None"


def test_long_texts_keep_both_ends() -> None:
    short = shorten("a" * 500 + "z", 30)
    assert len(short) == 30
    assert short[0] == "a"
    assert short[-1] == "z"
    assert len(visible("\x00" * 10_000_000, limit=40)) <= 40
