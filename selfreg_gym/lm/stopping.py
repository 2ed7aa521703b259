"""The tokens that end an answer: one list for ranking, which counts them, and for writing, which stops at them."""

from __future__ import annotations

from typing import Any

from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.controls import control_tokens
from selfreg_gym.lm.turns import turn_of

__all__ = ["stop_tokens"]

#: End-of-turn tokens of known families. A model whose vocabulary has one ends its turns with it, whatever its
#: configuration says; one that never writes it is not affected.
_KNOWN = (
    *("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end_of_turn|>", "<|endofturn|>"),
    *("<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>", "<|return|>", "<end_of_utterance>", "<|endoftext|>"),
    *("<|end_of_text|>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
)


def stop_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids of all tokens that end an answer, in ascending order; those beyond the output layer are left out.

    They are the end-of-text token of the tokenizer, those of the model's generation config and config, the token that
    the chat template writes after an answer, and the end-of-turn tokens of known families in the vocabulary. A pad
    token that is spelled as padding ("<pad>") is not among them, whatever the config says.

    Raises:
        CheckpointError: a configured end-of-text token is not a token id.
    """
    found: set[int] = set()
    generation = getattr(model, "generation_config", None)
    for value in (
        tokenizer.eos_token_id,
        getattr(generation, "eos_token_id", None),
        getattr(model.config.get_text_config(), "eos_token_id", None),
    ):
        tokens = [token for token in (value if isinstance(value, list | tuple) else [value]) if token is not None]
        if not all(isinstance(token, int) or (isinstance(token, float) and token.is_integer()) for token in tokens):
            raise CheckpointError(
                "eos_token_id in generation_config.json and config.json must be a token id or a list of them, "
                f"received {value!r}: correct it, or save the checkpoint again."
            )
        found.update(map(int, tokens))
    controls = control_tokens(tokenizer)
    found.update(controls[token] for token in (turn_of(tokenizer).end, *_KNOWN) if token in controls)
    pad = tokenizer.pad_token_id
    if pad is not None and pad != tokenizer.eos_token_id and "pad" in str(tokenizer.pad_token).lower():
        found.discard(int(pad))
    rows = model.get_output_embeddings().weight.shape[0] if model.get_output_embeddings() is not None else None
    return tuple(sorted(token for token in found if token >= 0 and (rows is None or token < rows)))
