"""From a checkpoint folder or hub id to a model and its processor, or one clear line why not."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from model_server.errors import ModelFolderError
from model_server.families.pictures import keep_whole
from model_server.folder import ModelFolder
from model_server.loading import LOADING

__all__ = ["load_checkpoint", "pick_device", "pick_dtype"]

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


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, where answers then do not depend on the batch, else bfloat16."""
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if dtype not in _DTYPES:
        raise ModelFolderError(f"dtype {dtype!r} is not one of auto, {', '.join(_DTYPES)}.")
    return _DTYPES[dtype]


def load_checkpoint(
    folder: ModelFolder, *, device: str = "auto", dtype: str = "auto", **options: Any
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
                folder.source, dtype=pick_dtype(dtype, where), **options
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
