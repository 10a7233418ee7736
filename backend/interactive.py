"""Answers an interactive call: a region was drawn, or pointed at, or the annotator asked for all of them.

Whatever happens, every shape of the request comes back under its id, together with the waiting regions of the requests
it overtook; what could not be filled carries a one-line note. Relations are only ever text here: relation objects crash
the page. Knows the order of things; ledger, gestures, questions and model each know their own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any

from backend.answering import Answers, Job, fill_regions, is_ours_in
from backend.asking import asks_for_relations, instruction_in, said_in
from backend.assistant import Assistant
from backend.clicks import Click
from backend.errors import BackendError, OtherLabelStudio
from backend.fill import Target, target_of
from backend.fresh import as_they_are_now, caught_up, may_be_about
from backend.gestures import pointed_at
from backend.growing import Growing, grow
from backend.known import Known, is_marked, known_of, text_in
from backend.label_studio import project_id
from backend.ledger import Call, Ledger, Pending
from backend.masking import click_in, mask_control
from backend.origin import created_in
from backend.outgoing import noted, regional, written
from backend.relate import merged_lines
from regiontext.errors import ConfigError, RegiontextError
from regiontext.labelstudio.config import LabelingConfig, parse_config
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.leaks import is_bare, without_leaks
from regiontext.labelstudio.results import (
    Result,
    decode_regions,
    image_field_result,
    text_of,
)
from regiontext.questions.templates import region_questions
from regiontext.region import Region

__all__ = ["Interactive", "config_of", "interact"]

_log = logging.getLogger(__name__)

# Kept back from the budget for writing the answer.
_RESERVE_S = 0.3
# Ordered pairs that the prompt field asks about: what a small model on a processor answers in the budget.
_MAX_PAIRS = 8
# Kept back from it for the last look at the draft.
_LAST_LOOK_S = 0.4
# Kept back from it for asking, once the draft has caught up.
_FOR_THE_REST_S = 1.5
_LATE = "not filled in time"
_WHOSE = "drawn on this task a moment before: if it was not you, delete it here"


@dataclass(frozen=True)
class Interactive:
    """One call, as Label Studio sends it. context: the results that the page sent along. page: see `Ledger.open`."""

    task: Mapping[str, Any]
    project: str
    label_config: str
    context: tuple[Result, ...]
    page: str | None = None


@dataclass(frozen=True, eq=False)
class _Turn:
    """A call that was understood. prompt: what the prompt field newly says, None if nothing. context: as it came.

    refusal: why nothing may be asked or kept, None if it may.
    """

    assistant: Assistant
    config: LabelingConfig
    project: int
    task: int
    data: Mapping[str, Any]
    context: list[Result]
    known: Known
    call: Call
    prompt: str | None
    deadline: float
    refusal: OtherLabelStudio | None = None

    @property
    def left(self) -> float:
        """Seconds until the answer must be ready."""
        return max(0.0, self.deadline - time.monotonic())


@lru_cache(maxsize=64)
def config_of(xml: str) -> LabelingConfig:
    """A parsed labeling config; Label Studio sends the same text with every call.

    Raises:
        ConfigError: see `parse_config`.
    """
    return parse_config(xml)


async def interact(assistant: Assistant, ledger: Ledger, request: Interactive) -> list[Result]:
    """The results that answer the request, with all its shapes or empty, see `outgoing`: then the page is left alone.

    Does not raise; keeps to the time budget.
    """
    deadline = time.monotonic() + max(0.1, assistant.settings.budget_s - _RESERVE_S)
    context = without_leaks(request.context)
    try:
        config = config_of(request.label_config)
        project, task = project_id(request.project), int(request.task["id"])
        refusal = await _refusal(assistant, request.project)
        known = known_of(request.task)
        # A project that is refused is told from the one of its number by when it was created.
        number = project if refusal is None else -(created_in(request.project) or 1)
        call = ledger.open(number, task, context, known, now=time.time(), on_page=request.page)
        if known.relabels or any(map(is_bare, request.context)):
            _log.warning("not answered: the page would relabel it all", extra={"task": task})
            # What waits there goes on waiting, and the next answer has to hold it.
            ledger.close(call, now=None)
            return []
    except ConfigError as error:
        _log.warning("an interactive call is echoed: %s", error)
        return noted(regional(context), " ".join(str(error).split()))
    except (RegiontextError, BackendError, KeyError, TypeError, ValueError) as error:
        _log.warning("an interactive call is echoed: %s", error)
        return regional(context)
    try:
        said = said_in(config, context)
        prompt = said[-1] if ledger.prompt_is_new(call, said) else None
        data = request.task.get("data")
        turn = _Turn(
            assistant=assistant,
            config=config,
            project=project,
            task=task,
            data=data if isinstance(data, Mapping) else {},
            context=context,
            known=known,
            call=call,
            prompt=prompt,
            deadline=deadline,
            refusal=refusal,
        )
        own = await _guarded(turn)
        return [*own, *await _overtaken(turn, own)]
    finally:
        ledger.close(call, now=time.time())


async def _refusal(assistant: Assistant, uid: str) -> OtherLabelStudio | None:
    try:
        await assistant.origins.project(uid)
    except OtherLabelStudio as error:
        return error
    except Exception:
        # Nothing can be kept now, so nothing can be mixed; what comes next says so in a note.
        _log.exception("the database does not tell whose project this is")
    return None


async def _guarded(turn: _Turn) -> list[Result]:
    """The call's own results; whatever goes wrong, its shapes with a note."""
    about = {"task": turn.task, "project": turn.project}
    try:
        return await asyncio.wait_for(_answered(turn), turn.left + _RESERVE_S / 2)
    except TimeoutError:
        _log.warning("an interactive call ran out of time", extra=about)
        return noted(regional(turn.context), "out of time")
    except (BackendError, RegiontextError) as error:
        _log.warning("an interactive call stays unfilled: %s", error, extra=about)
        return noted(regional(turn.context), " ".join(str(error).split()))
    except Exception as error:
        _log.exception("an interactive call failed", extra=about)
        return noted(
            regional(turn.context), f"internal error ({type(error).__name__}); see the log"
        )


async def _overtaken(turn: _Turn, own: Sequence[Result]) -> list[Result]:
    """The regions of the requests this one overtook, filled if their answer is known in time."""
    present = {item.get("id") for item in own if is_shape(item)}
    results: list[Result] = []
    for pending in turn.call.carried.values():
        mine = await _filled(turn, pending) or noted(pending.results, _LATE)
        if pending.id in turn.call.doubtful:
            mine = noted(mine, _WHOSE)
        if mine[0].get("id") not in present:
            present.add(mine[0].get("id"))
            results.extend(mine)
    return results


async def _answered(turn: _Turn) -> list[Result]:
    """Plan, ask, write down."""
    if turn.refusal is not None:
        raise turn.refusal
    turn = await _caught_up(turn)
    own, more, growing = await asyncio.to_thread(_targets, turn)
    targets = {target.id: target for target in more}
    grown = await grow(
        turn.assistant,
        growing,
        config=turn.config,
        data=turn.data,
        project=turn.project,
        task=turn.task,
        known=turn.known,
        own={id: pending.results for id, pending in turn.call.own.items()},
        deadline=turn.deadline,
    )
    own |= grown.targets
    for id, target in own.items():
        if target is not None and (id not in turn.call.reused or id in grown.targets):
            targets[target.id] = target
    answers = await fill_regions(
        turn.assistant,
        Job(
            project=turn.project,
            task=turn.task,
            data=turn.data,
            config=turn.config,
            targets=list(targets.values()),
            results=list(turn.known.raw),
            path="interactive",
            relations=_MAX_PAIRS if _asks_for_relations(turn) else 0,
            deadline=turn.deadline,
        ),
    )
    for id, note in grown.notes.items():
        answers.notes[id] = "; ".join(filter(None, [note, answers.notes.get(id)]))
    ready = {
        id: await _filled(turn, turn.call.own[id])
        for id in turn.call.reused
        if id not in grown.targets
    }
    for id, found in ready.items():
        if not found and (target := own[id]) is not None:
            answers.notes.setdefault(target.id, _LATE)
    results: list[Result] = []
    given: set[str] = set()
    for id in turn.call.own:
        target = own[id]
        mine = ready.get(id) or (
            noted(turn.call.own[id].results, grown.notes.get(id))
            if target is None
            else written(target, answers, turn.config)
        )
        pending = turn.call.own[id]
        if not pending.filled.done():
            pending.filled.set_result(mine)
        if mine[0]["id"] not in given:
            given.add(mine[0]["id"])
            results.extend(mine)
    # A region that nothing was found for is not sent: the page has it, perhaps newer than the draft.
    asked = [t for t in more if t.id in answers.suggestions or t.id in answers.notes]
    ours = cache(partial(is_ours_in, turn.assistant, turn.project, turn.task))
    now = await as_they_are_now(
        turn.assistant.settings,
        turn.task,
        asked,
        typed=_typed(turn),
        suggestions=answers.suggestions,
        config=turn.config,
        deadline=turn.deadline - _LAST_LOOK_S,
        is_ours=lambda *what: ours()(*what),
    )
    for target in now:
        if target.id not in given:
            given.add(target.id)
            results.extend(written(target, answers, turn.config))
    growing.answered(results)
    return results + _whole_image(turn, answers)


def _typed(turn: _Turn) -> Result | None:
    """What stands in the prompt field, as it came."""
    area = turn.config.prompt_field
    return next((i for i in turn.context if area and i.get("from_name") == area.name), None)


async def _caught_up(turn: _Turn) -> _Turn:
    """The call with what Label Studio knows once it has saved a polygon that it may be about."""
    if not turn.known.unfinished:
        return turn
    pending = [p.results[0] for p in turn.call.own.values() if not is_marked(p.results[0])]
    drawn, _ = decode_regions(pending)
    about = next((p for p in pending if may_be_about(drawn.get(p["id"]), turn.known)), None)
    about = about or (None if turn.prompt is None else _typed(turn))
    if about is None:
        return turn
    last = turn.deadline - _FOR_THE_REST_S
    settings = turn.assistant.settings
    return replace(turn, known=await caught_up(settings, turn.task, turn.known, about, last))


def _targets(turn: _Turn) -> tuple[dict[str, Target | None], list[Target], Growing]:
    """Per shape of the request, the region to fill (itself, or one it points at; None: none), and more to fill.

    Clicks that are about a mask are counted to it, which takes their place once it is there.
    """
    config, context = turn.config, turn.context
    drawn, _ = decode_regions(context)
    others, _ = decode_regions(turn.known.raw)
    empty = {id: _has_empty_field(turn, region) for id, region in others.items()}
    clicks = _clicks(turn)
    growing = Growing(turn.assistant, turn.call.key, turn.known, frozenset(clicks), time.time())
    own: dict[str, Target | None] = {}
    for id in turn.call.own:
        prompt, shape = drawn.get(id), turn.call.own[id].results[0]
        click = clicks.get(id) if prompt is not None else None
        if shape.get("is_positive") is False:
            own[id] = None
            if click is not None and prompt is not None:
                growing.count(click, prompt.item_index)
            continue
        # The page sends along what it accepted before, under the same label: no gesture, and answered already.
        if is_marked(shape):
            own[id] = target_of(context, id, config=config, renew=False, may_wish=True)
            continue
        # Two annotators draw nearly the same box: it must not turn into the other's region, words and all.
        its_own = prompt is not None and prompt.shape == "rectangle" and turn.known.may_be_anothers
        # A point that waits itself is part of the same question, not what is asked about.
        there = [o for i, o in others.items() if o.shape != "keypoint" or i not in turn.call.own]
        at = (
            pointed_at(prompt, there, lambda i: empty[i])
            if prompt is not None and not its_own
            else None
        )
        if at is not None and not (click is not None and growing.is_counted(click)):
            own[id] = target_of(turn.known.raw, at, config=config)
            continue
        own[id] = target_of(context, id, config=config, may_wish=True)
        if click is None or prompt is None:
            continue
        fresh = {} if growing.mends(click, prompt.item_index) else growing.fresh()
        if (new := pointed_at(prompt, fresh.values(), lambda _: True)) is not None:
            own[id] = target_of(growing.results_of(new), new, config=config)
        else:
            growing.count(click, prompt.item_index)
    growing.leave(turn.call.reused)
    more: list[Target] = []
    if turn.prompt is not None:
        wish = instruction_in(turn.prompt)
        ids = [id for id in others if (empty[id] or wish is not None) and id not in own]
        found = (target_of(turn.known.raw, id, config=config, renew=False) for id in ids)
        more.extend(replace(target, instruction=wish) for target in found if target is not None)
    return own, more, growing


def _clicks(turn: _Turn) -> dict[str, Click]:
    """The keypoints of the request that wait and that a mask can be drawn for, by id."""
    shapes = {id: pending.results[0] for id, pending in turn.call.own.items()}
    clicks = {
        id: click_in(shape)
        for id, shape in shapes.items()
        if not is_marked(shape) and mask_control(turn.config, shape) is not None
    }
    return {id: click for id, click in clicks.items() if click is not None}


def _has_empty_field(turn: _Turn, region: Region) -> bool:
    filled = turn.known.results.fields.get(region.id, {})
    asked = region_questions(turn.config, region)
    return any(not text_in(filled.get(question.field)) for question in asked)


def _asks_for_relations(turn: _Turn) -> bool:
    wanted = turn.prompt is not None and asks_for_relations(turn.prompt)
    return wanted and turn.config.relation_field is not None


def _whole_image(turn: _Turn, answers: Answers) -> list[Result]:
    """The text of the relations if there is something to add to it; of the rest, what no region can be found for."""
    odd = [item for item in regional(turn.context) if item.get("id") not in turn.call.own]
    area = turn.config.relation_field
    lines = [suggestion.value[0] for suggestion in answers.sentences]
    if area is None or not lines:
        return odd
    sent = next((item for item in turn.context if item.get("from_name") == area.name), None)
    there = sent or turn.known.results.image_fields.get(area.name)
    merged = merged_lines(text_of(there) if there else (), lines)
    id = str(there["id"]) if there else secrets.token_urlsafe(8)
    return [*odd, image_field_result(area, merged, id=id)]


async def _filled(turn: _Turn, pending: Pending) -> list[Result]:
    """What another request makes of a region; empty if that is not known in time."""
    await asyncio.wait([pending.filled], timeout=turn.left)
    return list(pending.filled.result()) if pending.filled.done() else []
