"""A stream of encoded training examples: a worker process renders the world, the trainer keeps a pool of what came.

Rendering costs a few milliseconds an example, so each is used more than once: a pool of the newest examples is sampled
uniformly. Knows nothing of the model beyond its input sizes.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Full

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import PreTrainedTokenizerFast

from model_server.architectures.tiny import Shape, fit_square
from model_server.training.packing import EncodedTurn, encode_turns
from model_server.training.readings import READ, readings
from model_server.worlds import asking, vocabulary
from model_server.worlds.samples import Example, examples
from regiontext.marks.kinds import COLOURS, KINDS
from regiontext.marks.style import Style
from regiontext.marks.view import View

__all__ = [
    "DENSE",
    "Encoded",
    "Pool",
    "Stream",
    "dense_classes",
    "dense_labels",
    "encode",
    "sequence_length",
]

# What every image patch is told to be: the attribute's word + 1, 0 where no object is; whether a marked object is there
# (1) or not (0); and in which kind and colour it is marked (place + 1, the last for an unnamed colour), so that two
# marks can be told apart.
DENSE: tuple[str, ...] = ("shape", "colour", "material", "marked", "mark kind", "mark colour")


@dataclass(frozen=True, eq=False)
class Encoded:
    """One example as the trainer needs it.

    pixels: uint8[pictures, side, side, 3], padded; dense: uint8[pictures, len(DENSE), patches]; turns: token ids, all
    that were asked; told: of every turn, what the decoder should know of it inside, as `readings` returns it; seen:
    bool[targets, pictures * patches], which patches show each object where it is marked.
    """

    pixels: NDArray[np.uint8]
    dense: NDArray[np.uint8]
    turns: list[EncodedTurn]
    told: list[NDArray[np.int16]]
    seen: NDArray[np.bool_]


def dense_classes(name: str) -> int:
    """How many labels one of `DENSE` has."""
    if name == "marked":
        return 2
    if name == "mark kind":
        return 1 + len(KINDS)
    if name == "mark colour":
        return 2 + len(COLOURS)
    return 1 + len(vocabulary.values(name))


def dense_labels(example: Example, shape: Shape) -> NDArray[np.uint8]:
    """Return uint8[pictures, len(DENSE), patches]: what lies at each patch's centre, row by row."""
    return np.stack(
        [
            _table(example, members)[:, _objects(labels, shape)]
            for labels, members in zip(example.labels, example.members, strict=True)
        ]
    )


def _table(example: Example, members: Sequence[int]) -> NDArray[np.uint8]:
    """uint8[len(DENSE), 1 + objects]: what a patch of each object is told where `members` of the targets are marked."""
    table = np.zeros((len(DENSE), len(example.objects) + 1), dtype=np.uint8)
    styles = {example.targets[place]: example.styles[place] for place in members}
    for row, name in enumerate(DENSE):
        for index, thing in enumerate(example.objects):
            if not name.startswith("mark"):
                table[row, index + 1] = 1 + vocabulary.values(name).index(getattr(thing, name))
            elif index in styles:
                table[row, index + 1] = _marked(name, styles[index])
    return table


def _seen(example: Example, shape: Shape) -> NDArray[np.bool_]:
    """bool[targets, pictures * patches]."""
    targets = np.array(example.targets)[:, None] + 1
    shown = []
    for labels, members in zip(example.labels, example.members, strict=True):
        is_marked = np.isin(np.arange(len(targets)), members)[:, None]
        shown.append((_objects(labels, shape) == targets) & is_marked)
    return np.concatenate(shown, axis=1)


def _objects(labels: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """uint8[patches]: the object at each patch's centre, by its index + 1; 0 behind."""
    fitted = fit_square(Image.fromarray(labels), shape.image, fill=0, nearest=True)
    half = shape.patch // 2
    return np.asarray(fitted)[half :: shape.patch, half :: shape.patch].ravel()


def _marked(name: str, style: Style) -> int:
    if name == "mark kind":
        return 1 + KINDS.index(style.kind)
    if name == "mark colour":
        names = list(COLOURS)
        return 1 + (len(names) if style.colour is None else names.index(style.colour))
    return 1


def encode(
    example: Example,
    tokenizer: PreTrainedTokenizerFast,
    shape: Shape,
    rng: np.random.Generator,
    *,
    spelling: float = 0.15,
) -> Encoded:
    """Encode an example; with probability `spelling` a made-up word to repeat is asked besides."""
    turns = [(turn.prompt, turn.answer) for turn in example.turns]
    told = [
        readings(
            tokenizer,
            turn.prompt,
            turn.phrases,
            [example.objects[index].words for index in turn.things],
            [example.targets.index(index) for index in turn.things],
            named=(turn.attribute, turn.named) if turn.named and turn.attribute in READ else None,
            answer=turn.answer,
        )
        for turn in example.turns
    ]
    if rng.random() < spelling:
        turns.append(asking.spelling(rng))
        told.append(readings(tokenizer, "", (), (), ()))
    return Encoded(
        np.stack([np.asarray(fit_square(image, shape.image)) for image in example.images]),
        dense_labels(example, shape),
        encode_turns(tokenizer, turns),
        told,
        _seen(example, shape),
    )


def sequence_length(shape: Shape, tokens: int, *, pictures: int = 1) -> int:
    """The packed length for `tokens` tokens of text after the pictures."""
    return 1 + pictures * shape.image_tokens + tokens


class Pool:
    """The newest examples, sampled uniformly with replacement."""

    def __init__(self, capacity: int) -> None:
        """Keep at most `capacity` examples."""
        self._items: list[Encoded] = []
        self._capacity = capacity
        self._next = 0

    def __len__(self) -> int:
        """How many examples are held."""
        return len(self._items)

    def add(self, items: Sequence[Encoded]) -> None:
        """Add examples, the oldest give way."""
        for item in items:
            if len(self._items) < self._capacity:
                self._items.append(item)
            else:
                self._items[self._next] = item
                self._next = (self._next + 1) % self._capacity

    def sample(self, rng: np.random.Generator, count: int) -> list[Encoded]:
        """Return `count` random examples; IndexError when the pool is empty."""
        return [self._items[int(i)] for i in rng.integers(len(self._items), size=count)]


class Stream:
    """Worker processes that render and encode examples; `close` ends them."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        view: View,
        shape: Shape,
        seed: Sequence[int],
        *,
        pairs: float,
        vary: bool = True,
        workers: int = 1,
        chunk: int = 64,
    ) -> None:
        """Start `workers` processes, each with a seed of its own derived from `seed`; the rest as in `examples`."""
        context = mp.get_context("spawn")
        self._queue: mp.Queue[list[Encoded]] = context.Queue(maxsize=16)
        saved = tokenizer.backend_tokenizer.to_str()
        self._processes = [
            context.Process(
                target=_work,
                args=(
                    self._queue,
                    saved,
                    view,
                    shape,
                    [*seed, index],
                    pairs,
                    vary,
                    chunk,
                    os.getpid(),
                ),
                daemon=True,
            )
            for index in range(workers)
        ]
        for process in self._processes:
            process.start()

    def close(self) -> None:
        """End the workers."""
        for process in self._processes:
            process.terminate()
            process.join()

    def take(self) -> list[Encoded]:
        """Return the next chunk; waits for it."""
        if not any(process.is_alive() for process in self._processes):
            raise RuntimeError("the rendering workers have died; see their traceback above")
        return self._queue.get(timeout=300)


def _work(
    queue: mp.Queue[list[Encoded]],
    saved: str,
    view: View,
    shape: Shape,
    seed: Sequence[int],
    pairs: float,
    vary: bool,
    chunk: int,
    parent: int,
) -> None:
    from tokenizers import Tokenizer

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(saved))
    for items in _chunks(tokenizer, view, shape, seed, pairs, vary, chunk):
        # Nobody takes from the queue of a trainer that was killed, so waiting for room must end.
        while os.getppid() == parent:
            try:
                queue.put(items, timeout=5)
                break
            except Full:
                continue
        else:
            os._exit(0)


def _chunks(
    tokenizer: PreTrainedTokenizerFast,
    view: View,
    shape: Shape,
    seed: Sequence[int],
    pairs: float,
    vary: bool,
    chunk: int,
) -> Iterator[list[Encoded]]:
    rng = np.random.default_rng([*seed, 7])
    stream = examples(seed, view, pairs=pairs, vary=vary)
    while True:
        yield [encode(next(stream), tokenizer, shape, rng) for _ in range(chunk)]
