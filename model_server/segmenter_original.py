"""Original segment-anything checkpoints (`sam_vit_b_01ec64.pth` and its like) as transformers' SamModel.

The file holds nothing but weights by name; every size except the decoder's number of heads (8 in all released models)
can be read off them. Names are those of github.com/facebookresearch/segment-anything (modeling/*.py), to the left in
the tables below. Knows nothing of pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import (
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from model_server.errors import ModelFolderError

__all__ = ["ORIGINAL_SUFFIXES", "config_of", "read_original", "renamed"]

ORIGINAL_SUFFIXES = (".pth", ".pt")

Weights = Mapping[str, torch.Tensor]

# Where a name begins, or in the middle of it (with the dots): theirs, ours.
_PARTS = (
    ("image_encoder.patch_embed.proj.", "vision_encoder.patch_embed.projection."),
    ("image_encoder.blocks.", "vision_encoder.layers."),
    ("image_encoder.neck.0.", "vision_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."),
    ("image_encoder.neck.2.", "vision_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."),
    ("image_encoder.", "vision_encoder."),
    ("prompt_encoder.point_embeddings.", "prompt_encoder.point_embed."),
    ("prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_embed.conv1."),
    ("prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_embed.layer_norm1."),
    ("prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_embed.conv2."),
    ("prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_embed.layer_norm2."),
    ("prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_embed.conv3."),
    ("mask_decoder.output_upscaling.0.", "mask_decoder.upscale_conv1."),
    ("mask_decoder.output_upscaling.1.", "mask_decoder.upscale_layer_norm."),
    ("mask_decoder.output_upscaling.3.", "mask_decoder.upscale_conv2."),
    (".norm_final_attn.", ".layer_norm_final_attn."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".norm3.", ".layer_norm3."),
    (".norm4.", ".layer_norm4."),
)
_CODES = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
# Their perceptrons number all layers; ours name the first and the last.
_PERCEPTRON = re.compile(
    r"(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))\.layers\.(\d+)\.(.+)"
)
_BLOCK = re.compile(r"image_encoder\.blocks\.(\d+)\.")
# Old files hold the constants that pictures are normalised with.
_CONSTANTS = ("pixel_mean", "pixel_std")
_DECODER_HEADS = 8


def read_original(path: Path, *, decoder_heads: int = _DECODER_HEADS) -> SamModel:
    """The model in a `.pth` file, float32, in evaluation mode. Only tensors are read: no code of the file is run.

    Raises ModelFolderError when the file is missing or no SAM.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelFolderError(f"--segmenter {path}: there is no such file.") from None
    except Exception as error:  # whatever reading a foreign file raises
        why = " ".join(str(error).split())[:200]
        raise ModelFolderError(f"--segmenter {path}: it is no file of weights ({why}).") from error
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelFolderError(f"--segmenter {path}: it holds more than weights by name.")
    try:
        model = SamModel(config_of(state, decoder_heads=decoder_heads))
        weights = {name: weight.float() for name, weight in renamed(state).items()}
    except KeyError as error:
        raise ModelFolderError(
            f"--segmenter {path}: {error.args[0]!r} is not in it, so it is no original SAM (of SAM 2 and others, "
            "transformers' folders cannot be read either)."
        ) from error
    except ValueError as error:
        raise ModelFolderError(f"--segmenter {path}: no SAM has such sizes ({error}).") from error
    try:
        missing, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        why = " ".join(str(error).split())[:300]
        raise ModelFolderError(f"--segmenter {path}: its weights do not fit: {why}") from error
    if missing or unknown:
        raise ModelFolderError(
            f"--segmenter {path}: it is no plain SAM; missing {missing[:3]}, unknown {unknown[:3]} (SAM-HQ, SAM 2 and "
            "MobileSAM have other layers)."
        )
    return model.eval()


def renamed(state: Weights) -> dict[str, torch.Tensor]:
    """The weights of an original checkpoint under transformers' names. Raises KeyError without the positional code."""
    last: dict[str, int] = {}
    for name in state:
        if found := _PERCEPTRON.fullmatch(name):
            last[found[1]] = max(last.get(found[1], 0), int(found[2]))
    ours: dict[str, torch.Tensor] = {}
    for name, weight in state.items():
        if name in _CONSTANTS or name == _CODES:
            continue
        if found := _PERCEPTRON.fullmatch(name):
            number = int(found[2])
            place = {0: "proj_in", last[found[1]]: "proj_out"}.get(number, f"layers.{number - 1}")
            ours[f"{found[1]}.{place}.{found[3]}"] = weight
            continue
        new = name
        for theirs, mine in _PARTS:
            new = new.replace(theirs, mine)
        ours[new] = weight
    for holder in ("shared_image_embedding", "prompt_encoder.shared_embedding"):
        ours[f"{holder}.positional_embedding"] = state[_CODES]
    return ours


def config_of(state: Weights, *, decoder_heads: int = _DECODER_HEADS) -> SamConfig:
    """The sizes of an original checkpoint, read off its weights. Raises KeyError for a weight that is not there."""
    patches = state["image_encoder.patch_embed.proj.weight"]
    width, channels, patch, _ = patches.shape
    places = state.get("image_encoder.pos_embed")
    depth = 1 + max((int(m[1]) for name in state if (m := _BLOCK.match(name))), default=-1)
    spans = [state[f"image_encoder.blocks.{n}.attn.rel_pos_h"].shape for n in range(depth)]
    # Attention over n patches a side holds 2 n - 1 distances.
    sides = [(span[0] + 1) // 2 for span in spans]
    grid = int(places.shape[1]) if places is not None else max(sides)
    neck = int(state["image_encoder.neck.0.weight"].shape[0])
    decoder = "mask_decoder.transformer"
    reduced = int(state[f"{decoder}.final_attn_token_to_image.q_proj.weight"].shape[0])
    layers = 1 + max(
        int(m[1])
        for name in state
        if (m := re.match(rf"{re.escape(decoder)}\.layers\.(\d+)\.", name))
    )
    head = "mask_decoder.iou_prediction_head.layers"
    vision = SamVisionConfig(
        hidden_size=int(width),
        output_channels=neck,
        num_hidden_layers=depth,
        num_attention_heads=int(width) // int(spans[0][1]),
        num_channels=int(channels),
        image_size=grid * int(patch),
        patch_size=int(patch),
        qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in state,
        use_abs_pos=places is not None,
        window_size=min(sides),
        global_attn_indexes=[n for n, side in enumerate(sides) if side == grid],
        num_pos_feats=int(state[_CODES].shape[1]),
        mlp_dim=int(state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0]),
    )
    prompts = SamPromptEncoderConfig(
        hidden_size=neck,
        image_size=grid * int(patch),
        patch_size=int(patch),
        mask_input_channels=int(state["prompt_encoder.mask_downscaling.3.weight"].shape[0]),
    )
    masks = SamMaskDecoderConfig(
        hidden_size=neck,
        mlp_dim=int(state[f"{decoder}.layers.0.mlp.lin1.weight"].shape[0]),
        num_hidden_layers=layers,
        num_attention_heads=decoder_heads,
        attention_downsample_rate=neck // reduced,
        num_multimask_outputs=int(state["mask_decoder.mask_tokens.weight"].shape[0]) - 1,
        iou_head_depth=sum(name.startswith(head) and name.endswith("weight") for name in state),
        iou_head_hidden_dim=int(state[f"{head}.0.weight"].shape[0]),
    )
    return SamConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompts.to_dict(),
        mask_decoder_config=masks.to_dict(),
    )
