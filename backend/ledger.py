"""Remembers which drawn regions of a task still wait for an answer, so that none is lost and none comes back.

Label Studio's page uses only the answer to the newest request; with auto-accept on it then deletes every waiting region
that this answer does not hold. So an answer must also hold the regions of the requests it overtook. It must not hold
others: a region that was answered in peace is already the annotator's, who may have corrected or deleted it within the
five seconds that the draft lags behind, and echoing it would undo that.

What tells the cases apart (all from the page's own code, Label Studio 1.23):
* A request holds every waiting region of the same type and first label, and those accepted before, which carry our
  mark. A waiting one that is absent from it is gone, if the request holds others that came from where it came from, or
  nothing at all; else it waits on another page: a second tab, or another annotator's.
* A request was overtaken when the next one came before its answer could have arrived (`GRACE_S`).
* Drafts hold waiting regions too. A draft saved after a region was drawn that lacks it: the annotator deleted it,
  unless it is one of several: each tab of an annotator has its own.
* A region whose answer was accepted carries our mark in the draft; one without it in a draft saved after the
  answer still waits (auto-accept is off), and is echoed again, for as long as `pending_s`.

Nothing in a request tells whose page it is before that annotator's first draft, five seconds after the first region at
the latest. Two who begin the same task within the same seconds share what is remembered until then. A region is
carried all the same, since dropping it would lose it where there is only one of them; but where a project has several
annotators it is called doubtful, so that its answer can say that it may be another's. A `page` in the context (a page
that was extended can send one) tells them apart from the beginning.

In memory, for one process and one event loop; times are seconds since 1970. Knows nothing of images or models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backend.known import Known, is_marked
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.results import Result

__all__ = ["GRACE_S", "Call", "Ledger", "Pending"]

GRACE_S = 1.5
"""How long an answer may take to arrive, and a draft to be saved, at most, when all is well."""

Filled = list[Result]
Key = tuple[int, int, str | None]
_MAX_PAGES = 10_000
_AUTOSAVE_S = 5.0


@dataclass(eq=False)
class Pending:
    """A region that was drawn and is not known to be settled.

    results: as it came, the shape first. filled: its results as answered (of another region, if this one was a prompt
    for it), once they are known. draft: the version of the draft when it was first asked about. tab: which of the pages
    that are open on the task it is on, as far as can be told.
    """

    id: str
    results: list[Result]
    group: tuple[str, str, str]
    asked_at: float
    draft: str | None
    filled: asyncio.Future[Filled]
    delivered_at: float | None = None
    tab: int = 0


@dataclass(eq=False)
class Call:
    """One interactive request. own: the regions it asks about. carried: those of others that its answer must hold.

    reused: ids of own regions whose answer an overtaken request is still working on (or just gave): take `filled`.
    doubtful: ids of carried regions that may be another annotator's.
    """

    key: Key
    own: dict[str, Pending]
    carried: dict[str, Pending]
    reused: frozenset[str]
    doubtful: frozenset[str] = frozenset()
    answered_at: float | None = None


@dataclass(eq=False)
class _Page:
    """What is remembered of one task on one annotator's page."""

    last: Call | None = None
    waiting: dict[str, Pending] = field(default_factory=dict)
    prompt: tuple[str, ...] = ()


class Ledger:
    """The pending regions of every task. One per process."""

    def __init__(self, pending_s: float = 60.0) -> None:
        self._pending_s = pending_s
        self._pages: dict[Key, _Page] = {}
        # By project and annotator: whether answers wait for a click. Assumed not, as the docs recommend.
        self._manual: dict[tuple[int, str | None], bool] = {}
        # By project, who has had a draft, and who has annotated: Label Studio names them differently.
        self._people: dict[int, tuple[set[str], set[str]]] = {}

    def open(
        self,
        project: int,
        task: int,
        context: Sequence[Mapping[str, object]],
        known: Known,
        *,
        now: float,
        on_page: str | None = None,
    ) -> Call:
        """Note a request that has just come in: in an event loop, before anything is awaited.

        on_page: what tells the page from all others, where the page says so.
        """
        crowded = self._is_crowded(project, known)
        owner = on_page or (known.draft.owner if known.draft else None)
        key = (project, task, owner)
        page = self._page(key, inherits=on_page is None)
        regions = _regions(context)
        self._settle(page, key, known, now)
        groups = {_group(results[0]) for results in regions.values()}
        absent = [p for p in page.waiting.values() if p.id not in regions]
        # A request about nothing: a waiting region was deleted, the only one of its type and label.
        if not context and len({p.group for p in absent}) == 1:
            groups = {p.group for p in absent}
        tab, certain = _tab(page.waiting, regions, {p.tab for p in absent if p.group in groups})
        carried: dict[str, Pending] = {}
        for pending in absent:
            if pending.group in groups:
                if not regions or (certain and pending.tab == tab):
                    del page.waiting[pending.id]
            elif self._must_carry(pending, key, known):
                carried[pending.id] = page.waiting.pop(pending.id)
        own: dict[str, Pending] = {}
        reused: set[str] = set()
        for id, results in regions.items():
            before = page.waiting.pop(id, None)
            filled: asyncio.Future[Filled] = asyncio.get_running_loop().create_future()
            if before is not None and before.delivered_at is not None and not is_marked(results[0]):
                # Answered, and yet waiting: nothing accepted the answer by itself.
                self._manual[project, owner] = True
            elif before is not None and before.results == results and not _is_left(before):
                filled = before.filled
                reused.add(id)
            own[id] = Pending(
                id=id,
                results=results,
                group=_group(results[0]),
                asked_at=before.asked_at if before else now,
                draft=before.draft if before else _version(known),
                filled=filled,
                tab=tab,
            )
        doubtful = frozenset(
            p.id for p in carried.values() if crowded and on_page is None and p.draft is None
        )
        page.last = Call(key, own, carried, frozenset(reused), doubtful)
        return page.last

    def close(self, call: Call, *, now: float | None) -> None:
        """Note that the answer has been sent; `now` is None for one at which the page leaves all as it is.

        Regions never filled are released unfilled, for whoever awaits them.
        """
        call.answered_at = now
        for pending in call.own.values():
            if pending.id not in call.reused and not pending.filled.done():
                pending.filled.set_result([])

    def prompt_is_new(self, call: Call, texts: tuple[str, ...]) -> bool:
        """Whether the prompt field says something it did not say at the last request of this page."""
        page = self._page(call.key)
        new = bool(texts) and texts != page.prompt
        page.prompt = texts
        return new

    def _is_crowded(self, project: int, known: Known) -> bool:
        """Whether several people work on the project, as far as was seen."""
        drafting, annotating = self._people.setdefault(project, (set(), set()))
        if known.draft is not None and known.draft.owner is not None and len(drafting) < 2:
            drafting.add(known.draft.owner)
        if len(annotating) < 2:
            annotating |= known.annotators
        return len(drafting) > 1 or len(annotating) > 1

    def _page(self, key: Key, *, inherits: bool = False) -> _Page:
        """The page of a task; with the first draft of an annotator, what the page without owner knows is theirs too.

        Another annotator, or another tab, that has no draft yet may still be on that one.
        """
        project, task, owner = key
        nameless = self._pages.get((project, task, None))
        is_new = inherits and owner is not None and key not in self._pages
        if is_new and nameless is not None:
            self._pages[key] = _Page(nameless.last, dict(nameless.waiting), nameless.prompt)
        while len(self._pages) > _MAX_PAGES:
            del self._pages[next(iter(self._pages))]
        return self._pages.setdefault(key, _Page())

    def _settle(self, page: _Page, key: Key, known: Known, now: float) -> None:
        """Put the regions of the last request among the waiting ones, and drop whatever is settled."""
        call, page.last = page.last, None
        if call is not None:
            at = call.answered_at
            in_peace = at is not None and now - at >= GRACE_S
            for pending in (*call.carried.values(), *call.own.values()):
                pending.delivered_at = at if in_peace else None
                page.waiting[pending.id] = pending
        for pending in list(page.waiting.values()):
            old = now - pending.asked_at >= self._pending_s
            if old or self._is_settled(pending, key, known):
                del page.waiting[pending.id]

    def _is_settled(self, pending: Pending, key: Key, known: Known) -> bool:
        """Whether Label Studio holds the region for good, or shows that it was deleted."""
        saved = known.draft.saved_at if known.draft else known.saved_at
        shape = known.results.shapes.get(pending.id)
        if shape is None:
            after = saved is not None and saved > pending.asked_at + GRACE_S
            return after and known.drafts < 2 and _version(known) != pending.draft
        if not is_marked(shape) or is_marked(pending.results[0]):
            return False
        at = pending.delivered_at
        if at is not None and saved is not None and saved < at + _AUTOSAVE_S + GRACE_S:
            # In the first draft after the answer: accepted at once, most likely by itself.
            self._manual[key[0], key[2]] = False
        return True

    def _must_carry(self, pending: Pending, key: Key, known: Known) -> bool:
        if pending.delivered_at is None:
            return True
        if is_marked(pending.results[0]):
            # Accepted before it was sent along: the annotator's, and perhaps corrected since.
            return False
        saved = known.draft.saved_at if known.draft else None
        held = pending.id in known.results.shapes
        if held and saved is not None and saved > pending.delivered_at + GRACE_S:
            # Answered, saved since, and still without our mark: it waits for a click.
            self._manual[key[0], key[2]] = True
        return self._manual.get((key[0], key[2]), False)


def _is_left(pending: Pending) -> bool:
    """Whether nothing came of a region, and nobody works on it any more."""
    return pending.filled.done() and not pending.filled.result()


def _tab(
    waiting: Mapping[str, Pending], regions: Mapping[str, object], others: set[int]
) -> tuple[int, bool]:
    """Which page a request comes from, and whether that is certain: it holds a region that is known to be there.

    others: the pages with a waiting region that the request would hold if it came from there.
    """
    known = [waiting[id].tab for id in regions if id in waiting]
    if known:
        return known[-1], True
    tabs = [pending.tab for pending in waiting.values()]
    fitting = [tab for tab in tabs if tab not in others]
    return (fitting[-1] if fitting else max(tabs, default=-1) + 1), False


def _version(known: Known) -> str | None:
    return known.draft.version if known.draft else None


def _regions(context: Sequence[Mapping[str, object]]) -> dict[str, list[Result]]:
    """The results of a request by region, the shape first."""
    regions: dict[str, list[Result]] = {}
    for item in context:
        if is_shape(item) and isinstance(item.get("id"), str):
            regions[str(item["id"])] = [dict(item)]
    for item in context:
        id = item.get("id")
        if isinstance(id, str) and id in regions and not is_shape(item):
            regions[id].append(dict(item))
    return regions


def _group(shape: Mapping[str, object]) -> tuple[str, str, str]:
    """What regions have in common that Label Studio's page sends together: type, object, first label."""
    kind, value = str(shape.get("type")), shape.get("value")
    labels = value.get(kind) if isinstance(value, Mapping) else None
    first = str(labels[0]) if isinstance(labels, list) and labels else ""
    return kind, str(shape.get("to_name")), first
