"""Several turns about one picture in one sequence: the picture is read once, every turn sees it and only itself.

A sequence is <|user|>, the image tokens, then for each turn its text, <|assistant|>, its answer and <|end|>. Positions
restart after the picture for each turn, and the attention mask is causal and block-diagonal, so that every turn has
exactly the numbers it would have alone. Knows nothing of the world or of optimisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast, VipLlavaForConditionalGeneration

from model_server.architectures import tokenizer as tokens

__all__ = [
    "EncodedTurn",
    "Packed",
    "answer_logits",
    "decoder_states",
    "encode_turns",
    "pack",
    "vision_states",
]

# A turn: token ids of text, <|assistant|>, answer and <|end|>, and how many of the last are learnt.
EncodedTurn = tuple[NDArray[np.int16], int]


@dataclass(frozen=True)
class Packed:
    """A batch of packed sequences; S counts the prefix (1 + image tokens) and all turns.

    ids int64[B, S]; positions int64[B, S]; mask float32[B, 1, S, S], 0 or a large negative number;
    rows, columns: int64[N], where a token is predicted from; targets int64[N], that token. begins: of every sequence,
    where each of its turns begins, -1 for one that did not fit.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    begins: tuple[tuple[int, ...], ...] = ()

    def to(self, device: torch.device) -> Packed:
        """The same batch on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "begins"}
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        return Packed(**moved, begins=self.begins)


def encode_turns(
    tokenizer: PreTrainedTokenizerFast, turns: Sequence[tuple[str, str]]
) -> list[EncodedTurn]:
    """Return the token ids of (prompt, answer) turns, as the chat template would put them after the image."""
    assistant = tokenizer.convert_tokens_to_ids(tokens.ASSISTANT)
    end = tokenizer.convert_tokens_to_ids(tokens.END)
    flat = [text for turn in turns for text in turn]
    ids = tokenizer(flat, add_special_tokens=False)["input_ids"] if flat else []
    encoded = []
    for prompt, answer in zip(ids[::2], ids[1::2], strict=True):
        encoded.append((np.array([*prompt, assistant, *answer, end], np.int16), len(answer) + 1))
    return encoded


def pack(
    batch: Sequence[Sequence[EncodedTurn]],
    *,
    image_tokens: int,
    image_id: int,
    user_id: int,
    pad_id: int,
    length: int,
) -> Packed:
    """Pack the turns of every picture into sequences of `length` tokens.

    Turns that no longer fit are left out; the first always must. Raises ValueError if a first turn is too long.
    """
    prefix = 1 + image_tokens
    ids = np.full((len(batch), length), pad_id, dtype=np.int64)
    positions = np.zeros((len(batch), length), dtype=np.int64)
    turn_of = np.full((len(batch), length), -1, dtype=np.int64)
    ids[:, 0], ids[:, 1:prefix] = user_id, image_id
    positions[:, :prefix] = np.arange(prefix)
    turn_of[:, :prefix] = 0
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    begins: list[tuple[int, ...]] = []
    for row, turns in enumerate(batch):
        at = prefix
        places = [-1] * len(turns)
        for number, (turn, learnt) in enumerate(turns):
            stop = at + len(turn)
            if stop > length:
                if number == 0:
                    raise ValueError(
                        f"a turn of {len(turn)} tokens does not fit after the image in {length}"
                    )
                continue
            ids[row, at:stop] = turn
            positions[row, at:stop] = prefix + np.arange(len(turn))
            turn_of[row, at:stop] = number + 1
            span = np.arange(stop - learnt, stop)
            rows.append(np.full(learnt, row))
            columns.append(span - 1)
            places[number] = at
            at = stop
        begins.append(tuple(places))
    own = torch.from_numpy(turn_of)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    seen = (own[:, None, :] == own[:, :, None]) | (own[:, None, :] == 0)
    allowed = seen & causal
    # Padding sees itself, so that no row of the mask is empty.
    mask = torch.where(allowed, 0.0, -1e9)[:, None]
    at_row = torch.from_numpy(np.concatenate(rows))
    at_column = torch.from_numpy(np.concatenate(columns))
    every = torch.from_numpy(ids)
    return Packed(
        ids=every,
        positions=torch.from_numpy(positions),
        mask=mask,
        rows=at_row,
        columns=at_column,
        targets=every[at_row, at_column + 1],
        begins=tuple(begins),
    )


def vision_states(
    model: VipLlavaForConditionalGeneration, pixels: torch.Tensor
) -> list[torch.Tensor]:
    """Return the vision tower's hidden states, [B, 1 + P, D] each: the embedding's and every layer's."""
    tower = model.model.vision_tower
    state = tower.pre_layrnorm(tower.embeddings(pixels))
    states = [state]
    for layer in tower.encoder.layers:
        state = layer(state, None)
        states.append(state)
    return states


def answer_logits(
    model: VipLlavaForConditionalGeneration, inside: Sequence[torch.Tensor], packed: Packed
) -> torch.Tensor:
    """Return the logits float[N, V] where an answer's token is predicted; `inside` are the decoder's states."""
    return model.lm_head(inside[-1][packed.rows, packed.columns])


def decoder_states(
    model: VipLlavaForConditionalGeneration, states: Sequence[torch.Tensor], packed: Packed
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Return the decoder's states, [B, S, D] each: the embeddings, then what every block returns, the last normed;
    and the attention of every block, [B, heads, S, S] each, where the model computes it eagerly, else none.
    """
    eager = model.config.text_config._attn_implementation == "eager"
    layers = model.config.vision_feature_layer
    features = model.model.multi_modal_projector(
        torch.cat([states[layer][:, 1:] for layer in layers], dim=-1)
    )
    # The pictures of one sequence follow each other.
    features = features.reshape(len(packed.ids), -1, features.shape[-1])
    words = model.get_input_embeddings()(packed.ids)
    count = features.shape[1]
    embedded = torch.cat([words[:, :1], features.to(words.dtype), words[:, 1 + count :]], dim=1)
    found = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=packed.mask.to(embedded.dtype),
        position_ids=packed.positions,
        use_cache=False,
        output_hidden_states=True,
        output_attentions=eager,
    )
    states_inside = (*found.hidden_states[:-1], found.last_hidden_state)
    return states_inside, tuple(found.attentions) if eager else ()
