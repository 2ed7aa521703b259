"""Marks that language models put around reasoning, answers and turns. This module does not import torch.

Model families enclose reasoning in tags (``<think>`` of DeepSeek, Qwen, GLM, Nemotron and many others,
``<seed:think>``, ``<thought>``, ``<reasoning>``), brackets (``[THINK]`` of Magistral), special tokens
(``<|START_THINKING|>`` of Command, ``<|begin_of_thought|>`` of OpenThinker, ``<|inner_prefix|>`` of Apertus,
``<unused94>`` of MedGemma), arrows (Kimi), sentences (Granite, Apriel), or channels (``<|channel|>analysis<|message|>``
of gpt-oss, ``<|channel>thought`` of Gemma). The answer is the text outside of reasoning, or in the final channel.
"""

from __future__ import annotations

import re

__all__ = ["answer_of", "closing_of", "has_mark", "is_mark", "open_reasoning"]

_NAME = (
    r"(?:(?!end[:_-])[a-z]{1,20}[:_-])?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|scratch[_-]?pad|reflect(?:ion)?|monologue|"
    r"rationale|plan(?:ning)?|deliberat(?:ion|e)|contemplat(?:ion|or|e)|chain[_-]of[_-]thoughts?|cot)(?:_process)?"
)
_BAR = r"[|\uff5c]"
_OF = r"_(?:of_)?"
_GRANITE = ("here is my thought process:", "here is my response:")
_APRIEL = ("here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", r"\[END FINAL RESPONSE\]")
_ANSWER = r"(?:final[_ -]?)?(?:answer|response|output|solution|conclusion)|final"

#: Marks that open and close reasoning.
_OPEN = "|".join(
    [
        rf"<\s?{_NAME}(?:\s[^<>\n]{{0,80}})?>",
        rf"\[{_NAME}\]",
        rf"<{_BAR}?(?:start|begin){_OF}{_NAME}{_BAR}?>",
        rf"<{_BAR}{_NAME}(?:_(?:start|begin))?{_BAR}>",
        rf"\u25c1{_NAME}\u25b7",
        r"<\|inner_prefix\|>",
        r"<unused94>(?:thought)?",
        r"<\|im_start\|>(?:think|thought)(?=\n)",
        r"<details type=.reasoning.[^<>\n]{0,80}>",
        r"<\|channel>\s?(?!final)\w{1,30}",
        r"<\|channel\|>\s?(?!final|answer|response)\w{1,30}[^<>\n]{0,80}<\|message\|>",
        _GRANITE[0],
        _APRIEL[0],
    ]
)
_CLOSE = "|".join(
    [
        rf"<\s?/\s?{_NAME}\s?>",
        rf"\[/{_NAME}\]",
        rf"<{_BAR}?end{_OF}{_NAME}{_BAR}?>",
        rf"<{_BAR}(?:/{_NAME}|{_NAME}_end|content){_BAR}>",
        rf"\u25c1/{_NAME}\u25b7",
        r"<\|inner_suffix\|>",
        r"<unused95>",
        r"<\|im_start\|>answer(?=\n)",
        r"</details>",
        r"<channel\|>",
        _GRANITE[1],
        re.escape(_APRIEL[1]),
    ]
)
#: Closing marks that do not follow from the opening mark's text.
_CLOSING = {
    "<|channel>": "<channel|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<unused94>": "<unused95>",
    "<|im_start|>": "<|im_start|>answer",
    _GRANITE[0]: "Here is my response:",
    _APRIEL[0]: _APRIEL[1],
}
#: Tags around an answer. ``<action>``, which encloses one action, belongs to :mod:`selfreg_gym.lm.parsing`.
_BOX_OPEN = "|".join(
    [
        rf"<(?:{_ANSWER})>",
        r"\[ANSWER\]",
        rf"<{_BAR}(?:start|begin){_OF}(?:{_ANSWER}|box|text){_BAR}>",
        "\u25c1answer\u25b7",
    ]
)
_BOX_CLOSE = "|".join(
    [rf"</(?:{_ANSWER})>", r"\[/ANSWER\]", rf"<{_BAR}end{_OF}(?:{_ANSWER}|box){_BAR}>", "\u25c1/answer\u25b7"]
)
#: Special tokens that end an answer or begin the next turn; before an answer they are ignored.
_END = (
    r"(?:</s>|<(?:eo[sdtp]|end|end_of_(?:turn|text|utterance|sentence|response)|start_of_turn)>|<turn\|>|<\|turn>"
    r"|<\|?[a-z_]{0,30}(?:im_|turn|eot)[a-z_]{0,30}\|?>"
    rf"|{_APRIEL[2]}|\[e~\[|\[/?INST\]|\[(?:EOS|SEP)\]|<{_BAR}[^<>|\uff5c\n]{{1,40}}{_BAR}>)"
    r"(?:\s?(?:assistant|model|user|system|tool|chatbot)(?=\s*(?:\n|<|\Z)))?"
)
_EVENT = re.compile(
    rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})|(?P<box>{_BOX_OPEN})|(?P<unbox>{_BOX_CLOSE})|(?P<end>{_END})",
    re.IGNORECASE,
)
_PADDING = re.compile(
    r"<(?:pad|unk|s|bos)>|\[(?:PAD|UNK|CLS|BOS)\]|<\|(?:pad|unk|begin_of_text|startoftext)\|>", re.IGNORECASE
)
_CHANNEL = re.compile(
    r"<\|channel\|>\s?(?P<name>\w{1,30})[^<>\n]{0,80}(?:<\|constrain\|>[^<>\n]{0,80})?<\|message\|>", re.IGNORECASE
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>", re.IGNORECASE)
_CHANNELS_STRIPPED = re.compile(r"\A\s*(?:analysis|commentary)(?=\W|[A-Z]).*assistant\s?final(?:\s?json)?", re.DOTALL)
_HARMONY = re.compile(r"<\|(?:channel|message|start|end|return|call|constrain)\|>")
_FINAL = ("final", "answer", "response")


def answer_of(text: str) -> str:
    """Return the final channel, the content of the last answer tag, or the last text outside of reasoning.

    Padding tokens are removed, and an end-of-turn token ends the answer. Reasoning without an end gives no answer.
    A closing mark without an opening one closes reasoning that the prompt has opened. An answer before reasoning counts
    if nothing follows the reasoning.

    Returns:
        The answer, possibly with line breaks; empty if there is none.
    """
    text = _PADDING.sub("", text)
    if channels := list(_CHANNEL.finditer(text)):
        final = [match for match in channels if match["name"].lower() in _FINAL]
        if not final:
            return ""
        begin = final[-1].end()
        end = _CHANNEL_END.search(text, begin)
        text = text[begin : end.start() if end else len(text)]
    elif stripped := _CHANNELS_STRIPPED.match(text):  # a server has removed the special tokens
        text = text[stripped.end() :]
    return _outside(text)


def _outside(text: str) -> str:
    parts: list[str] = []  # texts outside of reasoning
    boxes: list[str] = []  # texts inside answer tags
    begin, reasoning, boxed = 0, False, False
    for event in _EVENT.finditer(text):
        kind = event.lastgroup
        if reasoning:
            if kind == "close":
                reasoning, begin = False, event.end()
            continue
        part = text[begin : event.start()]
        if kind == "close":  # the prompt has opened the reasoning
            parts, boxes, boxed = [], [], False
        elif kind == "open":
            (boxes if boxed else parts).append(part)
            reasoning = True
        elif kind == "box":
            parts.append(part)
            boxed = True
        elif boxed:  # "unbox", or an end of turn
            boxes.append(part)
            boxed = False
        elif part.strip() or any(one.strip() for one in parts):
            parts.append(part)
            reasoning = True  # text after the turn is ignored
            break
        begin = event.end()
    if not reasoning:
        (boxes if boxed else parts).append(text[begin:])
    if boxes:
        return next((part for part in reversed(boxes) if part.strip()), "")
    return next((part for part in reversed(parts) if part.strip()), "")


def open_reasoning(text: str) -> str:
    """Return the opening mark of the reasoning that is open at the end of ``text``, or the empty string."""
    mark = ""
    for event in _EVENT.finditer(text):
        if event.lastgroup == "open":
            mark = mark or event.group()
        elif event.lastgroup == "close" or (event.lastgroup == "end" and _CHANNEL.match(mark)):
            mark = ""
    return mark


def closing_of(mark: str) -> str:
    """Return the text that closes reasoning opened by ``mark``, up to the beginning of the answer."""
    if _CHANNEL.match(mark):
        return "<|end|><|start|>assistant<|channel|>final<|message|>"
    for opening, closing in _CLOSING.items():
        if mark.lower().startswith(opening):
            return closing
    inner = mark[1:-1]
    name = inner.strip("|\uff5c ")
    for begin, end in (("start", "end"), ("begin", "end"), ("START", "END"), ("BEGIN", "END")):
        for old, new in ((f"{begin}_", f"{end}_"), (f"_{begin}", f"_{end}")):
            if name.startswith(old) if old[-1] == "_" else name.endswith(old):
                return mark[0] + inner.replace(old, new, 1) + mark[-1]
    plain = name.split()[0]  # without the attributes of a tag
    return f"{mark[0]}{inner.replace(name, f'/{plain}', 1).strip()}{mark[-1]}"


def has_mark(text: str) -> bool:
    """Return whether ``text`` contains a mark of reasoning, an answer tag or a channel."""
    return bool(_CHANNEL.search(text)) or any(event.lastgroup != "end" for event in _EVENT.finditer(text))


def is_mark(token: str) -> bool:
    """Return whether a special token is such a mark, which must be kept when an answer is decoded."""
    if _HARMONY.fullmatch(token) or token in ("<|channel>", "<channel|>"):
        return True
    event = _EVENT.fullmatch(token)
    return event is not None and event.lastgroup != "end"
