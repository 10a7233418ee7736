"""A record as files hold it: its image, regions in pixels, marks, what was asked and answered, and where it is from.

`Record` says what a human left in a field and knows no pixels; an `Example` is that record once its regions were
decoded and drawn, and every export format is written from it and read back to it. Knows no file, database or model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from regiontext.errors import RecordError
from regiontext.records.arm import ARMS, Arm
from regiontext.records.outcome import OUTCOMES, Outcome
from regiontext.records.splits import SPLITS, Split

__all__ = [
    "SCHEMA",
    "Example",
    "ExampleImage",
    "ExampleRegion",
    "Marking",
    "Provenance",
    "Turn",
]

SCHEMA: Final = "regiontext-record/1"
"""The version of the schema; it stands in every line, and another one is refused."""


@dataclass(frozen=True)
class ExampleImage:
    """The upright image without marks.

    hash: sha256 hex of the file's bytes as annotated. path: the file, relative to the dataset's folder. width, height:
    pixels, upright. source: the task's own path or URL.
    """

    hash: str
    path: str
    width: int
    height: int
    source: str = ""


@dataclass(frozen=True)
class ExampleRegion:
    """One region, in pixels of the upright image.

    shape: one of `region.SHAPES`. box: x0, y0, x1, y1, the tight box of the mask, end exclusive. polygons: rings as
    drawn, flat x, y, x, y, …; a ring inside another is a hole; empty where the region was painted. rle: the mask as
    COCO's compressed code. area: pixels of the mask.
    """

    id: str
    shape: str
    labels: tuple[str, ...]
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...]
    rle: Mapping[str, Any]
    area: int


@dataclass(frozen=True)
class Marking:
    """How the regions were drawn for the model.

    hash: the render hash. view: `View.to_dict()`. images: the marked pictures, relative to the dataset's folder, in the
    order in which the prompt speaks of them. phrases: how the text names each region's mark. layout: per picture, per
    region, the mark's style and its parts with their vertices (see `records.layouts`).
    """

    hash: str
    view: Mapping[str, Any]
    images: tuple[str, ...]
    phrases: tuple[str, ...]
    layout: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Turn:
    """What one side says. places: (start, end, region) of each phrase that names a region's mark, in order."""

    role: Literal["user", "assistant"]
    text: str
    places: tuple[tuple[int, int, int], ...] = ()

    def naming(self, name: Callable[[int], str]) -> str:
        """The text with each place replaced by `name(number of the region)`."""
        parts, at = [], 0
        for start, end, region in self.places:
            parts += [self.text[at:start], name(region)]
            at = end
        return "".join([*parts, self.text[at:]])


@dataclass(frozen=True)
class Provenance:
    """Where the text is from. suggestion: the id of the model's suggestion; made_from: a hash of all that went in."""

    project: int
    task: int
    annotation: int
    arm: Arm
    outcome: Outcome
    suggested: tuple[str, ...] | None = None
    suggestion: str | None = None
    asked: str | None = None
    model_version: str | None = None
    annotator: int | None = None
    updated_at: str | None = None
    made_from: str = ""


@dataclass(frozen=True)
class Example:
    """One record, drawn and asked. `regions` has one entry, or subject and object; `answer` is never empty.

    wording: with {mark}, or {subject} and {object}. turns: exactly what is asked and what the human answers.
    """

    id: str
    split: Split
    image: ExampleImage
    regions: tuple[ExampleRegion, ...]
    field: str
    kind: Literal["open", "closed"]
    wording: str
    options: tuple[str, ...]
    answer: tuple[str, ...]
    turns: tuple[Turn, ...]
    provenance: Provenance
    marking: Marking | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be learnt from: RecordError."""
        if not self.regions:
            raise RecordError(f"record {self.id!r} has no region; it needs at least one")
        if not any(part.strip() for part in self.answer):
            raise RecordError(f"record {self.id!r} has no answer; leave such outcomes out")
        if self.split not in SPLITS:
            raise RecordError(f"record {self.id!r}: {self.split!r} is no split ({SPLITS})")
        if self.provenance.arm not in ARMS or self.provenance.outcome not in OUTCOMES:
            raise RecordError(
                f"record {self.id!r}: arm {self.provenance.arm!r} or outcome "
                f"{self.provenance.outcome!r} is unknown; known are {ARMS} and {OUTCOMES}"
            )

    @property
    def pair(self) -> bool:
        """Whether it is about an ordered pair of regions."""
        return len(self.regions) == 2

    @property
    def text(self) -> str:
        """The answer as one line, as `Record.text`."""
        return (", " if self.kind == "closed" else " ").join(self.answer)

    @property
    def question(self) -> Turn:
        """What is asked; RecordError where nothing is."""
        if not self.turns or self.turns[0].role != "user":
            raise RecordError(f"record {self.id!r} asks nothing in its first turn")
        return self.turns[0]

    def to_dict(self) -> dict[str, Any]:
        """The example as JSON values; `from_dict` reads it back."""
        provenance = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in self.provenance.__dict__.items()
        }
        marking = self.marking
        return {
            "schema": SCHEMA,
            "id": self.id,
            "split": self.split,
            "image": dict(self.image.__dict__),
            "regions": [
                {
                    "id": region.id,
                    "shape": region.shape,
                    "labels": list(region.labels),
                    "box": list(region.box),
                    "polygons": [list(ring) for ring in region.polygons],
                    "rle": dict(region.rle),
                    "area": region.area,
                }
                for region in self.regions
            ],
            "field": self.field,
            "kind": self.kind,
            "wording": self.wording,
            "options": list(self.options),
            "answer": list(self.answer),
            "turns": [
                {"role": turn.role, "text": turn.text, "places": [list(p) for p in turn.places]}
                for turn in self.turns
            ],
            "marking": None
            if marking is None
            else {
                "hash": marking.hash,
                "view": dict(marking.view),
                "images": list(marking.images),
                "phrases": list(marking.phrases),
                "layout": list(marking.layout),
            },
            "provenance": provenance,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Example:
        """An example from what `to_dict` gave; RecordError if it is of another schema or incomplete."""
        if data.get("schema") != SCHEMA:
            raise RecordError(
                f"a record of schema {data.get('schema')!r}; this program reads {SCHEMA}"
            )
        try:
            marking = data["marking"]
            return cls(
                id=data["id"],
                split=data["split"],
                image=ExampleImage(**data["image"]),
                regions=tuple(_region(region) for region in data["regions"]),
                field=data["field"],
                kind=data["kind"],
                wording=data["wording"],
                options=tuple(data["options"]),
                answer=tuple(data["answer"]),
                turns=tuple(
                    Turn(turn["role"], turn["text"], tuple((a, b, c) for a, b, c in turn["places"]))
                    for turn in data["turns"]
                ),
                provenance=_provenance(data["provenance"]),
                marking=None
                if marking is None
                else Marking(
                    marking["hash"],
                    marking["view"],
                    tuple(marking["images"]),
                    tuple(marking["phrases"]),
                    tuple(marking["layout"]),
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f"record {data.get('id')!r} is incomplete or malformed: {error!r}"
            ) from error


def _region(data: Mapping[str, Any]) -> ExampleRegion:
    x0, y0, x1, y1 = data["box"]
    return ExampleRegion(
        data["id"],
        data["shape"],
        tuple(data["labels"]),
        (x0, y0, x1, y1),
        tuple(tuple(ring) for ring in data["polygons"]),
        data["rle"],
        data["area"],
    )


def _provenance(data: Mapping[str, Any]) -> Provenance:
    suggested: Sequence[str] | None = data.get("suggested")
    return Provenance(**{**data, "suggested": tuple(suggested) if suggested is not None else None})
