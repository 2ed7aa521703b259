"""Parsing of the action in a language model's answer.

Models wrap an action in reasoning, markdown, quotes, code fences, JSON, tags and remarks, or continue with an
observation of their own. The parser removes these and adds nothing. A text that is not an admissible action is returned
as written, and the task treats it as invalid; ``nearest=True`` returns the most similar admissible action instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache

from selfreg_gym.lm.reasoning_marks import answer_of
from selfreg_gym.lm.tokenizer import words

__all__ = ["canonical", "match_action", "nearest_action", "parse_action"]

_QUOTES = "\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f"
_WRAPPING = " \t\r\n*_<>[](){}|~" + _QUOTES
_STOPS = ".,;:!?\u2026\u3002\uff01\uff1f"

# "Action" in several languages into which models switch, but not as a part of a word ("reaction").
_ACTION = (
    r"(?:(?<!\w)"
    r"(?:action|acci[o\u00f3]n|aktion|a[c\u00e7][a\u00e3]o|azione|\u0434\u0435\u0439\u0441\u0442\u0432\u0438\u0435)"
    r"|\u52a8\u4f5c|\u52d5\u4f5c|\u884c\u52a8|\u884c\u52d5|\u30a2\u30af\u30b7\u30e7\u30f3|\ud589\ub3d9)"
)
_MARK = rf"{_ACTION}(?!\w)[\s*_`\"']{{0,9}}(?:(?P<number>\d{{1,3}})[\s*_`]{{0,9}})?(?:[:=\uff1a]|->|=>|\u2192)[ \t*_]*"
_AT_LINE = re.compile(  # "**Action:**", "2. Final action =", "{"action": ..., also with the mark repeated
    rf"^[ \t>#*\-\u2022_`\"'({{\[]{{0,40}}(?:\(?\d{{1,3}}[.)]\s*)?(?:(?:final|next|my|the|chosen|best)\s+){{0,3}}"
    rf"{_MARK}(?:\s*action\s*[:=]\s*)?",
    re.IGNORECASE | re.MULTILINE,
)
_IN_LINE = re.compile(_MARK, re.IGNORECASE)
_STATED = re.compile(r"\baction\b[\s*_`\"']{0,9}(?:is|would be|will be)\b[\s:*_`]*", re.IGNORECASE)
_TAGGED = re.compile(r"<action>(.*?)(?:</action>|\Z)|\\boxed\{(?:\\text\{)?([^{}]*)\}", re.IGNORECASE | re.DOTALL)
_ACTION_TAG = re.compile(r"<action>", re.IGNORECASE)
_ACTION_TAG_END = re.compile(r"</action>", re.IGNORECASE)
_WRAPPED = re.compile(r"^\s*<([a-z][\w:-]{0,30})>(.{1,300})</\1>\s*$", re.IGNORECASE)
_OTHER_ROLE = re.compile(  # the model continues as the environment or the user
    r"^[ \t*_#>]{0,40}(?:observation|environment|user|human|system|result)\b[\s*_]{0,9}\d{0,3}[\s*_]{0,9}:",
    re.IGNORECASE | re.MULTILINE,
)
_NULL = re.compile(r"[\"']action[\"']\s*:\s*(?:null|None)\b", re.IGNORECASE)  # no action, in JSON
_LINE, _MOST = 1000, 50  # largest number of characters of a line, and of phrases, that are searched
_LIST_MARK = re.compile(r"^\s*(?:[-*\u2022>#+]+|\(?\d+[.)])\s+")
_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$")
_EMPHASISED = re.compile(r"\*\*([^*\n]{1,200})\*\*|`([^`\n]{1,200})`|[\"\u201c]([^\"\u201c\u201d\n]{1,200})[\"\u201d]")
_QUOTED = re.compile(r"^\s*([\"`\u201c\u00ab\u300c]|\*\*)(.{1,200}?)(?:[\"`\u201d\u00bb\u300d]|\*\*)")
_CUT = re.compile(
    r"\s+[-\u2013\u2014(\[{#/<]|</?[a-z][\w:-]{0,30}>"
    r"|[.,;:!?](?=[\s\"'*`\u201d]|$)|\s+(?:because|since|as|so that|in order)\b"
)


def canonical(text: str) -> str:
    """Return the words of a text without case, spacing, surrounding quotes and final full stop, for comparison."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u200b", "")
    return " ".join(words(plain.strip(_WRAPPING).rstrip("." + _WRAPPING))).casefold()


def match_action(text: str, admissible: Sequence[str] | None) -> str | None:
    """Return the admissible action whose canonical form equals that of ``text``, or None.

    Final punctuation is ignored if the action is then still unique.
    """
    if not admissible:
        return None
    wanted = canonical(text)
    exact, loose = _forms(tuple(admissible))
    if wanted in exact:
        return exact[wanted]
    return loose.get(wanted.rstrip(_STOPS + " "))


@lru_cache(maxsize=256)
def _forms(admissible: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the actions by canonical form, and by the form without final punctuation where it is unique."""
    exact: dict[str, str] = {}
    bare: dict[str, list[str]] = {}
    for action in admissible:
        form = canonical(action)
        exact.setdefault(form, action)
        bare.setdefault(form.rstrip(_STOPS + " "), []).append(action)
    return exact, {form: actions[0] for form, actions in bare.items() if form and len(actions) == 1}


def nearest_action(text: str, admissible: Sequence[str]) -> str | None:
    """Return the admissible action most similar to ``text`` (difflib ratio of at least 0.5), or None."""
    by_form = {canonical(action): action for action in admissible}
    close = get_close_matches(canonical(text[:500]), by_form, n=1, cutoff=0.5)
    return by_form[close[0]] if close else None


def parse_action(answer: str, admissible: Sequence[str] | None = None, *, nearest: bool = False) -> str:
    """Return the action in a model's answer.

    An answer that is an admissible action is returned at once. Otherwise reasoning, special tokens and answer tags are
    removed (:mod:`selfreg_gym.lm.reasoning_marks`; unfinished reasoning gives no answer), and so is text that the
    model writes for the environment ("Observation: ...") after its action. Then the first rule that applies decides:

    1. ``<action>...</action>`` or ``\\boxed{...}``: the last one.
    2. ``Action: ...`` at the beginning of a line, or else within a line: the last one (in a numbered plan "Action 1"),
       up to the end of the line, or the next line if this is empty. A remark after an admissible action is removed.
    3. The last line that is an admissible action; ``the action is ...``; the only admissible action in bold or quotes.
    4. The last line that is not empty.

    Args:
        answer: the whole text of the model.
        admissible: the admissible actions, if they are known.
        nearest: return the most similar admissible action if none matches.

    Returns:
        An admissible action in the task's spelling, or the text as written, without surrounding spaces and quotes; the
        empty string if there is no answer.
    """
    if len(answer) <= 1000 and (whole := match_action(answer, admissible)):
        return whole
    visible = _visible(answer)
    text, found = _marked(visible, admissible)
    if text is None:
        text, found = _unmarked(visible, admissible)
    if found is None and _NULL.search(visible) and text.strip().startswith(("null", "None")):
        return ""
    if found is None and admissible and nearest:
        found = nearest_action(text, admissible)
    return text.strip(_WRAPPING) if found is None else found


def _visible(answer: str) -> str:
    """Return the answer without reasoning and special tokens, up to where the model continues in another role."""
    after = answer_of(answer)
    if not _ACTION_TAG.search(after):  # the prompt has opened the tag
        after = _ACTION_TAG_END.split(after, maxsplit=1)[0]
    act = _AT_LINE.search(after)
    other = _OTHER_ROLE.search(after, act.end()) if act else None
    return after[: other.start()] if other else after


def _marked(text: str, admissible: Sequence[str] | None) -> tuple[str | None, str | None]:
    """Return the text after the decisive mark and its admissible action; ``(None, None)`` without a mark."""
    tagged = [match.group(1) or match.group(2) or "" for match in _TAGGED.finditer(text)]
    if not tagged:
        marks = list(_AT_LINE.finditer(text)) or list(_IN_LINE.finditer(text))
        if not marks:
            return None, None
        chosen = marks[-1]
        if chosen["number"]:  # of a plan, the first action is taken
            chosen = next((mark for mark in reversed(marks) if mark["number"] == "1"), chosen)
        end = next((mark.start() for mark in marks if mark.start() >= chosen.end()), len(text))
        tagged = [text[chosen.end() : end]]
    return _read(next(iter(_lines(tagged[-1])), ""), admissible)


def _unmarked(visible: str, admissible: Sequence[str] | None) -> tuple[str, str | None]:
    """Return the text that rules 3 and 4 of :func:`parse_action` choose, and its admissible action or None."""
    lines = _lines(visible)
    for line in reversed(lines):
        wrapped = _WRAPPED.match(line)
        if found := match_action(wrapped.group(2) if wrapped else line, admissible):
            return line, found
    for stated in list(_STATED.finditer(visible))[: -_MOST - 1 : -1]:
        text, found = _read(visible[stated.end() : stated.end() + _LINE].split("\n", 1)[0], admissible)
        if found:
            return text, found
    spans = {"".join(filter(None, match.groups())) for match in _EMPHASISED.finditer(visible)}
    meant = {found for span in spans if (found := match_action(span, admissible))}
    if len(meant) == 1:
        return visible, meant.pop()
    return (lines[-1] if lines else ""), None


def _read(line: str, admissible: Sequence[str] | None) -> tuple[str, str | None]:
    """Return a line, and the first of its readings that is admissible."""
    for reading in _readings(line):
        if found := match_action(reading, admissible):
            return line, found
    return line, None


def _readings(line: str) -> Iterator[str]:
    """Yield the line, the content of a tag around it, a quotation at its start, beginnings before remarks, the rest."""
    yield line
    if wrapped := _WRAPPED.match(line):
        yield wrapped.group(2)
    if quoted := _QUOTED.match(line):
        yield quoted.group(2)
    for cut in reversed(list(_CUT.finditer(line[:1000]))):
        yield line[: cut.start()]
    if marks := list(_IN_LINE.finditer(line)):  # "Action: Reasoning: it is there. Action: ..."
        yield line[marks[-1].end() :]


def _lines(text: str) -> list[str]:
    """Return the lines that are neither empty nor code fences, without list marks."""
    stripped = (_LIST_MARK.sub("", line).strip() for line in text.splitlines() if not _FENCE.match(line))
    return [line for line in stripped if line.strip(_WRAPPING)]
