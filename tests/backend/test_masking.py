"""Masks in results: which control draws them, and that each draws the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.clicks import Click, ClickMask, clicks_of
from backend.masking import is_untouched, mask_control, mask_shape
from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.decode import decode_region
from regiontext.labelstudio.results import check_results


def config(*controls: str) -> Any:
    field = '<TextArea name="caption" toName="img" perRegion="true"/>'
    return parse_config(
        f'<View><Image name="img" value="$image"/>{"".join(controls)}'
        f'<KeyPointLabels name="kp" toName="img" smart="true"><Label value="Car"/></KeyPointLabels>{field}</View>'
    )


def labels(tag: str, name: str, *values: str) -> str:
    inner = "".join(f'<Label value="{value}"/>' for value in values)
    return f'<{tag} name="{name}" toName="img">{inner}</{tag}>'


CAR = {"id": "k", "type": "keypointlabels", "value": {"x": 1, "y": 1, "keypointlabels": ["Car"]}}


@pytest.mark.parametrize(
    ("controls", "name"),
    [
        ([labels("BrushLabels", "b", "Road")], "b"),
        ([labels("BrushLabels", "b", "Road"), labels("BrushLabels", "c", "Road", "Car")], "c"),
        ([labels("BrushLabels", "b", "Road"), '<Brush name="c" toName="img"/>'], "c"),
        ([labels("BitmaskLabels", "m", "Car"), labels("BrushLabels", "b", "Road")], "b"),
        ([labels("PolygonLabels", "p", "Car"), labels("BitmaskLabels", "m", "Road")], "m"),
        ([labels("PolygonLabels", "p", "Car")], "p"),
        ([labels("RectangleLabels", "r", "Car")], None),
    ],
)
def test_which_control_draws_the_mask(controls: list[str], name: str | None) -> None:
    found = mask_control(config(*controls), CAR)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    "tag", ["BrushLabels", "Brush", "BitmaskLabels", "PolygonLabels", "Polygon"]
)
def test_every_control_draws_the_same_mask(tag: str) -> None:
    known = config(
        labels(tag, "c", "Car") if "Labels" in tag else f'<{tag} name="c" toName="img"/>'
    )
    control = mask_control(known, CAR)
    assert control is not None
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:40, 20:60] = True
    mask[50:52, 70:72] = True
    clicked = ClickMask("m1", (Click("k", 0.3, 0.3, True),), item_index=1)
    shape = mask_shape(mask, clicked, control, CAR)
    assert check_results([shape], known) == ([shape], [])
    assert shape["item_index"] == 1 and shape["type"] == tag.lower()
    assert shape["value"].get(tag.lower()) == (["Car"] if "Labels" in tag else None)
    back = decode_region(shape)
    if "Polygon" in tag:
        # A polygon is one part: the one that was clicked on.
        mask[50:52, 70:72] = False
        assert len(shape["value"]["points"]) == 4
    assert np.array_equal(back.mask, mask)
    noted = clicks_of(shape)
    assert noted is not None and [(c.x, c.y, c.positive) for c in noted[0]] == [(0.3, 0.3, True)]
    assert is_untouched(shape)
