"""Small models of SAM's architecture: their sizes, their processor, and a start from which they learn quickly.

SAM is Kirillov et al., ICCV 2023 ("Segment Anything", appendix A): a vision transformer, an encoder of points and
boxes, and a decoder in which a few tokens and the image look at each other twice. Only the numbers are smaller. Saved,
such a model loads as any SAM checkpoint. Knows nothing of training data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers import (
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

__all__ = ["SamShape", "build_sam", "sam_processor"]


@dataclass(frozen=True)
class SamShape:
    """Sizes of a small SAM; the defaults are the bundled one's.

    image: side in px that the longer side of a picture is scaled to; patch: px; width: of the transformer and of the
    embedding; window: patches per side of the windowed layers' windows, the odd layers see everything.
    """

    image: int = 128
    patch: int = 8
    width: int = 96
    layers: int = 4
    heads: int = 4
    window: int = 8
    decoder_hidden: int = 256
    decoder_heads: int = 4


def build_sam(shape: SamShape, *, seed: int) -> SamModel:
    """A new model of random weights, in evaluation mode.

    The weights are random but not arbitrary: frequencies of the positional code are low enough that neighbouring places
    have similar codes, and the attention between points and image starts as attention to what lies at the same place.
    """
    side = shape.image // shape.patch
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=shape.width,
            output_channels=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            image_size=shape.image,
            patch_size=shape.patch,
            window_size=shape.window,
            global_attn_indexes=list(range(1, shape.layers, 2)),
            num_pos_feats=shape.width // 2,
        ).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=shape.width, image_size=shape.image, patch_size=shape.patch
        ).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=shape.width,
            mlp_dim=shape.decoder_hidden,
            num_attention_heads=shape.decoder_heads,
            iou_head_hidden_dim=shape.width,
        ).to_dict(),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SamModel(config)
        with torch.no_grad():
            _start(model, side)
    return model.eval()


def sam_processor(image: int) -> SamProcessor:
    """SAM's processor for a model of that side in px; it needs Pillow only."""
    return SamProcessor(
        SamImageProcessorPil(
            size={"longest_edge": image},
            pad_size={"height": image, "width": image},
            mask_size={"longest_edge": image // 4},
            mask_pad_size={"height": image // 4, "width": image // 4},
        )
    )


def _start(model: SamModel, side: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
    codes = model.shared_image_embedding.positional_embedding
    # Most frequencies below one turn per two patches, so that the code of a place fades within a few patches.
    codes.copy_(torch.randn_like(codes) * torch.linspace(0.5, side / 8, codes.shape[1]))
    # The code is a fixed one; both modules hold it.
    model.prompt_encoder.shared_embedding.positional_embedding.data = codes.data
    for holder in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        holder.positional_embedding.requires_grad_(False)
    encoder = model.vision_encoder
    if encoder.pos_embed is not None:
        places = model.get_image_wide_positional_embeddings()
        encoder.pos_embed.copy_(0.5 * places.permute(0, 2, 3, 1))
    for layer in encoder.layers:
        layer.attn.proj.weight.mul_(0.5)
        layer.mlp.lin2.weight.mul_(0.5)
    transformer = model.mask_decoder.transformer
    crossing = [
        attention
        for layer in transformer.layers
        for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token)
    ]
    for attention in (*crossing, transformer.final_attn_token_to_image):
        nn.init.orthogonal_(attention.q_proj.weight, gain=math.sqrt(2))
        attention.k_proj.weight.copy_(attention.q_proj.weight)
