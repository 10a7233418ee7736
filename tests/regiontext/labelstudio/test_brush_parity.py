"""Our brush code beside recorded codes of the SDK and of Label Studio's editor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontext.labelstudio.brush import decode_rle, decode_values, encode_rle, encode_values

DEFAULT = Path(__file__).resolve().parents[4] / "shared" / "parity" / "rle"
FOLDER = Path(os.environ.get("REGIONTEXT_PARITY_RLE", DEFAULT))
MANIFEST = FOLDER / "manifest.json"

pytestmark = pytest.mark.skipif(
    not MANIFEST.exists(),
    reason=f"no recorded brush codes at {FOLDER}; set REGIONTEXT_PARITY_RLE to their folder",
)

CASES: dict[str, Any] = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}


def cases(kind: str) -> pytest.MarkDecorator:
    many = CASES.get(kind, [])
    return pytest.mark.parametrize("case", many, ids=[case["id"] for case in many])


def read(path: str) -> Any:
    return json.loads((FOLDER / path).read_text())


def picture(path: str) -> np.ndarray:
    return np.asarray(Image.open(FOLDER / path))


@cases("masks")
def test_masks(case: dict[str, Any]) -> None:
    grey, rle = picture(case["mask"]), read(case["rle"])["rle"]
    size = case["width"], case["height"]
    values = np.repeat(grey.ravel(), 4)
    assert encode_values(values) == rle
    assert np.array_equal(decode_values(rle, expected=values.size), values)
    assert np.array_equal(decode_rle(rle, size), grey > 127)
    if set(np.unique(grey)) <= {0, 255}:
        assert encode_rle(grey > 0) == rle


@cases("direct")
def test_values(case: dict[str, Any]) -> None:
    recorded = read(case["file"])
    runs = recorded.get("runs_value_count") or [[value, 1] for value in recorded["values"]]
    values = np.repeat(*np.array(runs).T).astype(np.uint8)
    assert encode_values(values) == recorded["rle"]
    assert np.array_equal(decode_values(recorded["rle"], expected=values.size), values)


@cases("browser")
def test_brushes_painted_in_label_studio(case: dict[str, Any]) -> None:
    rle, rgba, alpha = read(case["rle"])["rle"], picture(case["rgba"]), picture(case["alpha"])
    values = decode_values(rle, expected=rgba.size)
    assert np.array_equal(values.reshape(rgba.shape), rgba)
    assert np.array_equal(decode_rle(rle, (case["width"], case["height"])), alpha > 127)
    assert encode_values(values) == rle
