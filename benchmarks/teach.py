"""Teaching by corrections: how fast new words are learnt, and what is forgotten for them.

    python -m benchmarks.teach [--quick] [--rounds 25,50,100,200] [--model DIR]

The pictures are painted scenes, in each of them an object with a texture or a shape that the bundled model never saw
("marble", "crescent"). Everything goes through the product: a Label Studio (the stand-in of the tests) holds the tasks,
`prelabel` fills the regions, whoever annotates them writes what is true, `collect` reads it into the store, and
`finetune` trains, judges and promotes. Counted as corrections are the new objects that were annotated with their true
caption outside holdout, also where a promoted model had it right by then; beside each, an object without a new word is
annotated. Each round has all corrections of the rounds before it.

The exam is on other pictures, asked over HTTP in the default wording:

* `teach_new`: share of new objects in whose caption the new word stands, after the last round.
* `teach_forgotten`: share of right materials and shapes in the captions of old objects before, less that after: the
  worst of all rounds. New and old are measured on the same model and always told together.
* `teach_round_minutes`: the longest round, from the command to the verdict.

The table has one line a round, promoted or not. About ten minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table

from backend.data_urls import data_url
from backend.jobs.collect import collect
from backend.jobs.errors import NotEnough
from backend.jobs.finetune import FinetuneOptions, finetune
from backend.jobs.prelabel import prelabel
from backend.jobs.records import load_records
from backend.model_client import client_of
from backend.settings import Settings
from backend.store import open_store
from benchmarks.processes import running
from benchmarks.report import Claim, report
from model_server.folder import BUNDLED, find_model
from model_server.worlds.samples import scene_image
from model_server.worlds.scenes import Object
from regiontext.marks.view import View, render
from regiontext.questions.prompt import prompt
from regiontext.questions.question import Question
from regiontext.questions.wordings import worded
from regiontext.region import Region
from tests.backend.jobs.fakes import KEY, FakeLabelStudio, serving
from tests.label_studio_server import free_port

__all__ = ["main"]

NEW = (("material", "marble"), ("shape", "crescent"))
SIZE = (640, 480)
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="rectangle" toName="image" smart="true"><Label value="Object"/></RectangleLabels>
  <TextArea name="caption" toName="image" perRegion="true" editable="true"/>
</View>"""


@dataclass(frozen=True)
class Shown:
    """A picture with objects to annotate and their regions; the first object has a new word."""

    picture: Image.Image
    objects: tuple[tuple[Object, Region], ...]


@dataclass(frozen=True)
class Exam:
    """What a model makes of pictures that nobody corrected, each a share in [0, 1]."""

    texture: float
    shape: float
    old: float
    old_captions: float

    @property
    def new(self) -> float:
        """The share of new words that are said."""
        return (self.texture + self.shape) / 2


def main() -> None:
    """Teach, and print what was learnt and forgotten."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 8 corrections, 4 steps")
    parser.add_argument("--rounds", default="25,50,100,200", help="corrections, all told")
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--exam", type=int, default=100, help="objects, of each sort")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the curve as SVG")
    args = parser.parse_args()
    rounds = [8] if args.quick else [int(number) for number in args.rounds.split(",")]
    exam = 6 if args.quick else args.exam
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        studio = FakeLabelStudio()
        studio.url = stack.enter_context(serving(studio.app()))
        port = free_port()
        near = f"http://127.0.0.1:{port}"
        command = ["model_server", "--model", str(args.model), "--port", str(port)]
        stack.enter_context(running(command, f"{near}/ready"))
        given: dict[str, Any] = {
            "label_studio_url": studio.url,
            "label_studio_api_key": KEY,
            "model_url": f"{near}/v1",
            "data_dir": folder,
            "control": 0.0,
            # So few pictures would leave none to judge by.
            "holdout": 0.3 if args.quick else 0.1,
            "_env_file": None,
        }
        settings = Settings(**given)
        options = FinetuneOptions(
            min_records=4, min_eval=2 if args.quick else 4, steps=4 if args.quick else None
        )
        view = View.from_dict(find_model(args.model).view or {})
        teaching = _Teaching(settings, studio, view, args.seed)
        lines = teaching.go(rounds, exam, options)
    _print(lines)
    first, last = lines[0], lines[-1]
    forgotten = max(first.exam.old - line.exam.old for line in lines[1:])
    minutes = max(line.minutes for line in lines[1:])
    bars: list[float | None] = [None] * 3 if args.quick else [0.8, 0.03, 6]
    words = f"after {last.corrections} corrections; before {first.exam.new:.2f}"
    report(
        f"teaching {NEW[0][1]} and {NEW[1][1]}, {exam} objects of each sort in the exam",
        [
            Claim("teach_new", last.exam.new, "", f"new words said, {words}", bars[0]),
            Claim(
                "teach_forgotten",
                forgotten,
                "",
                f"old words lost, worst round; before {first.exam.old:.2f}",
                bars[1],
                at_most=True,
            ),
            Claim("teach_round_minutes", minutes, "min", "longest round", bars[2], at_most=True),
        ],
    )
    if args.plot is not None:
        _plot(lines, args.plot)


@dataclass(frozen=True)
class Line:
    """One round: how many corrections there were, the exam of the model that came of it, and its verdict."""

    corrections: int
    exam: Exam
    minutes: float
    verdict: str


class _Teaching:
    """One project that is taught in rounds."""

    def __init__(self, settings: Settings, studio: FakeLabelStudio, view: View, seed: int) -> None:
        self._settings = settings
        self._studio = studio
        self._view = view
        self._seed = seed
        self._project = studio.add_project(CONFIG)
        self._lessons = _scenes(seed)
        self._store = open_store(settings.database_url)

    def go(self, rounds: Sequence[int], exam: int, options: FinetuneOptions) -> list[Line]:
        """The line before any round, and one for each."""
        asked = _exam(self._seed + 1000, exam)
        lines = [Line(0, self._examine(None, asked), 0.0, "")]
        for wanted in rounds:
            count = self._annotate_until(wanted)
            began = time.monotonic()
            try:
                done = asyncio.run(
                    finetune(self._settings, self._project, options=options, store=self._store)
                )
            except NotEnough as error:
                raise SystemExit(f"a round of {wanted} corrections: {error}") from error
            minutes = (time.monotonic() - began) / 60
            found = self._examine((done.name, done.run_dir / "adapter"), asked)
            verdict = "promoted" if done.promoted else f"not promoted, {done.reason}"
            lines.append(Line(count, found, minutes, verdict))
            Console().print(f"{count} corrections: {found}", highlight=False)
        self._store.close()
        return lines

    def _annotate_until(self, wanted: int) -> int:
        """Annotate more tasks until there are so many corrections; how many there are."""
        while (count := self._taught()) < wanted:
            tasks: dict[int, Shown] = {}
            for _ in range(wanted - count):
                shown = next(self._lessons)
                task = self._studio.add_task(self._project, _png(shown.picture))
                boxes = [_box(place, region) for place, (_, region) in enumerate(shown.objects)]
                self._studio.add_prediction(task, boxes, "boxes")
                tasks[task] = shown
            asyncio.run(prelabel(self._settings, self._project, store=self._store))
            for task, shown in tasks.items():
                newest = max(self._studio.predictions_of(task), key=lambda found: found["id"])
                result = [item for item in newest["result"] if item["type"] != "textarea"]
                for place, (thing, region) in enumerate(shown.objects):
                    result.append(_caption(_box(place, region), thing.caption))
                self._studio.add_annotation(task, result, parent_prediction=newest["id"])
            asyncio.run(collect(self._settings, self._project, store=self._store))
        return count

    def _taught(self) -> int:
        """New objects with their true caption, as far as they may be learnt from."""
        records = load_records(self._store, self._project)
        return sum(record.regions == ("r0",) for record in records)

    def _examine(
        self, model: tuple[str, Path] | None, asked: dict[str, list[tuple[Shown, str]]]
    ) -> Exam:
        return asyncio.run(self._ask(model, asked))

    async def _ask(
        self, model: tuple[str, Path] | None, asked: dict[str, list[tuple[Shown, str]]]
    ) -> Exam:
        async with client_of(self._settings) as client:
            base = next(m["id"] for m in await client.models() if not m.get("parent"))
            name = base
            if model is not None:
                name = model[0]
                await client.load_adapter(name, str(model[1]))
            gate = asyncio.Semaphore(8)

            async def one(shown: Shown) -> list[str]:
                _, region = shown.objects[0]
                rendered = render(shown.picture, [region], self._view)
                text = prompt(Question("caption", "open", worded("caption")), rendered)
                urls = [data_url(image) for image in rendered.images]
                async with gate:
                    return (await client.ask(urls, text, model=name)).text.split()

            shares: dict[str, float] = {}
            for sort, questions in asked.items():
                said = await asyncio.gather(*(one(shown) for shown, _ in questions))
                right = [
                    sum(word in words for word in wanted.split()) / len(wanted.split())
                    for words, (_, wanted) in zip(said, questions, strict=True)
                ]
                shares[sort] = float(np.mean(right))
                if sort == "old":
                    exact = [
                        " ".join(words) == shown.objects[0][0].caption
                        for words, (shown, _) in zip(said, questions, strict=True)
                    ]
                    shares["exact"] = float(np.mean(exact))
        return Exam(shares["material"], shares["shape"], shares["old"], shares["exact"])


def _exam(seed: int, count: int) -> dict[str, list[tuple[Shown, str]]]:
    """Pictures of other scenes with the words to be found in the caption, by sort of question."""
    found: dict[str, list[tuple[Shown, str]]] = {name: [] for name, _ in NEW}
    for shown in _scenes(seed):
        for name, word in NEW:
            if getattr(shown.objects[0][0], name) == word and len(found[name]) < count // 2:
                found[name].append((shown, word))
        if all(len(part) == count // 2 for part in found.values()):
            break
    rng = np.random.default_rng(seed + 1)
    old: list[tuple[Shown, str]] = []
    while len(old) < count:
        picture, things = scene_image(rng, size=SIZE, objects=4)
        for thing, region in things[:2]:
            box = Region.from_box(region.id, region.box, SIZE)
            old.append((Shown(picture, ((thing, box),)), f"{thing.material} {thing.shape}"))
    return found | {"old": old[:count]}


def _scenes(seed: int) -> Iterator[Shown]:
    """Scenes without end: an object with a new word, in turn a texture and a shape, and one without."""
    rng = np.random.default_rng(seed)
    turn = 0
    while True:
        name, word = NEW[turn % len(NEW)]
        picture, things = scene_image(rng, size=SIZE, objects=4, must_have={name: word})
        new = [pair for pair in things if getattr(pair[0], name) == word]
        if not new:
            continue
        others = [pair for pair in things if pair[0] is not new[0][0]][:1]
        boxed = [
            (thing, Region.from_box(region.id, region.box, SIZE))
            for thing, region in [*new, *others]
        ]
        turn += 1
        yield Shown(picture, tuple(boxed))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _box(place: int, region: Region) -> dict[str, Any]:
    x0, y0, x1, y1 = region.box
    width, height = SIZE
    value = {
        "x": 100 * x0 / width, "y": 100 * y0 / height, "width": 100 * (x1 - x0) / width,
        "height": 100 * (y1 - y0) / height, "rotation": 0,
    }  # fmt: skip
    return {
        "id": f"r{place}", "from_name": "rectangle", "to_name": "image", "type": "rectanglelabels",
        "original_width": width, "original_height": height, "image_rotation": 0,
        "value": value | {"rectanglelabels": ["Object"]},
    }  # fmt: skip


def _caption(box: dict[str, Any], text: str) -> dict[str, Any]:
    plain = {key: value for key, value in box["value"].items() if key != "rectanglelabels"}
    return box | {"from_name": "caption", "type": "textarea", "value": plain | {"text": [text]}}


def _print(lines: Sequence[Line]) -> None:
    table = Table(
        *("corrections", f"new: {NEW[0][1]}", f"new: {NEW[1][1]}", "old words"),
        *("old captions, whole", "minutes", "verdict"),
        title="what was learnt, and what was forgotten for it",
    )
    for line in lines:
        exam = line.exam
        table.add_row(
            str(line.corrections),
            *(f"{share:.2f}" for share in (exam.texture, exam.shape, exam.old, exam.old_captions)),
            f"{line.minutes:.1f}",
            line.verdict,
        )
    Console().print(table)


def _plot(lines: Sequence[Line], file: Path) -> None:
    """What is learnt and what is kept, over the corrections."""
    figure = Figure(figsize=(6.4, 3.2))
    axes = figure.add_subplot()
    corrections = [line.corrections for line in lines]
    for name, shares, style in (
        ("old words", [line.exam.old for line in lines], "s-"),
        (f"new shape: {NEW[1][1]}", [line.exam.shape for line in lines], "o-"),
        (f"new texture: {NEW[0][1]}", [line.exam.texture for line in lines], "^-"),
    ):
        axes.plot(corrections, shares, style, label=name)
    axes.set(xlabel="corrections", ylabel="share said right", ylim=(-0.03, 1.05))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    # Without a fixed salt and date the same figures would give other bytes each time.
    with matplotlib.rc_context({"svg.hashsalt": "regiontext", "svg.fonttype": "none"}):
        figure.savefig(file, bbox_inches="tight", metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
