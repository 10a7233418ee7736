"""Options scored in one batch, by models that count positions in more than one dimension."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import BatchFeature, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from model_server.scoring import can_branch, score_branched, score_whole

pytestmark = pytest.mark.model
IMAGE, START, END = 60, 61, 62


@pytest.fixture(scope="module")
def model() -> Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL's architecture: positions of pictures are time, row and column (M-RoPE)."""
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 64,
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 2, 2],
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 48,
            "fullatt_block_indexes": [1],
        },
        image_token_id=IMAGE,
        vision_start_token_id=START,
        vision_end_token_id=END,
        video_token_id=63,
    )
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    for weight in model.parameters():  # far enough from uniform that a wrong position shows
        weight.data.mul_(4)
    return model


def inputs(words: int, seed: int) -> dict[str, Tensor]:
    """A prompt of one picture of 6 x 4 patches, six image tokens, and so many words."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([[5, START, *[IMAGE] * 6, END, *range(10, 10 + words)]])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == IMAGE).long(),
        "pixel_values": torch.randn(24, 3 * 2 * 14 * 14, generator=generator),
        "image_grid_thw": torch.tensor([[1, 6, 4]]),
    }


def padded(prompts: list[dict[str, Tensor]]) -> BatchFeature:
    width = max(one["input_ids"].shape[1] for one in prompts)
    whole = {}
    for name in prompts[0]:
        values = [one[name] for one in prompts]
        if values[0].shape == prompts[0]["input_ids"].shape:
            values = [torch.nn.functional.pad(v, (width - v.shape[1], 0)) for v in values]
        whole[name] = torch.cat(values)
    return BatchFeature(whole)


def alone(model: Qwen2_5_VLForConditionalGeneration, asked: dict[str, Tensor], ids: list[int]):
    """One plain forward pass over prompt and option."""
    option = torch.tensor([ids])
    given = dict(asked, input_ids=torch.cat([asked["input_ids"], option], dim=1))
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    given["mm_token_type_ids"] = (given["input_ids"] == IMAGE).long()
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(**given).logits[0], dim=-1)
    start = asked["input_ids"].shape[1]
    return [float(logprobs[start + place - 1, id]) for place, id in enumerate(ids)]


def test_options_are_scored_as_each_alone(model: Qwen2_5_VLForConditionalGeneration) -> None:
    assert not can_branch(model)
    prompts = [inputs(3, 0), inputs(3, 0), inputs(7, 1)]
    options = [[20, 21, 1], [22, 1], [23, 24, 25, 1]]
    scores = score_whole(model, padded(prompts), options)
    for asked, ids, own in zip(prompts, options, scores, strict=True):
        assert own == pytest.approx(alone(model, asked, ids), abs=1e-4)


def test_the_positions_matter(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Scored as by a model with plain positions it would be another number, so that the test above can fail."""
    asked = inputs(3, 0)
    branched = score_branched(model, BatchFeature(dict(asked)), [[[20, 21, 1]]])
    assert branched is not None
    assert branched[0][0] != pytest.approx(alone(model, asked, [20, 21, 1]), abs=1e-3)
