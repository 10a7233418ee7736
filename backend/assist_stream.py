"""What the assistant inside Label Studio is told about one region while the model answers.

Asks about the region's fields (all that are empty or still hold our own text, or those that are named), or how it
relates to its neighbours. Knows questions and the model; knows nothing of who asks, nor of the page.
"""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from PIL import Image

from backend.answering import is_ours_in
from backend.assist_relations import offered_arrows
from backend.assistant import Answered, Assistant, Picture, Suggestion, answer, look_at
from backend.fill import Target, questions_for, target_of
from backend.interactive import config_of
from backend.label_studio import image_url, project_id
from backend.model_answers import Answer
from regiontext.errors import RegionError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.results import Result, decode_regions
from regiontext.marks.side_by_side import side_by_side
from regiontext.marks.view import Rendered
from regiontext.questions.question import Question
from regiontext.questions.templates import region_questions
from regiontext.region import Region

__all__ = ["WISHES", "Asked", "events", "read_asked"]

WISHES: Final = {"shorter": "Answer in a few words.", "longer": "Answer in more detail."}
"""What is added to a question for the wishes that the page has buttons for."""

_LONGEST_S = 60.0
_TEMPERATURE = 0.8
_WORDS = 300


@dataclass(frozen=True, eq=False)
class Asked:
    """One request. uid: the project as Label Studio names it. results: of the whole annotation, as it is on the page.

    fields: the ones to ask about, even if a human wrote them; None: those that are empty or ours. wish: a key of
    WISHES, "again" for another answer, or the annotator's own words. relations: ask how it relates, nothing else.
    """

    uid: str
    task: int
    data: Mapping[str, Any]
    config: LabelingConfig
    region: str
    results: tuple[Result, ...]
    fields: tuple[str, ...] | None = None
    wish: str | None = None
    relations: bool = False

    @property
    def project(self) -> int:
        """The project's number."""
        return project_id(self.uid)


def read_asked(body: Mapping[str, Any]) -> Asked:
    """The request in a JSON body.

    Raises:
        ValueError: it is incomplete.
        ConfigError: its labeling config cannot be read.
        LabelStudioError: it names no project.
    """
    task, region, results = body.get("task"), body.get("region"), body.get("results")
    if not isinstance(task, Mapping) or not isinstance(task.get("id"), int):
        raise ValueError(f"`task` must be an object with a number as id, not {task!r}"[:200])
    if not isinstance(region, str) or not isinstance(results, list):
        raise ValueError("`region` must be the id of one, and `results` a list")
    data, fields, wish = task.get("data"), body.get("fields"), body.get("wish")
    uid = str(body.get("project"))
    project_id(uid)
    return Asked(
        uid=uid,
        task=task["id"],
        data=data if isinstance(data, Mapping) else {},
        config=config_of(str(body.get("label_config") or "")),
        region=region,
        results=tuple(dict(item) for item in results if isinstance(item, Mapping)),
        fields=tuple(str(name) for name in fields) if isinstance(fields, list) else None,
        wish=" ".join(wish.split())[:_WORDS] if isinstance(wish, str) and wish.strip() else None,
        relations=body.get("relations") is True,
    )


async def events(assistant: Assistant, asked: Asked) -> AsyncGenerator[dict[str, Any], None]:
    """What happens, in order, each with its name under "event".

    asking (fields: each with how it is asked), picture (url: what the model sees), text (field, text: so far), answer
    (field, id, value, confidence, options: ranked, with their probabilities), relation (id, from, to, label,
    confidence), failed (field, reason, temporary), and at the end done. Outside the assist arm only done.

    Raises:
        BackendError, RegiontextError: nothing can be asked.
    """
    target = target_of(asked.results, asked.region, config=asked.config)
    if target is None:
        raise RegionError(asked.region, "it is not among the results")
    url = image_url(asked.data, asked.config.image_key, target.item_index)
    data = await assistant.images.fetch(url, task=asked.task)
    picture = await look_at(assistant, data, project=asked.project, task=asked.task)
    if picture.arm != "assist":
        yield {"event": "done"}
        return
    shapes = [r for r in asked.results if r.get("item_index", 0) == target.item_index]
    results = shapes if asked.relations else [target.shape]
    regions, faults = await asyncio.to_thread(decode_regions, results, size=picture.image.size)
    if asked.region not in regions:
        why = next((f for f in faults if f.region_id == asked.region), "it has no area")
        raise RegionError(asked.region, str(why))
    if asked.relations:
        for arrow in await offered_arrows(
            assistant,
            picture,
            project=asked.project,
            task=asked.task,
            region=asked.region,
            regions=regions,
            results=asked.results,
            config=asked.config,
            deadline=time.monotonic() + _LONGEST_S,
        ):
            yield _relation(arrow)
    else:
        questions = await asyncio.to_thread(
            _questions, assistant, asked, target, regions[asked.region]
        )
        async for event in _answers(assistant, asked, picture, regions, questions):
            yield event
    yield {"event": "done"}


def _questions(
    assistant: Assistant, asked: Asked, target: Target, region: Region
) -> list[Question]:
    if asked.fields is None:
        is_ours = is_ours_in(assistant, asked.project, asked.task)
        found = questions_for(target, region, asked.config, is_ours)
    else:
        found = [q for q in region_questions(asked.config, region) if q.field in asked.fields]
    if asked.wish is None or asked.wish == "again":
        return found
    wish = WISHES.get(asked.wish, asked.wish).replace("{", "(").replace("}", ")")
    return [replace(q, wording=f"{q.wording} {wish}") if q.kind == "open" else q for q in found]


@dataclass(eq=False)
class _Ear:
    """Turns what is heard of the questions into events."""

    heard: asyncio.Queue[dict[str, Any] | tuple[Image.Image, ...] | None] = field(
        default_factory=asyncio.Queue
    )
    options: dict[str, Mapping[str, float]] = field(default_factory=dict)
    shown_once: bool = False

    def shown(self, question: Question, rendered: Rendered) -> None:
        if not self.shown_once:
            self.shown_once = True
            self.heard.put_nowait(rendered.images)

    def grown(self, question: Question, text: str) -> None:
        self.heard.put_nowait({"event": "text", "field": question.field, "text": text})

    def said(self, question: Question, said: Answer) -> None:
        if said.options is not None:
            self.options[question.field] = said.options


async def _answers(
    assistant: Assistant,
    asked: Asked,
    picture: Picture,
    regions: Mapping[str, Region],
    questions: Sequence[Question],
) -> AsyncIterator[dict[str, Any]]:
    if not questions:
        return
    yield {"event": "asking", "fields": {q.field: q.kind for q in questions}}
    ear = _Ear()
    work = asyncio.create_task(
        answer(
            assistant,
            picture,
            project=asked.project,
            task=asked.task,
            regions=list(regions.values()),
            config=asked.config,
            questions=questions,
            path="interactive",
            deadline=time.monotonic() + _LONGEST_S,
            listener=ear,
            temperature=_TEMPERATURE if asked.wish == "again" else 0.0,
        )
    )
    work.add_done_callback(lambda _: ear.heard.put_nowait(None))
    try:
        while (heard := await ear.heard.get()) is not None:
            if isinstance(heard, tuple):
                heard = {"event": "picture", "url": await asyncio.to_thread(_small_url, heard)}
            yield heard
        for event in _said(await work, ear):
            yield event
    finally:
        # The page has gone: nobody waits for the answer any more.
        work.cancel()


def _said(answered: Answered, ear: _Ear) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {
            "event": "answer",
            "field": suggestion.field,
            "id": suggestion.id,
            "value": list(suggestion.value),
            "confidence": _rounded(suggestion.confidence),
            "options": sorted(
                ([option, _rounded(p)] for option, p in ear.options[suggestion.field].items()),
                key=lambda pair: -float(pair[1] or 0),
            )
            if suggestion.field in ear.options
            else [],
        }
        for suggestion in answered.suggestions
    ]
    for (_, name), why in answered.failures.items():
        told.append(
            {"event": "failed", "field": name, "reason": why.reason, "temporary": why.temporary}
        )
    return told


def _relation(arrow: Suggestion) -> dict[str, Any]:
    return {
        "event": "relation",
        "id": arrow.id,
        "from": arrow.region,
        "to": arrow.region_to,
        "label": arrow.value[0],
        "confidence": _rounded(arrow.confidence),
    }


def _small_url(images: Sequence[Image.Image]) -> str:
    """The pictures as one data URL that is quick to send; for the eye, not for the model."""
    small = side_by_side(images).copy()
    small.thumbnail((320, 320))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
