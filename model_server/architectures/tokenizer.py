"""A small byte-level BPE: the words of the questions are one token each, and any other word can be spelt.

Every stretch of text starts with a space inside the tokenizer, so that a word is the same token as an option, inside a
sentence and as an answer; decoding removes that space again. Knows nothing of images or of the world's meaning.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

__all__ = ["ASSISTANT", "END", "IMAGE", "PAD", "USER", "train_tokenizer"]

PAD, IMAGE, USER, ASSISTANT, END = "<pad>", "<image>", "<|user|>", "<|assistant|>", "<|end|>"
_SPECIAL = (PAD, IMAGE, USER, ASSISTANT, END)


def train_tokenizer(
    texts: Iterable[str], *, vocabulary: int, words: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on texts; each of `words` is promised to be one token.

    Raises ValueError if `vocabulary` is too small to make every word one token; the message names the split words.
    """
    wanted = sorted(set(words))
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    special = [AddedToken(t, special=True, normalized=False) for t in _SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = list(texts)
    # Rare words would lose their merges to frequent fragments; repeated, they keep them.
    tokenizer.train_from_iterator([*corpus, *(wanted * max(50, len(corpus) // 4))], trainer)
    split = [word for word in wanted if len(tokenizer.encode(word).ids) != 1]
    if split:
        raise ValueError(
            f"a vocabulary of {vocabulary} splits {', '.join(split)}; raise `vocabulary`"
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=USER,
        eos_token=END,
        padding_side="left",
        model_max_length=512,
        extra_special_tokens={"image_token": IMAGE},
    )
