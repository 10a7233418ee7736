"""The templates parse, offer what the demo promises, and are accepted by a real Label Studio."""

from __future__ import annotations

import importlib.resources
from typing import Any

import httpx
import pytest

from backend.up.demo import template
from model_server.worlds.vocabulary import MATERIALS
from regiontext.labelstudio.config import parse_config

NAMES = sorted(
    path.name.removesuffix(".xml")
    for path in importlib.resources.files("templates").iterdir()
    if path.name.endswith(".xml")
)


def test_both_templates_are_shipped() -> None:
    assert {"attributes", "attributes_relations"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_regions_get_a_caption_and_one_of_the_materials(name: str) -> None:
    config = parse_config(template(name))
    fields = {field.name: field for field in config.fields}
    assert fields["caption"].tag == "TextArea"
    assert fields["material"].options == (*MATERIALS, "other")
    assert not fields["material"].multiple
    assert config.unsupported == ()
    assert config.image_key == "image"


@pytest.mark.parametrize("name", NAMES)
def test_only_the_prompt_calls_the_backend_when_it_is_edited(name: str) -> None:
    config = parse_config(template(name))
    assert [field.name for field in config.image_fields if field.smart] == ["prompt"]
    assert config.prompt_field is not None and config.prompt_field.name == "prompt"


@pytest.mark.parametrize("name", NAMES)
def test_exactly_the_two_tools_that_call_the_backend_are_smart(name: str) -> None:
    config = parse_config(template(name))
    assert {shape.tag for shape in config.shapes if shape.smart} == {
        "RectangleLabels",
        "KeyPointLabels",
    }
    assert all(shape.labels == ("Object",) for shape in config.shapes)


def test_the_demo_asks_for_relations_that_geometry_can_tell() -> None:
    from regiontext.evidence import spatial
    from regiontext.region import Region

    config = parse_config(template("attributes_relations"))
    asked = {relation.value for relation in config.relations}
    size = (100, 100)
    small = Region.from_box("a", (10, 10, 20, 20), size)
    large = Region.from_box("b", (50, 50, 90, 90), size)
    around = Region.from_box("c", (0, 0, 30, 30), size)
    across = Region.from_box("d", (15, 15, 40, 40), size)
    said: set[Any] = set()
    for one in (small, large, around, across):
        for other in (small, large, around, across):
            if one is not other:
                said |= set(spatial(one, other))
    assert asked <= said
    assert config.relation_field is not None and config.relation_field.name == "relations"


@pytest.mark.label_studio
@pytest.mark.parametrize("name", NAMES)
def test_label_studio_accepts_it(name: str, label_studio: Any) -> None:
    answer = httpx.post(
        f"{label_studio.url}/api/projects/validate/",
        json={"label_config": template(name)},
        headers=label_studio.headers,
        timeout=30,
    )
    assert answer.status_code == 204, answer.text
