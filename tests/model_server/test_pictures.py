"""No region is cut off: whole pictures reach the model, padded as ViP-LLaVA was trained."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import LlavaProcessor, ProcessorMixin
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from model_server.architectures.tiny import CHAT_TEMPLATE, build_processor
from model_server.architectures.tokenizer import train_tokenizer
from model_server.families.checkpoint import load_checkpoint
from model_server.families.pictures import keep_whole, quick_pixels
from model_server.folder import find_model
from tests.model_server.conftest import TEXTS, TINY, WORDS, build_tiny

pytestmark = pytest.mark.model

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "parity" / "vipllava"
FOLDER = Path(os.environ.get("REGIONTEXT_PARITY_VIPLLAVA", DEFAULT)) / "public"


def stock(side: int) -> ProcessorMixin:
    """The processor as llava-hf/vip-llava-7b-hf ships it: shorter side to `side`, then the centre."""
    return LlavaProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        ),
        train_tokenizer(TEXTS, vocabulary=384, words=WORDS),
        patch_size=14,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
    )


def pixels(processor: ProcessorMixin, image: Image.Image) -> np.ndarray:
    return np.asarray(processor(text="<image>", images=[image])["pixel_values"][0])


def test_a_region_at_the_edge_is_seen() -> None:
    plain = Image.new("RGB", (1280, 480), (40, 90, 160))
    marked = plain.copy()
    marked.paste((255, 0, 0), (10, 200, 110, 300))
    processor = stock(56)
    assert np.array_equal(pixels(processor, plain), pixels(processor, marked))  # cut off
    assert keep_whole(processor)
    assert not np.array_equal(pixels(processor, plain), pixels(processor, marked))
    assert pixels(processor, plain).shape == (3, 56, 56)
    assert not keep_whole(processor)  # nothing left to change


def test_a_served_checkpoint_shows_whole_pictures(tmp_path: Path) -> None:
    folder = build_tiny(tmp_path / "model")
    stock(56).save_pretrained(folder)
    _, processor = load_checkpoint(find_model(folder), device="cpu")
    red = Image.new("RGB", (1280, 480))
    red.paste((255, 0, 0), (0, 0, 100, 480))
    assert not np.array_equal(pixels(processor, red), pixels(processor, Image.new("RGB", red.size)))


def test_a_processor_that_pads_is_left_alone() -> None:
    processor = build_processor(train_tokenizer(TEXTS, vocabulary=384, words=WORDS))
    before = processor.image_processor
    assert not keep_whole(processor)
    assert processor.image_processor is before


@pytest.mark.skipif(
    not FOLDER.exists(),
    reason=f"no reference pictures at {FOLDER.parent}; set REGIONTEXT_PARITY_VIPLLAVA to their folder",
)
@pytest.mark.parametrize("case", sorted(path.stem for path in FOLDER.glob("pad_*.npz")))
def test_preprocessing_is_vip_llavas(case: str) -> None:
    expected = np.asarray(Image.open(FOLDER / f"{case}_resized.png"))
    processor = stock(expected.shape[0])
    keep_whole(processor)
    made = pixels(processor, Image.open(FOLDER / f"{case}_input.png").convert("RGB"))
    images = processor.image_processor
    mean, std = (np.array(v)[:, None, None] for v in (images.image_mean, images.image_std))
    shown = np.rint((made * std + mean) * 255).astype(np.uint8).transpose(1, 2, 0)
    assert np.array_equal(shown, expected)
    exact = (expected.transpose(2, 0, 1) / 255 - mean) / std
    assert np.abs(made - exact).max() < 1e-5


def test_quick_pixels_are_the_processors() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=384, words=WORDS)
    processor = build_processor(tokenizer, TINY)
    quick = quick_pixels(processor)
    assert quick is not None
    for seed, (width, height) in enumerate([(1, 1), (56, 56), (640, 31), (33, 470), (57, 56)]):
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        image = Image.fromarray(noise)
        made = quick(image)
        assert made.shape == (1, 3, 56, 56) and made.dtype.is_floating_point
        right = processor(text="<image>", images=[image], return_tensors="pt")["pixel_values"]
        assert np.array_equal(made.numpy(), right.numpy())


def test_what_is_not_known_to_be_the_same_is_left_to_the_processor() -> None:
    cropping = stock(56)
    assert quick_pixels(cropping) is None
    keep_whole(cropping)  # pads before it scales
    assert quick_pixels(cropping) is None
    odd = build_processor(train_tokenizer(TEXTS, vocabulary=384, words=WORDS), TINY)
    normalize = odd.image_processor.normalize
    odd.image_processor.normalize = lambda image, *args, **more: (
        normalize(image, *args, **more) + image.mean()
    )
    assert quick_pixels(odd) is None
