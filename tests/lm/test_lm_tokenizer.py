"""The word-level tokenizer and the cache of lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfreg_gym.lm.loading import load_tokenizer
from selfreg_gym.lm.tokenizer import CONTROL_WORDS, PromptEncoder, build_tokenizer, words

TEXT = "Room 2 has: a table.\nYou can: Go to Room 3, Pick up the cup, Done!\n\nAction:"


def test_decoding_an_encoded_action_returns_it(tokenizer: Any) -> None:
    for action in ("Go to Room 3", "Pick up the cup", "Done!", "Room 2 has a table, a cup."):
        assert tokenizer.decode(tokenizer.encode(action, add_special_tokens=False)) == action


def test_ids_do_not_depend_on_the_order_of_the_texts() -> None:
    assert build_tokenizer(["b a", "c"]).get_vocab() == build_tokenizer(["c", "a b"]).get_vocab()


def test_control_words_are_always_included_first() -> None:
    tokenizer = build_tokenizer(["zebra"])
    ids = [tokenizer.convert_tokens_to_ids(word) for word in (*CONTROL_WORDS, "zebra")]
    assert ids == sorted(ids)
    assert tokenizer.unk_token_id not in ids
    assert len(set(ids)) == len(CONTROL_WORDS) + 1


def test_an_unknown_word_is_one_unknown_token(tokenizer: Any) -> None:
    assert tokenizer.encode("xylophone red", add_special_tokens=False)[0] == tokenizer.unk_token_id
    assert tokenizer.unk_token_id not in tokenizer.encode(TEXT)


def test_words_split_as_the_tokenizer_does(tokenizer: Any) -> None:
    assert tokenizer.tokenize("Room 2 has: a cup, Done!") == words("Room 2 has: a cup, Done!")


def test_encoding_by_line_equals_encoding_the_whole(tokenizer: Any) -> None:
    encoder = PromptEncoder(tokenizer, max_lines=2)
    assert encoder.by_line
    for text in (TEXT, "", "red", "\n", TEXT):
        assert encoder.prompt(text) == tokenizer.encode(text)
    assert len(encoder._lines) <= 2
    assert encoder.continuation(" Go to Room 3") == tokenizer.encode("Go to Room 3", add_special_tokens=False)


def test_changing_the_ids_does_not_change_the_cache(tokenizer: Any) -> None:
    encoder = PromptEncoder(tokenizer)
    encoder.continuation("red").append(0)
    encoder.prompt("red").append(0)
    assert encoder.prompt("red") == tokenizer.encode("red")


def test_a_subword_tokenizer_encodes_the_whole_text() -> None:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.train_from_iterator(["a\n\nb go to the room"] * 9, trainers.BpeTrainer(special_tokens=["<e>"]))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<e>")
    encoder = PromptEncoder(tokenizer)
    assert not encoder.by_line
    assert encoder.prompt("go\n\nto") == tokenizer.encode("go\n\nto")


def test_saving_and_loading(checkpoint: Path, tokenizer: Any) -> None:
    loaded = load_tokenizer(checkpoint)
    assert loaded.encode(TEXT) == tokenizer.encode(TEXT)
    assert loaded.decode(loaded.encode("Done!", add_special_tokens=False)) == "Done!"
    assert PromptEncoder(loaded).by_line
    assert (loaded.pad_token, loaded.eos_token) == ("<pad>", "</s>")
