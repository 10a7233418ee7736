"""What `benchmarks.server` asks: views of generated scenes as the product renders them, and questions about them.

The bundled model's own view and questions. Knows no server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

from benchmarks.server_processes import Ask, data_url
from model_server.folder import BUNDLED
from model_server.worlds.samples import examples
from model_server.worlds.turns import Turn
from regiontext.marks.view import View
from regiontext.questions.prompt import CHOOSE

__all__ = ["AskedView", "enough", "views"]

SEED = 4242
OPEN = ("size", "colour", "material")
CLOSED = ("colour", "material", "shape")


@dataclass(frozen=True, eq=False)
class AskedView:
    """A rendered view with what is asked about it."""

    image: Image.Image
    url: str
    turns: tuple[Turn, ...]

    def caption(self) -> list[Ask]:
        """One caption."""
        return [Ask(self.url, turn.prompt) for turn in self.turns if turn.kind == "caption"]

    def open(self) -> list[Ask]:
        """Four open questions."""
        named = [turn for turn in self.turns if turn.kind == "attribute"]
        asked = [turn.prompt for name in OPEN for turn in named if turn.attribute == name]
        return [*self.caption(), *(Ask(self.url, prompt) for prompt in asked)]

    def six(self) -> list[Ask]:
        """Closed questions, each with the right answer and five others."""
        asked = []
        for turn in self.turns:
            if turn.kind == "choice" and turn.attribute in CLOSED:
                others = [option for option in turn.options if option != turn.answer]
                options = tuple(sorted([turn.answer, *others[:5]]))
                listed = CHOOSE.replace("{options}", ", ".join(options))
                question = turn.prompt.partition(CHOOSE.partition("{")[0])[0]
                asked.append(Ask(self.url, question + listed, options))
        return asked


def views() -> Iterator[AskedView]:
    """Views of scene after scene, without end, always the same ones."""
    about = json.loads((BUNDLED / "regiontext.json").read_text())
    view = View.from_dict(about["view"])
    for example in examples(SEED, view, training=False, kinds=("caption", "attribute", "choice")):
        (image,) = example.images
        yield AskedView(image, data_url(image), tuple(example.turns))


def enough(
    pictures: Iterator[AskedView], questions: Callable[[AskedView], list[Ask]], count: int
) -> list[Ask]:
    """At least `count` questions about the next pictures."""
    asked: list[Ask] = []
    while len(asked) < count:
        asked += questions(next(pictures))
    return asked
