"""Masks from clicks: a SAM around whose image embeddings a bounded cache is kept.

The expensive half of SAM looks at the picture, the cheap half at the clicks; an annotator clicks many times on one
picture, so that the expensive half is done once. Reads transformers' folders and hub ids, and the original
segment-anything `.pth` files. One call at a time; any thread may call. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, SamModel, SamProcessor

from model_server.errors import ModelFolderError
from model_server.families.checkpoint import pick_device
from model_server.jobs import Picture
from model_server.loading import LOADING
from model_server.segmenter_original import ORIGINAL_SUFFIXES, read_original
from model_server.segmenter_small import sam_processor

__all__ = ["Mask", "Segmenter", "open_segmenter"]

Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Mask:
    """mask: bool[H, W] of the picture; score: the IoU with what was meant, as the model predicts it, in 0..1."""

    mask: NDArray[np.bool_]
    score: float


@dataclass(frozen=True, eq=False)
class _Seen:
    """A picture that was looked at: its embedding, its size and its size as the model saw it, (H, W) each."""

    embedding: torch.Tensor
    size: tuple[int, int]
    shown: tuple[int, int]


class Segmenter:
    """One SAM, on one device."""

    def __init__(
        self,
        model: SamModel,
        processor: SamProcessor,
        *,
        name: str = "sam",
        device: str = "cpu",
        cache_bytes: int = 256 * 2**20,
    ) -> None:
        """Take the model over, in evaluation mode. device: as for `pick_device`. cache_bytes: of embeddings kept."""
        self.name = name
        self._device = pick_device(device)
        self._model = model.to(self._device).eval()
        self._processor = processor
        self._cache_bytes = cache_bytes
        self._cached: OrderedDict[bytes, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def cached(self) -> int:
        """How many pictures' embeddings are kept."""
        return len(self._cached)

    def size_of(self, picture: Picture) -> tuple[int, int]:
        """(W, H) px of the picture, which is looked at if it was not before.

        Raises RequestError when it cannot be decoded.
        """
        with self._lock, torch.inference_mode():
            height, width = self._look(picture).size
        return width, height

    def segment(
        self,
        picture: Picture,
        points: Sequence[Point],
        labels: Sequence[int],
        box: Box | None = None,
    ) -> list[Mask]:
        """Masks of what the clicks mean, best first.

        points: (x, y) px of the picture; labels: 1 on the object, 0 off it; box: (x0, y0, x1, y1) px around it. One
        click alone is ambiguous and gets three masks, anything more gets one (Kirillov et al. 2023, section 3).
        Raises RequestError when the picture cannot be decoded, ValueError without points and box.
        """
        if not points and box is None:
            raise ValueError("there is neither a point nor a box to say what is meant")
        with self._lock, torch.inference_mode():
            seen = self._look(picture)
            asked: dict[str, Any] = {}
            if points:
                asked["input_points"] = self._scaled(points, seen).reshape(1, 1, -1, 2)
                asked["input_labels"] = torch.tensor([[list(labels)]], device=self._device)
            if box is not None:
                corners = self._scaled([box[:2], box[2:]], seen)
                asked["input_boxes"] = corners.reshape(1, 1, 4)
            out = self._model(
                image_embeddings=seen.embedding,
                multimask_output=len(points) == 1 and box is None,
                **asked,
            )
            masks = self._processor.post_process_masks(
                out.pred_masks.float().cpu(), [seen.size], [seen.shown]
            )[0][0]
            scores = out.iou_scores[0, 0].float().clamp(0, 1).cpu()
        best = torch.argsort(scores, descending=True, stable=True).tolist()
        return [Mask(masks[place].numpy(), float(scores[place])) for place in best]

    def _look(self, picture: Picture) -> _Seen:
        found = self._cached.get(picture.digest)
        if found is not None:
            self._cached.move_to_end(picture.digest)
            return found
        image = picture.load()
        shown = self._processor.image_processor(images=image, return_tensors="pt")
        weights = next(self._model.parameters())
        pixels = shown["pixel_values"].to(weights.device, weights.dtype)
        seen = _Seen(
            self._model.get_image_embeddings(pixels),
            (image.height, image.width),
            tuple(int(side) for side in shown["reshaped_input_sizes"][0]),  # type: ignore[arg-type]
        )
        self._cached[picture.digest] = seen
        while self._held() > self._cache_bytes and len(self._cached) > 1:
            self._cached.popitem(last=False)
        return seen

    def _held(self) -> int:
        return sum(seen.embedding.nbytes for seen in self._cached.values())

    def _scaled(self, points: Sequence[Sequence[float]], seen: _Seen) -> torch.Tensor:
        """Points in the pixels that the model saw."""
        scale = [seen.shown[1] / seen.size[1], seen.shown[0] / seen.size[0]]
        place = torch.tensor(points, dtype=torch.float32) * torch.tensor(scale)
        return place.to(self._device)


def open_segmenter(
    source: str, *, device: str = "cpu", cache_bytes: int = 256 * 2**20
) -> Segmenter:
    """Load a SAM: a folder or hub id as transformers saves it, or an original segment-anything `.pth` file.

    Raises ModelFolderError when it is none; the message says why.
    """
    path = Path(source).expanduser()
    name = path.name
    if path.suffix in ORIGINAL_SUFFIXES:
        with LOADING:
            model = read_original(path)
        processor = sam_processor(int(model.config.vision_config.image_size))
        name = path.stem
    else:
        try:
            kind = AutoConfig.from_pretrained(source).model_type
            if kind != "sam":
                raise ValueError(f"it is a {kind!r} model, not 'sam'")
            with LOADING:
                model = SamModel.from_pretrained(source, dtype=torch.float32)
        except Exception as error:  # whatever a foreign checkpoint raises
            why = " ".join(str(error).split())[:300]
            raise ModelFolderError(
                f"--segmenter {source}: no SAM could be loaded ({why}); give a folder or hub id of a SamModel "
                "(facebook/sam-vit-base) or an original sam_vit_*.pth file."
            ) from error
        processor = sam_processor(int(model.config.vision_config.image_size))
    return Segmenter(model, processor, name=name, device=device, cache_bytes=cache_bytes)
