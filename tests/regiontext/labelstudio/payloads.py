"""Recorded Label Studio 1.23.2 payloads, and small results made by hand."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FIXTURES = Path(__file__).parents[2] / "fixtures" / "label_studio"

CONFIG = """
<View>
  <Relations><Relation value="next to"/><Relation value="holds" subject="Person, Car" object="Tree"/></Relations>
  <Image name="img" value="$image"/>
  <RectangleLabels name="rect" toName="img" smart="true"><Label value="Car"/><Label value="Person"/></RectangleLabels>
  <EllipseLabels name="ell" toName="img"><Label value="Tree"/></EllipseLabels>
  <TextArea name="caption" toName="img" perRegion="true" ask="What is the object {mark}?"/>
  <Choices name="quality" toName="img" perRegion="true"><Choice value="clear"/><Choice value="occluded"/></Choices>
  <Choices name="tags" toName="img" perRegion="true" choice="multiple"><Choice value="a"/><Choice value="b"/></Choices>
  <Rating name="stars" toName="img" perRegion="true"/>
  <TextArea name="relcaption" toName="img" smart="false"/>
  <TextArea name="prompt" toName="img" smart="true"/>
</View>
"""


def load(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text())


def recorded() -> list[dict[str, Any]]:
    """All results of the annotation with one region of each shape."""
    return load("annotation_all_regions.json")[0]["result"]


def shape(type: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"id": "r1", "from_name": "c", "to_name": "img", "type": type, "value": value}
    return base | {"original_width": 200, "original_height": 100} | more


def png_url(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def touch(points, width, **more):
    return {
        "id": "t",
        "type": "add",
        "relativePoints": points,
        "relativeStrokeWidth": width,
        "points": [],
    } | more
