"""The labeling config: which image, which shapes, which fields, which relations.

Reads Label Studio's XML as its editor does (tag and attribute names in any case) and says what
is missing and how to add it. Knows nothing of results or of how questions are worded.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as data_field

from regiontext.errors import ConfigError
from regiontext.labelstudio.fields import Field, options_of, read_field
from regiontext.labelstudio.tags import (
    canonical_hash,
    get,
    is_true,
    listed,
    parents_of,
    parse_xml,
    tag_of,
)

__all__ = [
    "Control",
    "Field",
    "LabelingConfig",
    "RelationLabel",
    "ShapeControl",
    "parse_config",
]

_SHAPES = ("Rectangle", "Ellipse", "Polygon", "Brush", "Bitmask", "KeyPoint", "Vector")
_SHAPE_TAGS = {tag.lower(): tag for shape in _SHAPES for tag in (shape, f"{shape}Labels")} | {
    "magicwand": "MagicWand"
}
_IMAGE_KEY = re.compile(r"\$([\w.\-]+)\Z")


@dataclass(frozen=True)
class Control:
    """Any tag with a name and a toName; `type` is what its results call it (lower-case tag)."""

    name: str
    tag: str
    type: str
    to_name: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShapeControl:
    """A control that draws regions; labels are aliases, else values, and empty if it has none."""

    name: str
    tag: str
    type: str
    to_name: str
    labels: tuple[str, ...] = ()
    smart: bool = False


@dataclass(frozen=True)
class RelationLabel:
    """A relation's name and, where the config limits them, the labels its two ends may have."""

    value: str
    subject: tuple[str, ...] = ()
    object: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelingConfig:
    """One project's labeling config.

    hash: sha256 hex of the canonical XML (insignificant white space, comments and the order of
    attributes do not change it). image_key: the key of task data with the image's URL, or with
    the list of URLs when `multi`. fields are per region, image_fields belong to the whole image.
    controls: every named control, of any tag. unsupported: per-region tags that cannot be filled.
    """

    xml: str
    hash: str
    image_name: str
    image_key: str
    shapes: tuple[ShapeControl, ...]
    fields: tuple[Field, ...]
    image_fields: tuple[Field, ...]
    relations: tuple[RelationLabel, ...]
    multi: bool = False
    controls: tuple[Control, ...] = ()
    unsupported: tuple[str, ...] = ()
    has_relations: bool = False
    _fields: dict[str, Field] = data_field(default_factory=dict, repr=False, compare=False)
    _shapes: dict[str, ShapeControl] = data_field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index fields and shapes by name."""
        self._fields.update({field.name: field for field in (*self.image_fields, *self.fields)})
        self._shapes.update({shape.name: shape for shape in self.shapes})

    def field(self, name: str) -> Field | None:
        """The field of this name, per region or whole image, or None."""
        return self._fields.get(name)

    def shape(self, name: str) -> ShapeControl | None:
        """The region control of this name, or None."""
        return self._shapes.get(name)

    @property
    def prompt_field(self) -> Field | None:
        """The smart whole-image TextArea in which an annotator asks the model, or None."""
        return _named(self.image_fields, ("prompt", "ask"), smart=True)

    @property
    def relation_field(self) -> Field | None:
        """The whole-image TextArea that holds relations as text, or None."""
        return _named(self.image_fields, ("relation", "relcaption"), smart=False)


def parse_config(xml: str) -> LabelingConfig:
    """Read a labeling config. Raises ConfigError that says what is wrong and how to fix it."""
    root = parse_xml(xml)
    parents = parents_of(root)
    images = {
        get(tag, "name"): tag for tag in root.iter() if tag_of(tag) == "image" and get(tag, "name")
    }
    if not images:
        raise ConfigError(
            "the labeling config has no <Image> tag with a name; "
            'add <Image name="image" value="$image"/>'
        )
    controls = tuple(_controls(root))
    shape_tags = [tag for tag in controls if tag_of(tag) in _SHAPE_TAGS]
    drawn_on = [get(tag, "toname") for tag in shape_tags if get(tag, "toname") in images]
    if not drawn_on:
        name = next(iter(images))
        raise ConfigError(
            f"the labeling config has no control to draw regions on the image {name!r}; add "
            f'<RectangleLabels name="shape" toName="{name}"><Label value="Object"/>'
            "</RectangleLabels> (or Ellipse, Polygon, Brush, Bitmask, KeyPoint, Vector)"
        )
    image_name = drawn_on[0]
    image_key, multi = _image_key(images[image_name])
    fields: list[Field] = []
    image_fields: list[Field] = []
    unsupported: list[str] = []
    for tag in controls:
        if (
            get(tag, "toname") != image_name
            or tag_of(tag) in _SHAPE_TAGS
            or tag_of(tag) == "labels"
        ):
            continue
        found = read_field(tag, parents)
        if found is not None:
            (fields if found.per_region else image_fields).append(found)
        elif is_true(tag, "perregion"):
            unsupported.append(f'<{tag.tag} name="{get(tag, "name")}">')
    config = LabelingConfig(
        xml=xml,
        hash=canonical_hash(xml),
        image_name=image_name,
        image_key=image_key,
        shapes=tuple(_shape(tag) for tag in shape_tags if get(tag, "toname") == image_name),
        fields=tuple(fields),
        image_fields=tuple(image_fields),
        relations=tuple(_relations(root)),
        multi=multi,
        controls=tuple(
            Control(get(t, "name"), t.tag, tag_of(t), get(t, "toname"), options_of(t, "label"))
            for t in controls
        ),
        unsupported=tuple(unsupported),
        has_relations=any(tag_of(tag) == "relations" for tag in root.iter()),
    )
    if not config.fields and not config.relations and config.relation_field is None:
        tried = f" ({', '.join(unsupported)} cannot be filled)" if unsupported else ""
        raise ConfigError(
            f"the labeling config has no field for the model to fill{tried}; add "
            f'<TextArea name="caption" toName="{image_name}" perRegion="true" editable="true"/>, '
            f'or <Choices name="state" toName="{image_name}" perRegion="true"> with its <Choice> '
            "tags"
        )
    return config


def _controls(root: ET.Element) -> Iterator[ET.Element]:
    seen: set[str] = set()
    for tag in root.iter():
        name = get(tag, "name")
        if not name or not get(tag, "toname"):
            continue
        if name in seen:
            raise ConfigError(f"two controls of the labeling config are named {name!r}; rename one")
        seen.add(name)
        yield tag


def _image_key(tag: ET.Element) -> tuple[str, bool]:
    many = get(tag, "valuelist")
    value = many or get(tag, "value")
    match = _IMAGE_KEY.match(value)
    if match is None:
        raise ConfigError(
            f'<Image name="{get(tag, "name")}"> has the value {value!r}; '
            'name the key of the task data that holds the URL, as in value="$image"'
        )
    return match.group(1), bool(many)


def _shape(tag: ET.Element) -> ShapeControl:
    kind = tag_of(tag)
    return ShapeControl(
        name=get(tag, "name"),
        tag=_SHAPE_TAGS[kind],
        type=kind,
        to_name=get(tag, "toname"),
        labels=options_of(tag, "label") if kind.endswith("labels") else (),
        smart=is_true(tag, "smart") or is_true(tag, "smartonly"),
    )


def _relations(root: ET.Element) -> Iterator[RelationLabel]:
    for relations in root.iter():
        if tag_of(relations) == "relations":
            for tag in relations.iter():
                if tag_of(tag) == "relation" and get(tag, "value"):
                    yield RelationLabel(
                        get(tag, "value"),
                        listed(get(tag, "subject")),
                        listed(get(tag, "object")),
                    )


def _named(fields: tuple[Field, ...], words: tuple[str, ...], *, smart: bool) -> Field | None:
    texts = (field for field in fields if field.tag == "TextArea" and (field.smart or not smart))
    return next((field for field in texts if _is_called(field.name.lower(), words)), None)


def _is_called(name: str, words: tuple[str, ...]) -> bool:
    # A short word must stand alone: "task" and "mask" hold "ask" by chance.
    parts = re.split(r"[^a-z]+", name)
    return any(word in parts if len(word) < 4 else word in name for word in words)
