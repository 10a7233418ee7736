"""The fields of a labeling config: controls that hold text, choices, a path, stars or a number.

Reads one tag of the config. What a field's result looks like is `answers`; which fields a config has is `config`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Final

from regiontext.labelstudio.tags import Parents, get, is_true, listed, tag_of

__all__ = ["FIELD_TAGS", "SEPARATOR", "Field", "options_of", "read_field"]

FIELD_TAGS: Final = {
    "textarea": "TextArea",
    "choices": "Choices",
    "taxonomy": "Taxonomy",
    "rating": "Rating",
    "number": "Number",
}

SEPARATOR: Final = " > "
"""Joins the steps of a path into the one text that stands for it ("animal > cat")."""

_STARS = 5
_MOST_OPTIONS = 200

Path = tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """A control that a region (per_region) or the whole image can fill.

    options: the texts it may take, empty when it is open: the values of a Choices (a Choice's alias, else its value),
    the paths of a tree joined by SEPARATOR, the numbers of stars of a Rating. paths: for a tree (Taxonomy, Choices with
    allowNested), each option's steps, in the same order. multiple: whether it takes several. low, high, step: what a
    Number may be, None if unlimited. ask: the wording given by the config's `ask` attribute. smart: whether Label
    Studio calls the backend when it is edited. for_labels: when not empty, the field is shown only for regions with one
    of these labels (`whenLabelValue`).
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
    paths: tuple[Path, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None

    @property
    def type(self) -> str:
        """What results of this field carry as type: the tag in lower case."""
        return self.tag.lower()


def read_field(tag: ET.Element, parents: Parents) -> Field | None:
    """The field that a control is, or None when it is none that can be filled.

    Not among them: trees that come from the task's data or an address, closed fields of more than 200 options (they
    would not fit into a question), and controls per item of a multi-image task.
    """
    kind = tag_of(tag)
    if kind not in FIELD_TAGS or is_true(tag, "peritem"):
        return None
    paths: tuple[Path, ...] = ()
    options: tuple[str, ...] = ()
    if kind == "choices" and is_true(tag, "allownested"):
        paths = _paths(tag, parents, leaves=True)
    elif kind == "choices":
        # Without allowNested the editor passes over a Choice inside another.
        options = tuple(dict.fromkeys(_called(c) for c in _choices(tag, parents, nested=False)))
    elif kind == "taxonomy":
        paths = _paths(tag, parents, leaves=is_true(tag, "leafsonly"))
    elif kind == "rating":
        options = tuple(str(stars + 1) for stars in range(_whole(tag, "maxrating", _STARS)))
    if paths:
        options = tuple(SEPARATOR.join(path) for path in paths)
    if kind in ("choices", "taxonomy", "rating") and not 0 < len(options) <= _MOST_OPTIONS:
        return None
    tree = kind == "taxonomy"
    return Field(
        name=get(tag, "name"),
        tag=FIELD_TAGS[kind],
        to_name=get(tag, "toname"),
        per_region=is_true(tag, "perregion"),
        options=options,
        multiple=(kind == "choices" and get(tag, "choice") == "multiple")
        or (tree and get(tag, "maxusages") != "1"),
        required=is_true(tag, "required"),
        ask=get(tag, "ask") or None,
        smart=get(tag, "smart").lower() != "false",
        for_labels=_for_labels(tag, parents),
        paths=paths,
        low=_number(tag, "min") if kind == "number" else None,
        high=_number(tag, "max") if kind == "number" else None,
        step=_number(tag, "step") if kind == "number" else None,
    )


def options_of(tag: ET.Element, kind: str) -> tuple[str, ...]:
    """The aliases, else values, of the tags of one kind inside a control."""
    values = (
        get(inner, "alias") or get(inner, "value") for inner in tag.iter() if tag_of(inner) == kind
    )
    return tuple(dict.fromkeys(value for value in values if value))


def _choices(tag: ET.Element, parents: Parents, *, nested: bool) -> list[ET.Element]:
    found = (c for c in tag.iter() if tag_of(c) == "choice" and _called(c))
    return [c for c in found if nested or _choice_above(c, parents) is None]


def _paths(tag: ET.Element, parents: Parents, *, leaves: bool) -> tuple[Path, ...]:
    """Each choice's way down the tree; with `leaves` only those that hold no further choice."""
    choices = _choices(tag, parents, nested=True)
    holders = {_choice_above(choice, parents) for choice in choices}
    found: dict[Path, None] = {}
    for choice in choices:
        if leaves and choice in holders:
            continue
        path: list[str] = []
        here: ET.Element | None = choice
        while here is not None:
            path.insert(0, _called(here))
            here = _choice_above(here, parents)
        found[tuple(path)] = None
    return tuple(found)


def _choice_above(tag: ET.Element, parents: Parents) -> ET.Element | None:
    here = parents.get(tag)
    while here is not None and tag_of(here) not in ("choices", "taxonomy"):
        if tag_of(here) == "choice":
            return here
        here = parents.get(here)
    return None


def _called(choice: ET.Element) -> str:
    return get(choice, "alias") or get(choice, "value")


def _for_labels(tag: ET.Element, parents: Parents) -> tuple[str, ...]:
    here: ET.Element | None = tag
    while here is not None:
        labels = listed(get(here, "whenlabelvalue"))
        if labels:
            return labels
        here = parents.get(here)
    return ()


def _whole(tag: ET.Element, name: str, default: int) -> int:
    given = get(tag, name)
    return int(given) if given.isdecimal() and 0 < int(given) <= 100 else default


def _number(tag: ET.Element, name: str) -> float | None:
    try:
        value = float(get(tag, name))
    except ValueError:
        return None
    return value if abs(value) < 1e300 else None
