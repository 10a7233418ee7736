"""One module per way a model takes a region; `overlay` reads marks drawn on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_server.errors import ModelFolderError
from model_server.folder import ModelFolder

if TYPE_CHECKING:
    from model_server.batches import Model

__all__ = ["FAMILIES", "open_model"]

FAMILIES = ("overlay",)


def open_model(
    folder: ModelFolder, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> Model:
    """Load a model and get it ready to answer; imports torch, so call it off the event loop.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: as `pick_precision` takes it; ``auto`` is mixed or float32 on a CPU and bfloat16 on a GPU.
        threads: CPU threads of this process's torch; None leaves torch's default.

    Raises ModelFolderError when the folder cannot be served.
    """
    if folder.region_input not in FAMILIES:
        raise ModelFolderError(
            f"{folder.source}: region_input {folder.region_input!r} is not known; "
            f"this server knows {', '.join(FAMILIES)}."
        )
    import torch

    from model_server.families.checkpoint import load_checkpoint, pick_device, pick_precision
    from model_server.families.overlay import OverlayModel
    from model_server.families.packed import PackedModel

    if threads:
        torch.set_num_threads(threads)
    precision = pick_precision(dtype, pick_device(device))
    model, processor = load_checkpoint(folder, device=device, dtype=precision.states)
    served: Model
    if PackedModel.fits(model, processor):
        served = PackedModel(model, processor, products=precision.products)
    else:
        served = OverlayModel(model, processor)
    served.warm_up()
    return served
