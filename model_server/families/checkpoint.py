"""From a checkpoint folder or hub id to a model and its processor, or one clear line why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from model_server.errors import ModelFolderError
from model_server.families.pictures import keep_whole
from model_server.folder import ModelFolder
from model_server.loading import LOADING

__all__ = ["Precision", "load_checkpoint", "multiplies_bfloat16", "pick_device", "pick_precision"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str) -> torch.device:
    """`auto` is the first GPU if there is one, CUDA before Apple's; raises ModelFolderError for an unknown one."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        where = torch.device(device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFolderError(
            f"device {device!r} cannot be used here: {reason}. Choose auto, cpu, cuda, cuda:N or mps."
        ) from None
    return where


@dataclass(frozen=True)
class Precision:
    """How a model calculates.

    Attributes:
        states: dtype of what goes from layer to layer, of norms, attention and logits.
        products: dtype of the layers' matrices and of what goes through them, where the model's layers are run
            packed; everywhere else they are as `states`.
    """

    states: torch.dtype
    products: torch.dtype


def multiplies_bfloat16(device: torch.device) -> bool:
    """True if a device has instructions of its own for products of bfloat16, which then take less time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def pick_precision(dtype: str, device: torch.device) -> Precision:
    """What ``--dtype`` means on a device.

    ``mixed`` is float32 with products in bfloat16, as autocast trains models (Micikevicius et al. 2018, section 3, with
    bfloat16): on a CPU each row's products are calculated apart from the others', and its answer has the same tokens
    alone and in any batch, with log-probabilities within 0.001.
    ``auto`` is that on a CPU which multiplies bfloat16 itself, float32 on another, and bfloat16 on a GPU.

    Raises ModelFolderError for an unknown name.
    """
    if dtype == "auto" and device.type == "cpu":
        dtype = "mixed" if multiplies_bfloat16(device) else "float32"
    elif dtype == "auto":
        dtype = "bfloat16"
    if dtype == "mixed":
        return Precision(torch.float32, torch.bfloat16)
    if dtype not in _DTYPES:
        raise ModelFolderError(f"dtype {dtype!r} is not one of auto, mixed, {', '.join(_DTYPES)}.")
    return Precision(_DTYPES[dtype], _DTYPES[dtype])


def load_checkpoint(
    folder: ModelFolder,
    *,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Load model (eval mode, on its device) and processor, which then shows the model whole pictures.

    `options` go to ``from_pretrained``. Raises ModelFolderError when files are missing, the
    architecture does not read images, or there is no chat template.
    """
    where = pick_device(device)
    try:
        processor = AutoProcessor.from_pretrained(folder.source)
        with LOADING:
            model = AutoModelForImageTextToText.from_pretrained(
                folder.source, dtype=dtype, **options
            )
    except Exception as error:  # whatever a foreign checkpoint or its code raises
        reason = " ".join(str(error).split())
        if "torchvision" in reason:
            raise ModelFolderError(
                f"{folder.source}: its processor needs torchvision, which this server does without. Install the "
                "torchvision that was built for your torch, or serve the model with vLLM and pass its address as "
                "--model-url."
            ) from error
        raise ModelFolderError(
            f"{folder.source} cannot be loaded as an image-text-to-text model: {reason}"
        ) from error
    if not getattr(processor, "chat_template", None):
        raise ModelFolderError(
            f"{folder.source} has no chat template; add a chat_template.jinja to the folder."
        )
    keep_whole(processor)
    return model.to(where).eval(), processor
