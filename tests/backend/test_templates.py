"""The templates parse, offer what the docs promise, and are accepted by a real Label Studio."""

from __future__ import annotations

import importlib.resources
from typing import Any

import httpx
import pytest

from backend.up.demo import template
from model_server.worlds.vocabulary import MATERIALS
from regiontext.labelstudio.config import parse_config
from regiontext.questions.templates import field_question
from regiontext.questions.wordings import worded

NAMES = sorted(
    path.name.removesuffix(".xml")
    for path in importlib.resources.files("templates").iterdir()
    if path.name.endswith(".xml")
)
# The demo's own, whose questions the bundled model was trained on.
DEMO = ("attributes", "attributes_relations")


def test_the_templates_of_the_docs_are_shipped() -> None:
    assert {*DEMO, "sam_masks", "multi_image", "closed_vocabulary"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_asked_about_in_words_of_its_own(name: str) -> None:
    config = parse_config(template(name))
    assert config.fields and config.unsupported == ()
    for field in config.fields:
        assert field.per_region and field.ask, field.name
        assert "{mark}" in field.ask, "the words say where the mark is named"


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


@pytest.mark.parametrize("name", DEMO)
def test_the_demo_asks_what_the_bundled_model_was_trained_on(name: str) -> None:
    config = parse_config(template(name))
    fields = {field.name: field for field in config.fields}
    assert fields["caption"].tag == "TextArea"
    assert fields["material"].options == (*MATERIALS, "other")
    assert not fields["material"].multiple
    assert config.image_key == "image"
    assert field_question(fields["caption"]).wording == worded("caption")
    assert field_question(fields["material"]).wording == worded("attribute", "material")


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


def test_masks_have_one_brush_with_the_labels_of_the_point() -> None:
    config = parse_config(template("sam_masks"))
    (brush,) = [shape for shape in config.shapes if shape.tag == "BrushLabels"]
    (point,) = [shape for shape in config.shapes if shape.tag == "KeyPointLabels"]
    assert brush.labels == point.labels and not brush.smart
    assert [field.name for field in config.fields] == ["caption"]


def test_several_images_come_from_a_list() -> None:
    config = parse_config(template("multi_image"))
    assert config.multi and config.image_key == "images"


def test_a_closed_vocabulary_has_no_open_words() -> None:
    config = parse_config(template("closed_vocabulary"))
    fields = {field.tag: field for field in config.fields}
    assert set(fields) == {"Choices", "Taxonomy", "Rating", "Number"}
    assert fields["Choices"].options[0] == "vehicle > car"
    assert ("body", "dent") in fields["Taxonomy"].paths and ("body",) not in fields[
        "Taxonomy"
    ].paths
    assert not fields["Taxonomy"].multiple
    assert fields["Rating"].options == ("1", "2", "3", "4", "5")
    assert (fields["Number"].low, fields["Number"].high) == (0, 20)


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
