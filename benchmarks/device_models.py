"""The models that `benchmarks.device` measures, on their device: the bundled one, and ViP-LLaVA 7B's layout with random
weights, whole or small.

Nothing is downloaded. Knows no questions and measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil
import torch
from transformers import (
    AutoProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    PreTrainedModel,
    ProcessorMixin,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)

from model_server.architectures.tiny import Shape, build_processor
from model_server.families.checkpoint import load_checkpoint, pick_device, pick_precision
from model_server.folder import BUNDLED, find_model

__all__ = ["SHAPES", "Layout", "Refused", "build", "check_room", "free_bytes", "pick", "row_bytes"]

SHAPES = ("bundled", "7b", "tiny")
_GIB = 2**30
# Words of a question and its answer behind the picture, more than any that is asked here.
_WORDS = 160


class Refused(Exception):
    """This model cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Layout:
    """Sizes of a ViP-LLaVA; by default those of its 7B model.

    CLIP ViT-L/14 at 336 px, features of its layers -2, -5, -8, -11 and 6, Vicuna 7B (sizes of Llama 2) with 64 words
    more: the defaults of transformers' VipLlavaConfig, filled up from the config.json of llava-hf/llava-1.5-7b-hf,
    which has the same tower and decoder. That of llava-hf/vip-llava-7b-hf itself was not compared.
    """

    image: int = 336
    patch: int = 14
    vision_width: int = 1024
    vision_layers: int = 24
    vision_heads: int = 16
    text_width: int = 4096
    text_layers: int = 32
    text_heads: int = 32
    text_hidden: int = 11008
    words: int = 32064
    positions: int = 4096

    def config(self, tokenizer: Any) -> VipLlavaConfig:
        """The configuration, with the ids of a tokenizer that has at most `words` tokens."""
        vision = CLIPVisionConfig(
            hidden_size=self.vision_width,
            intermediate_size=4 * self.vision_width,
            num_hidden_layers=self.vision_layers,
            num_attention_heads=self.vision_heads,
            image_size=self.image,
            patch_size=self.patch,
            projection_dim=768,
        )
        text = LlamaConfig(
            vocab_size=self.words,
            hidden_size=self.text_width,
            intermediate_size=self.text_hidden,
            num_hidden_layers=self.text_layers,
            num_attention_heads=self.text_heads,
            num_key_value_heads=self.text_heads,
            max_position_embeddings=self.positions,
            rms_norm_eps=1e-5,
            # 0.02 at a width of 4096; as much of it reaches the logits of a narrower one.
            initializer_range=0.02 * (4096 / self.text_width) ** 0.5,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return VipLlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids(tokenizer.image_token),
            vision_feature_layer=[-2, -5, -8, -11, 6],
            image_seq_length=(self.image // self.patch) ** 2,
            projector_layernorm_eps=1e-5,
        )


LAYOUTS = {
    "7b": Layout(),
    "tiny": Layout(
        image=84,
        vision_width=64,
        vision_layers=12,
        vision_heads=4,
        text_width=64,
        text_layers=2,
        text_heads=4,
        text_hidden=172,
        words=1024,
    ),
}


def pick(device: str, dtype: str, shape: str) -> tuple[torch.device, torch.dtype]:
    """Where and in what precision; auto is the first GPU, and bfloat16 there and for 7b, else float32.

    Raises Refused for `mixed`, whose matrices plain ``generate`` cannot run, and ModelFolderError for unknown names.
    """
    where = pick_device(device)
    if dtype == "auto":
        dtype = "float32" if where.type == "cpu" and shape != "7b" else "bfloat16"
    precision = pick_precision(dtype, where)
    if precision.states != precision.products:
        raise Refused(
            "mixed cannot be measured beside plain generate, which runs the same weights: choose float32, bfloat16 "
            "or float16."
        )
    return where, precision.states


def build(
    shape: str, device: torch.device, dtype: torch.dtype
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The model on its device, and its processor.

    Args:
        shape: one of SHAPES; all but ``bundled`` get random weights, made on the device from seed 0, and the bundled
            model's words.

    Raises Refused when the device has not the memory for one question, and for 7b on a CPU.
    """
    if shape == "bundled":
        return load_checkpoint(find_model(BUNDLED), device=str(device), dtype=dtype)
    layout = LAYOUTS[shape]
    tokenizer = AutoProcessor.from_pretrained(BUNDLED).tokenizer
    tokenizer.model_max_length = layout.positions
    config = layout.config(tokenizer)
    check_room(shape, _weight_bytes(config, dtype), row_bytes(config, dtype), device)
    torch.manual_seed(0)
    with device:
        model = VipLlavaForConditionalGeneration._from_config(config, dtype=dtype)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))
    processor = build_processor(tokenizer, Shape(image=layout.image, patch=layout.patch))
    return model.to(device).eval(), processor


def check_room(shape: str, weights: int, row: int, device: torch.device) -> None:
    """Raise Refused if `weights` bytes and the `row` bytes of one question do not fit the device; for 7b on any CPU."""
    free = free_bytes(device)
    slow = shape == "7b" and device.type == "cpu"
    if weights + row <= free and not slow:
        return
    needed = (
        f"--shape {shape} needs {(weights + row) / _GIB:.1f} GiB of memory ({weights / _GIB:.1f} of weights, "
        f"{row / _GIB:.1f} for each question at once)"
    )
    if slow:
        raise Refused(
            f"{needed} on a GPU. Here it would run on the CPU, with {free / _GIB:.1f} GiB free, and take hours. "
            "Choose --shape bundled or tiny here."
        )
    raise Refused(
        f"{needed}; {free / _GIB:.1f} GiB are free on {device}. Choose --shape bundled or tiny here."
    )


def row_bytes(config: Any, dtype: torch.dtype) -> int:
    """Memory for one question of a batch: keys and values twice (a copy is made when they grow), and its logits.

    config: a VipLlavaConfig.
    """
    text: Any = config.text_config
    tokens = config.image_seq_length + _WORDS
    states = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim
    return int(2 * tokens * states * dtype.itemsize + 2 * text.vocab_size * 4)


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device; on Apple's that of the machine."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)


def _weight_bytes(config: VipLlavaConfig, dtype: torch.dtype) -> int:
    with torch.device("meta"):
        model = VipLlavaForConditionalGeneration._from_config(config, dtype=dtype)
    return sum(weight.nbytes for weight in model.parameters())
