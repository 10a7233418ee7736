"""What a token id says, in bytes: half a character is bytes, not yet text.

Knows the two ways tokenizers write bytes: byte-level BPE (Radford et al. 2019) and SentencePiece
with byte fallback.
"""

from __future__ import annotations

import re
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

__all__ = ["token_bytes"]

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(tokenizer: PreTrainedTokenizerBase, token: int) -> bytes:
    """The UTF-8 bytes, possibly incomplete, that one token stands for."""
    added = tokenizer.added_tokens_decoder.get(token)
    if added is not None:
        return str(added.content).encode()
    piece = tokenizer.convert_ids_to_tokens(token)
    if piece is None:
        return b""
    if _is_byte_level(tokenizer):
        table = _byte_of_character()
        if all(character in table for character in piece):
            return bytes(table[character] for character in piece)
    found = _BYTE_PIECE.fullmatch(piece)
    if found:
        return bytes([int(found[1], 16)])
    return piece.replace("\u2581", " ").encode()


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and "ByteLevel" in repr(backend.decoder)


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    # Byte-level BPE writes printable Latin-1 bytes as themselves, the others as U+0100 onwards.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
