"""Turns questions about regions of an image into suggestions: renders, asks, keeps, returns.

The arm of the image is recorded before anything is asked, and images outside the assist arm get no suggestion. A
suggestion is in the store before anyone sees it. Knows nothing of Label Studio's protocol or of results.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from PIL import Image

from backend.arms import draw_into_arm, trapped
from backend.cache import BoundedCache
from backend.clicks import ClickBook
from backend.data_urls import data_url
from backend.errors import ModelUnavailable, UnknownModel
from backend.failures import Failure, failure_of
from backend.images import Images
from backend.metrics import Metrics
from backend.model_answers import Answer
from backend.model_client import ModelClient
from backend.origin import Origins
from backend.segment import Segmenter
from backend.serving import Served, Serving, refresh
from backend.settings import Settings
from backend.shadow import Shadow, Unseen
from backend.store import Store, SuggestionRow
from backend.store import queries as stored
from regiontext.images import image_hash, load_image
from regiontext.labelstudio.answers import accepted
from regiontext.labelstudio.config import LabelingConfig
from regiontext.marks.view import Rendered, render
from regiontext.questions.prompt import prompt
from regiontext.questions.question import Question
from regiontext.region import Region

__all__ = [
    "Answered",
    "Assistant",
    "Listener",
    "Path",
    "Picture",
    "Suggestion",
    "answer",
    "current_model",
    "look_at",
]

_log = logging.getLogger(__name__)

_DECODED_BYTES = 256 * 2**20
_MAX_ASSISTED = 100_000

Path = Literal["interactive", "batch"]


@dataclass(frozen=True)
class Suggestion:
    """One answer of the model, as stored.

    region, region_to: the region asked about, or subject and object of a pair. value: the text, or the options chosen.
    confidence: in [0, 1], None if unknown.
    """

    id: str
    project: int
    task: int
    region: str
    region_to: str | None
    field: str
    value: tuple[str, ...]
    confidence: float | None
    model_version: str


@dataclass(frozen=True)
class Answered:
    """What came of a set of questions.

    failures: why each question (region ids, field) that got no answer got none. arm: of the image; outside "assist"
    there are neither suggestions nor failures.
    """

    arm: str
    suggestions: list[Suggestion] = field(default_factory=list)
    failures: dict[tuple[tuple[str, ...], str], Failure] = field(default_factory=dict)


class Listener(Protocol):
    """Is told how the questions get on while they are being answered."""

    def shown(self, question: Question, rendered: Rendered) -> None:
        """What the model is shown for a question."""

    def grown(self, question: Question, text: str) -> None:
        """The answer so far, as the model says it."""

    def said(self, question: Question, said: Answer) -> None:
        """The whole answer, before it is stored."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that was looked at: the upright RGB pixels, the hash of its bytes, its recorded arm."""

    image: Image.Image
    hash: str
    arm: str


@dataclass(frozen=True, eq=False)
class Assistant:
    """What answering needs. One per process."""

    settings: Settings
    store: Store
    images: Images
    model: ModelClient
    metrics: Metrics = field(default_factory=Metrics, repr=False)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    segmenter: Segmenter = field(default_factory=Segmenter, repr=False)
    # The server of its own that makes masks; None: the model's.
    masks: ModelClient | None = field(default=None, repr=False)
    shadow: Shadow = field(default_factory=Shadow, repr=False)
    clicks: ClickBook = field(default_factory=ClickBook, repr=False)
    # An annotator draws many regions on one image, and decoding a large one takes a good part of a second.
    decoded: BoundedCache[Image.Image] = field(
        default_factory=lambda: BoundedCache(_DECODED_BYTES), repr=False
    )

    # An image that is in the assist arm stays there, so the store need not be asked again.
    assisted: BoundedCache[bool] = field(
        default_factory=lambda: BoundedCache(_MAX_ASSISTED), repr=False
    )

    @cached_property
    def origins(self) -> Origins:
        """What tells whether a project is one whose work the store keeps."""
        return Origins(self.store)

    @cached_property
    def serving(self) -> Serving:
        """What tells which model to ask."""
        return Serving(self.settings, self.store)


async def current_model(assistant: Assistant) -> Served:
    """The model to ask, from the store; asks the server only if none was ever announced.

    Raises:
        ModelUnavailable: nothing is known and the server does not answer.
    """
    found = assistant.serving.at_hand() or await asyncio.to_thread(assistant.serving.look)
    if found is not None:
        return found
    return await refresh(assistant.settings, assistant.store, assistant.model)


async def look_at(
    assistant: Assistant, data: bytes, *, project: int | None, task: int | None
) -> Picture:
    """Decode an image and record its arm, which is fixed from then on (see `queries.record_image`).

    Raises:
        ImageError: the bytes are no usable image.
    """
    return await asyncio.to_thread(_look_at, assistant, data, project, task)


def _look_at(assistant: Assistant, data: bytes, project: int | None, task: int | None) -> Picture:
    digest = image_hash(data)
    image = assistant.decoded.get(digest)
    assistant.metrics.cached("decoded", hit=image is not None)
    if image is None:
        with assistant.metrics.stage("decode"):
            image = load_image(data)
        assistant.decoded.put(digest, image, image.width * image.height * 3)
    if assistant.assisted.get(digest):
        return Picture(image, digest, "assist")
    row = draw_into_arm(
        assistant.settings, assistant.store, digest, image.size, project=project, task=task
    )
    if row.arm == "assist":
        assistant.assisted.put(digest, True, 1)
    return Picture(image, digest, row.arm)


async def answer(
    assistant: Assistant,
    picture: Picture,
    *,
    project: int,
    task: int,
    regions: Sequence[Region],
    config: LabelingConfig,
    questions: Sequence[Question],
    path: Path,
    deadline: float | None = None,
    listener: Listener | None = None,
    temperature: float = 0.0,
) -> Answered:
    """Ask every question, as many at once as the settings allow, until the deadline.

    deadline: on the clock of `time.monotonic`; what is not answered by then fails with "out of time". A question that
    fails is a line in `Answered.failures`, never an exception. listener: is told of each while it is answered; nothing
    is asked any more, nor stored, when this is cancelled.

    Raises:
        ModelUnavailable: no model is known and the server does not answer.
    """
    if picture.arm != "assist" or not questions:
        return Answered(picture.arm)
    model = await _in_time(current_model(assistant), deadline)
    by_id = {region.id: region for region in regions}
    asking = _Asking(assistant, picture, by_id, config, model, listener, temperature)
    tasks = {asyncio.create_task(asking.ask(question)): question for question in questions}
    try:
        done, _ = await asyncio.wait(tasks, timeout=_left(deadline))
    finally:
        for one in tasks:
            one.cancel()
    result = Answered(picture.arm)
    rows: list[SuggestionRow] = []
    version = model.version(config)
    for one, question in tasks.items():
        fault = one.exception() if one in done else _OUT_OF_TIME
        late_or_failed = "late" if isinstance(fault, TimeoutError) else "failed"
        assistant.metrics.question(path, late_or_failed if fault else "answered")
        if fault is not None:
            result.failures[question.region_ids, question.field] = failure_of(fault)
            continue
        rows.append(
            SuggestionRow(
                id=secrets.token_hex(8),
                project=project,
                task=task,
                region=question.region_ids[0],
                region_to=question.region_ids[1] if question.pair else None,
                field=question.field,
                question=question.wording,
                question_hash=question.hash,
                options=list(question.options),
                image_hash=picture.hash,
                view=model.view.to_dict(),
                model_version=version,
                model=model.model,
                path=path,
                **trapped(assistant.settings, picture.hash, question, one.result(), heard=listener),
            )
        )
    if rows:
        with assistant.metrics.stage("store"):
            await asyncio.to_thread(_keep, assistant.store, rows)
        if not temperature:
            assistant.shadow.offer(assistant.store, assistant.model, map(asking.unseen, rows))
    result.suggestions.extend(_suggestion(row) for row in rows)
    return result


class _Asking:
    """One picture and one model: renders each set of regions once, whatever is asked about it."""

    def __init__(
        self,
        assistant: Assistant,
        picture: Picture,
        regions: Mapping[str, Region],
        config: LabelingConfig,
        model: Served,
        listener: Listener | None = None,
        temperature: float = 0.0,
    ) -> None:
        self._listener = listener
        self._temperature = temperature
        self._assistant = assistant
        self._picture = picture
        self._regions = regions
        self._config = config
        self._served = model
        self._gate = asyncio.Semaphore(assistant.settings.model_concurrency)
        self._shown: dict[tuple[str, ...], asyncio.Task[tuple[Rendered, list[str]]]] = {}

    async def ask(self, question: Question) -> dict[str, Any]:
        """The part of the suggestion's row that only asking tells."""
        settings, model = self._assistant.settings, self._served.model
        async with self._assistant.shadow.answering(), self._gate:
            rendered, urls = await self._show(question.region_ids)
            words = prompt(question, rendered)
            heard = self._listener
            if heard is not None:
                heard.shown(question, rendered)
            told = None if heard is None else lambda text: heard.grown(question, text)

            async def call() -> Answer:
                with self._assistant.metrics.stage("model"):
                    return await self._assistant.model.ask(
                        urls,
                        words,
                        model=model,
                        options=question.options,
                        max_tokens=settings.max_tokens,
                        temperature=self._temperature,
                        told=told,
                    )

            try:
                said = await call()
            except UnknownModel:
                await self._load_adapter()
                said = await call()
        if heard is not None:
            heard.said(question, said)
        field = self._config.field(question.field)
        return {
            "prompt": words,
            "render_hash": rendered.hash,
            "decoding": {"temperature": self._temperature, "max_tokens": settings.max_tokens},
            "value": list(accepted(field, said.text)) if field is not None else [said.text],
            "confidence": said.confidence,
        }

    def unseen(self, row: SuggestionRow) -> Unseen:
        """The question of a suggestion, for a challenger to answer it unseen."""
        _, urls = self._shown[tuple(id for id in (row.region, row.region_to) if id)].result()
        return Unseen.of(row, self._served.base, urls, self._config.field(row.field))

    async def _show(self, ids: tuple[str, ...]) -> tuple[Rendered, list[str]]:
        if ids not in self._shown:
            self._shown[ids] = asyncio.create_task(asyncio.to_thread(self._render, ids))
        # Shielded: the questions of a region share its rendering, and one may be cancelled.
        return await asyncio.shield(self._shown[ids])

    def _render(self, ids: tuple[str, ...]) -> tuple[Rendered, list[str]]:
        regions = [self._regions[id] for id in ids]
        with self._assistant.metrics.stage("render"):
            everyone = list(self._regions.values())
            rendered = render(self._picture.image, regions, self._served.view, among=everyone)
            _ = rendered.hash  # made here, beside the event loop
            return rendered, [data_url(image) for image in rendered.images]

    async def _load_adapter(self) -> None:
        """Give the server the champion's adapter again: it forgets adapters when it restarts."""
        model = self._served
        if model.adapter is None or model.adapter_path is None:
            # Another base may have taken the server over; learn its name for the next call.
            await refresh(self._assistant.settings, self._assistant.store, self._assistant.model)
            self._assistant.serving.forget()
            raise UnknownModel(f"the model server does not serve {model.model!r}")
        async with self._assistant.loading:
            _log.warning("loading the adapter again", extra={"adapter": model.adapter})
            await self._assistant.model.load_adapter(model.adapter, model.adapter_path)


_OUT_OF_TIME = TimeoutError("out of time")


def _keep(store: Store, rows: Sequence[SuggestionRow]) -> None:
    with store.begin() as session:
        stored.add_suggestions(session, rows)


def _suggestion(row: SuggestionRow) -> Suggestion:
    names = ("id", "project", "task", "region", "region_to", "field", "confidence", "model_version")
    return Suggestion(value=tuple(row.value), **{name: getattr(row, name) for name in names})


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


async def _in_time(work: Coroutine[Any, Any, Served], deadline: float | None) -> Served:
    try:
        return await asyncio.wait_for(work, _left(deadline))
    except TimeoutError as error:
        raise ModelUnavailable("the model server is too slow to say what it serves") from error
