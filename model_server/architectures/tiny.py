"""The bundled model: a ViP-LLaVA of about five million parameters, and its processor.

The layout is ViP-LLaVA's (Cai et al., CVPR 2024, section 3.1): a CLIP vision transformer, features of several of its
layers concatenated, layer norm and an MLP, a Llama decoder; only the numbers are smaller. Saved, it loads with plain
AutoProcessor and AutoModelForImageTextToText. Images are scaled to fit and padded to a square, never cropped.
Knows nothing of training or of the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from model_server.architectures import tokenizer as tokens

__all__ = ["CHAT_TEMPLATE", "Shape", "build_model", "build_processor", "fit_square"]

# One turn: <|user|> images and text <|assistant|> answer <|end|>; the generation block marks what is learnt.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' -}}{%- generation -%}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
    "{%- for part in message['content'] -%}{%- if part['type'] == 'text' -%}{{- part['text'] -}}"
    "{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{{- '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}"
    "{{- '<|user|>' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
    "{%- for part in message['content'] -%}{%- if part['type'] in ('image', 'image_url') -%}"
    "{{- '<image>' -}}{%- endif -%}{%- endfor -%}"
    "{%- for part in message['content'] -%}{%- if part['type'] == 'text' -%}"
    "{{- part['text'] -}}{%- endif -%}{%- endfor -%}"
    "{%- endif -%}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

# Pixel values are (x / 255 - 0.5) / 0.5, padding is 0.
_MEAN = _STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; the defaults are the bundled one's."""

    image: int = 112
    patch: int = 16
    vision_width: int = 192
    vision_layers: int = 6
    vision_heads: int = 4
    vision_features: tuple[int, ...] = (2, 4, 6)
    text_width: int = 192
    text_layers: int = 4
    text_heads: int = 4
    text_hidden: int = 512

    @property
    def image_tokens(self) -> int:
        """How many tokens one image takes in the decoder."""
        return (self.image // self.patch) ** 2


def build_model(
    tokenizer: PreTrainedTokenizerFast, shape: Shape | None = None, *, seed: int = 0
) -> VipLlavaForConditionalGeneration:
    """Return a freshly initialised float32 model for the tokenizer's vocabulary."""
    shape = shape or Shape()
    vocabulary = -(-len(tokenizer) // 64) * 64
    vision = CLIPVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=4 * shape.vision_width,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.image,
        patch_size=shape.patch,
        projection_dim=shape.vision_width,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.text_width,
        intermediate_size=shape.text_hidden,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        num_key_value_heads=shape.text_heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = VipLlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(tokens.IMAGE),
        vision_feature_layer=list(shape.vision_features),
        image_seq_length=shape.image_tokens,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = VipLlavaForConditionalGeneration(config)
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.do_sample = False
    _place_positions(model.model.vision_tower.embeddings.position_embedding)
    return model


def build_processor(
    tokenizer: PreTrainedTokenizerFast, shape: Shape | None = None
) -> LlavaProcessor:
    """Return the processor: images fitted into the square and padded at the right and bottom."""
    shape = shape or Shape()
    side = {"height": shape.image, "width": shape.image}
    images = CLIPImageProcessorPil(
        do_resize=True,
        size={"max_height": shape.image, "max_width": shape.image},
        resample=Image.Resampling.BICUBIC,
        do_center_crop=False,
        crop_size=side,
        do_pad=True,
        pad_size=side,
        do_rescale=True,
        do_normalize=True,
        image_mean=list(_MEAN),
        image_std=list(_STD),
        do_convert_rgb=True,
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=shape.patch,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
    )


def fit_square(
    image: Image.Image, side: int, *, fill: int = 128, nearest: bool = False
) -> Image.Image:
    """Scale an image to fit a square of `side` px and pad at the right and bottom, as the processor does.

    `fill` is the padding's value, the processor's zero by default; `nearest` keeps label values intact.
    """
    width, height = image.size
    ratio = min(side / width, side / height)
    resample = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    fitted = image.resize((max(1, int(width * ratio)), max(1, int(height * ratio))), resample)
    if fitted.size == (side, side):
        return fitted
    square = Image.new(image.mode, (side, side), tuple([fill] * 3) if image.mode == "RGB" else fill)
    square.paste(fitted)
    return square


def _place_positions(embedding: nn.Embedding) -> None:
    """Start the vision positions from 2-D sines and cosines (MAE, He et al. 2022, appendix A.1), in place."""
    count, width = embedding.weight.shape
    side = math.isqrt(count - 1)
    quarter = width // 4
    rates = 1.0 / 100 ** (torch.arange(quarter) / quarter)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in (x, y)]
    grid = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)
    with torch.no_grad():
        embedding.weight.zero_()
        embedding.weight[1:, : 4 * quarter] = 0.5 * grid
