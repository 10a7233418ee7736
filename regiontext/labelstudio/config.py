"""The labeling config: which image, which shapes, which fields, which relations.

Reads Label Studio's XML as its editor does (tag and attribute names in any case) and says what
is missing and how to add it. Knows nothing of results or of how questions are worded.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as data_field

from regiontext.errors import ConfigError

__all__ = [
    "MAX_CONFIG_CHARS",
    "Control",
    "Field",
    "LabelingConfig",
    "RelationLabel",
    "ShapeControl",
    "parse_config",
]

MAX_CONFIG_CHARS = 2_000_000
"""Longer configs are refused unread."""

_SHAPE_NAMES = (
    "Rectangle",
    "Ellipse",
    "Polygon",
    "Brush",
    "Bitmask",
    "KeyPoint",
    "Vector",
)
_SHAPE_TAGS = {name.lower(): name for shape in _SHAPE_NAMES for name in (shape, f"{shape}Labels")}
_FIELD_TAGS = {"textarea": "TextArea", "choices": "Choices"}
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
class Field:
    """A TextArea or Choices that a region (per_region) or the whole image can fill.

    options: the values a Choices may take (a Choice's alias, else its value). multiple: whether
    it takes several. ask: the wording given by the config's `ask` attribute. smart: whether
    Label Studio calls the backend when it is edited. for_labels: when not empty, the field is
    shown only for regions with one of these labels (`whenLabelValue`).
    """

    name: str
    tag: str
    to_name: str
    per_region: bool
    options: tuple[str, ...] = ()
    multiple: bool = False
    required: bool = False
    ask: str | None = None
    smart: bool = True
    for_labels: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """What results of this field carry as type: "textarea" or "choices"."""
        return self.tag.lower()


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
    root = _parse(xml)
    parents = {child: parent for parent in root.iter() for child in parent}
    images = {
        _get(tag, "name"): tag for tag in root.iter() if _tag(tag) == "image" and _get(tag, "name")
    }
    if not images:
        raise ConfigError(
            "the labeling config has no <Image> tag with a name; "
            'add <Image name="image" value="$image"/>'
        )
    controls = tuple(_controls(root))
    shape_tags = [tag for tag in controls if _tag(tag) in _SHAPE_TAGS]
    drawn_on = [_get(tag, "toname") for tag in shape_tags if _get(tag, "toname") in images]
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
        if _get(tag, "toname") != image_name or _tag(tag) in _SHAPE_TAGS or _tag(tag) == "labels":
            continue
        found = _field(tag, parents)
        if found is not None:
            (fields if found.per_region else image_fields).append(found)
        elif _true(tag, "perregion"):
            unsupported.append(f'<{tag.tag} name="{_get(tag, "name")}">')
    config = LabelingConfig(
        xml=xml,
        hash=_hash(xml),
        image_name=image_name,
        image_key=image_key,
        shapes=tuple(_shape(tag) for tag in shape_tags if _get(tag, "toname") == image_name),
        fields=tuple(fields),
        image_fields=tuple(image_fields),
        relations=tuple(_relations(root)),
        multi=multi,
        controls=tuple(
            Control(_get(t, "name"), t.tag, _tag(t), _get(t, "toname"), _options(t, "label"))
            for t in controls
        ),
        unsupported=tuple(unsupported),
        has_relations=any(_tag(tag) == "relations" for tag in root.iter()),
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


def _parse(xml: str) -> ET.Element:
    if not isinstance(xml, str) or not xml.strip():
        raise ConfigError("the labeling config is empty; paste one of the templates")
    if len(xml) > MAX_CONFIG_CHARS:
        raise ConfigError(
            f"the labeling config has {len(xml)} characters, more than {MAX_CONFIG_CHARS}"
        )
    # Entities can expand without end or read files, and no labeling config needs them.
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", xml, re.IGNORECASE):
        raise ConfigError("the labeling config has a DOCTYPE or ENTITY declaration; remove it")
    try:
        return ET.fromstring(xml.strip())
    except (ET.ParseError, ValueError) as fault:
        raise ConfigError(f"the labeling config is not well-formed XML: {fault}") from fault


def _hash(xml: str) -> str:
    canonical = ET.canonicalize(xml.strip(), strip_text=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _controls(root: ET.Element) -> Iterator[ET.Element]:
    seen: set[str] = set()
    for tag in root.iter():
        name = _get(tag, "name")
        if not name or not _get(tag, "toname"):
            continue
        if name in seen:
            raise ConfigError(f"two controls of the labeling config are named {name!r}; rename one")
        seen.add(name)
        yield tag


def _image_key(tag: ET.Element) -> tuple[str, bool]:
    many = _get(tag, "valuelist")
    value = many or _get(tag, "value")
    match = _IMAGE_KEY.match(value)
    if match is None:
        raise ConfigError(
            f'<Image name="{_get(tag, "name")}"> has the value {value!r}; '
            'name the key of the task data that holds the URL, as in value="$image"'
        )
    return match.group(1), bool(many)


def _shape(tag: ET.Element) -> ShapeControl:
    kind = _tag(tag)
    return ShapeControl(
        name=_get(tag, "name"),
        tag=_SHAPE_TAGS[kind],
        type=kind,
        to_name=_get(tag, "toname"),
        labels=_options(tag, "label") if kind.endswith("labels") else (),
        smart=_true(tag, "smart") or _true(tag, "smartonly"),
    )


def _field(tag: ET.Element, parents: dict[ET.Element, ET.Element]) -> Field | None:
    kind = _tag(tag)
    options = _options(tag, "choice") if kind == "choices" else ()
    if kind not in _FIELD_TAGS or _true(tag, "peritem"):
        return None
    if kind == "choices" and (not options or _nested(tag)):
        return None
    return Field(
        name=_get(tag, "name"),
        tag=_FIELD_TAGS[kind],
        to_name=_get(tag, "toname"),
        per_region=_true(tag, "perregion"),
        options=options,
        multiple=kind == "choices" and _get(tag, "choice") == "multiple",
        required=_true(tag, "required"),
        ask=_get(tag, "ask") or None,
        smart=_get(tag, "smart").lower() != "false",
        for_labels=_for_labels(tag, parents),
    )


def _for_labels(tag: ET.Element, parents: dict[ET.Element, ET.Element]) -> tuple[str, ...]:
    here: ET.Element | None = tag
    while here is not None:
        labels = _list(_get(here, "whenlabelvalue"))
        if labels:
            return labels
        here = parents.get(here)
    return ()


def _nested(tag: ET.Element) -> bool:
    return any(
        _tag(inner) == "choice"
        for choice in tag.iter()
        if _tag(choice) == "choice"
        for inner in choice
    )


def _options(tag: ET.Element, kind: str) -> tuple[str, ...]:
    values = (
        _get(inner, "alias") or _get(inner, "value") for inner in tag.iter() if _tag(inner) == kind
    )
    return tuple(dict.fromkeys(value for value in values if value))


def _relations(root: ET.Element) -> Iterator[RelationLabel]:
    for relations in root.iter():
        if _tag(relations) == "relations":
            for tag in relations.iter():
                if _tag(tag) == "relation" and _get(tag, "value"):
                    yield RelationLabel(
                        _get(tag, "value"),
                        _list(_get(tag, "subject")),
                        _list(_get(tag, "object")),
                    )


def _named(fields: tuple[Field, ...], words: tuple[str, ...], *, smart: bool) -> Field | None:
    for field in fields:
        name = field.name.lower()
        parts = re.split(r"[^a-z]+", name)
        if field.tag == "TextArea" and (field.smart or not smart) and not field.per_region:
            # "ask" must stand alone: "task" and "mask" hold it by chance.
            if any(word in parts if len(word) < 4 else word in name for word in words):
                return field
    return None


def _tag(tag: ET.Element) -> str:
    return tag.tag.lower() if isinstance(tag.tag, str) else ""


def _get(tag: ET.Element, name: str) -> str:
    for key, value in tag.attrib.items():
        if key.lower() == name:
            return value.strip()
    return ""


def _true(tag: ET.Element, name: str) -> bool:
    return _get(tag, name).lower() == "true"


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
