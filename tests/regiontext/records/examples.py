"""Records to write and read: one region and two, polygons, holes and paint, every kind of answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regiontext.marks.view import View, render
from regiontext.questions.question import Question
from regiontext.records.example import (
    Example,
    ExampleImage,
    Marking,
    Provenance,
)
from regiontext.records.layouts import layout_of
from regiontext.records.making import example_region, turns_of
from regiontext.records.spine import Spine
from regiontext.region import Region

SIZE = (80, 60)


def regions() -> dict[str, Region]:
    ring = np.array([[10.5, 8.0], [30.25, 9.0], [28.0, 30.0], [12.0, 28.0]])
    outer = np.array([[40.0, 10.0], [70.0, 10.0], [70.0, 40.0], [40.0, 40.0]])
    hole = np.array([[50.0, 20.0], [50.0, 30.0], [60.0, 30.0], [60.0, 20.0]])
    paint = np.zeros((60, 80), dtype=bool)
    paint[40:50, 5:30] = True
    paint[44, 10] = False
    return {
        "box": Region.from_box("box", (3.0, 4.0, 20.0, 25.0), SIZE, ["Car"]),
        "polygon": Region("polygon", "polygon", SIZE, ("Tree",), (ring,)),
        "ring": Region("ring", "polygon", SIZE, ("Car", "Wheel"), (outer, hole)),
        "paint": Region.from_mask("paint", paint),
    }


def example(
    folder: Path | None,
    ids: tuple[str, ...] = ("box",),
    *,
    number: int = 1,
    field: str = "caption",
    options: tuple[str, ...] = (),
    answer: tuple[str, ...] = ("a red car",),
    split: str = "train",
    view: View = View(),  # noqa: B008
    **provenance: Any,
) -> Example:
    """A record; its pictures are written into `folder`, if given."""
    colour = (40 * number % 256, 90, 120)
    picture = Image.new("RGB", SIZE, colour)
    wording = "What is {mark}?" if len(ids) == 1 else "How is {object} seen from {subject}?"
    question = Question(field, "closed" if options else "open", wording, options, ids)
    found = [regions()[id] for id in ids]
    rendered = render(picture, found, view)
    name = f"{number:02x}" * 32
    image = ExampleImage(name, f"images/{name[-8:]}.png", *SIZE, f"/data/{number}.png")
    marked = tuple(f"marked/{rendered.hash[:32]}-{i}.png" for i in range(len(rendered.images)))
    if folder is not None:
        for where, pixels in ((image.path, picture), *zip(marked, rendered.images, strict=True)):
            (folder / where).parent.mkdir(parents=True, exist_ok=True)
            pixels.save(folder / where)
    made = Example(
        id=f"{number}-{'-'.join(ids)}-{field}",
        split=split,  # type: ignore[arg-type]
        image=image,
        regions=tuple(map(example_region, found)),
        field=field,
        kind=question.kind,
        wording=wording,
        options=options,
        answer=answer,
        turns=(),
        provenance=Provenance(
            **{"project": 1, "task": number, "annotation": number, "arm": "assist",
               "outcome": "added", "annotator": 3, "updated_at": "2026-01-02T03:04:05+00:00",
               "made_from": f"m{number}"} | provenance
        ),
        marking=Marking(
            rendered.hash, view.to_dict(), marked, rendered.phrases, layout_of(rendered.marks)
        ),
    )  # fmt: skip
    return replace(made, turns=turns_of(question, rendered, made.text))


EDITED: dict[str, Any] = {
    "outcome": "edited",
    "suggested": ("a blue car",),
    "suggestion": "s1",
    "asked": "What?",
    "model_version": "m@base+r1+q1",
}


def all_kinds(folder: Path | None) -> list[Example]:
    """Records of several images, both splits, every shape, open and closed, of one region and two."""
    both = View(scope="both", kind="contour", evidence=True)
    qualities = ("clear", "=occluded, partly", "cut")
    return [
        example(folder, **EDITED),
        example(folder, field="quality", options=qualities, answer=qualities[:1]),
        example(folder, ("polygon",), number=2, answer=("Üb|er \"<b>\"\n", "=1+1"), view=both),
        example(folder, ("polygon",), number=2, field="many", options=qualities,
                answer=qualities[1:]),
        example(folder, ("polygon", "ring"), number=2, field="relations", view=both,
                options=("next to", "holds"), answer=("holds",)),
        example(folder, ("ring",), number=3, split="validation", **EDITED | {"suggested": ("=x",)}),
        example(folder, ("paint",), number=3, split="validation", field="=field", answer=("'-é",)),
        example(folder, ("paint", "ring"), number=3, split="validation", field="sentence",
                answer=("The road is under the car.",)),
    ]  # fmt: skip


def spine(folder: Path, examples: list[Example] | None = None) -> list[Example]:
    """Write `records.jsonl` and its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    made = all_kinds(folder) if examples is None else examples
    with Spine(folder) as lines:
        for one in made:
            lines.add(one)
    return made
