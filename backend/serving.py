"""Which model answers: the champion of the store on the base that the model server announces, and the view it wants.

What the server announces is remembered in the store, so that the model's name and version are known while the server
is away (Label Studio asks for the version at any time and waits three seconds). Knows nothing of questions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from backend.errors import UnknownModel
from backend.model_client import ModelClient
from backend.settings import Settings
from backend.store import ModelVersionRow, Store
from backend.store import queries as stored
from backend.versions import model_version
from regiontext.errors import MarkError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.marks.view import View

__all__ = ["Served", "Serving", "choose", "pick", "refresh", "served", "unknown_yet"]

_log = logging.getLogger(__name__)

_UNNAMED = "model"


@dataclass(frozen=True)
class Served:
    """The model that is asked now.

    model: the id it is requested by. base: the base model's id. adapter: the id of its adapter, None for the base
    itself. adapter_path: where the server finds the adapter. view: how regions are shown to it. max_regions: how many
    regions one question may be about (2 for relations). composes: whether sentences about relations are put together
    from captions instead of asked.
    """

    model: str
    base: str
    adapter: str | None
    adapter_path: str | None
    view: View
    max_regions: int = 2
    composes: bool = False

    def version(self, config: LabelingConfig) -> str:
        """The model version of its answers to the questions of a labeling config."""
        return model_version(self.base, self.adapter, self.view, config)


class Serving:
    """What `served` said a moment ago, so that not every question of a busy minute asks the store.

    A promotion by another process is noticed within `fresh_s` seconds. Safe to share between threads.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        fresh_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._store = settings, store
        self._fresh_s, self._clock = fresh_s, clock
        self._last: tuple[float, Served] | None = None

    def at_hand(self) -> Served | None:
        """The model, if the store said so just now; asks nobody."""
        last = self._last
        return last[1] if last is not None and self._clock() < last[0] + self._fresh_s else None

    def look(self) -> Served | None:
        """The model, from the store; see `served`."""
        began = self._clock()
        found = served(self._settings, self._store)
        self._last = (began, found) if found is not None else None
        return found

    def forget(self) -> None:
        """Ask the store the next time."""
        self._last = None


def served(settings: Settings, store: Store) -> Served | None:
    """The model to ask, as far as the store knows; None if no server ever announced one and none is named.

    Reads the store only: fast, and right while the model server is away.
    """
    with store.read() as session:
        return pick(session, settings, stored.served_models(session))


def pick(
    session: Session, settings: Settings, announced: Sequence[Mapping[str, Any]]
) -> Served | None:
    """The model to ask when a server announces these; None if it announces none and none is named."""
    base = settings.model or _first_base(announced)
    if base is None:
        return None
    adapter, base = _split(announced, base)
    champion = stored.champion(session, base) if adapter is None else None
    found = choose(announced, base, adapter, champion)
    return found if settings.view is None else replace(found, view=View.from_dict(settings.view))


def choose(
    announced: Sequence[Mapping[str, Any]],
    base: str,
    adapter: str | None,
    champion: ModelVersionRow | None,
) -> Served:
    """The model to ask, given what is announced, what is named, and the champion of that base."""
    path = None
    if adapter is None and champion is not None and champion.adapter_path is not None:
        adapter, path = champion.name, champion.adapter_path
    model = adapter or base
    about = _announced(announced, model, base)
    return Served(
        model,
        base,
        adapter,
        path,
        view=_view(about),
        max_regions=_max_regions(about),
        composes=about.get("relation_sentences") == "composed",
    )


async def refresh(settings: Settings, store: Store, client: ModelClient) -> Served:
    """Ask the server what it serves, remember it, and choose.

    Raises:
        ModelUnavailable: the server does not answer.
        UnknownModel: it serves nothing.
    """
    announced = await client.models()

    def remember() -> Served | None:
        with store.read() as session:
            changed = list(stored.served_models(session)) != announced
        if changed:
            with store.begin() as session:
                stored.replace_served_models(session, announced)
        return served(settings, store)

    found = await asyncio.to_thread(remember)
    if found is None:
        raise UnknownModel("the model server serves no model; set REGIONTEXT_MODEL")
    return found


def unknown_yet(settings: Settings) -> Served:
    """What stands for the model until a server has announced one."""
    return Served(settings.model or _UNNAMED, settings.model or _UNNAMED, None, None, View())


def _first_base(announced: Sequence[Mapping[str, Any]]) -> str | None:
    bases = [m["id"] for m in announced if not m.get("parent")]
    return str(bases[0]) if bases else None


def _split(announced: Sequence[Mapping[str, Any]], name: str) -> tuple[str | None, str]:
    """(adapter, base) of a model that was named: an adapter if it is announced as one."""
    parent = next((m.get("parent") for m in announced if m["id"] == name), None)
    return (name, str(parent)) if parent else (None, name)


def _announced(announced: Sequence[Mapping[str, Any]], model: str, base: str) -> Mapping[str, Any]:
    """What is said of a model, or of its base while its adapter is not loaded."""
    found = {m["id"]: m for m in announced}
    return found.get(model) or found.get(base) or {}


def _view(about: Mapping[str, Any]) -> View:
    given = about.get("view")
    try:
        return View.from_dict(given) if isinstance(given, Mapping) else View()
    except (MarkError, TypeError) as error:
        _log.error(
            "the model server announces a view that cannot be drawn: %s",
            error,
            extra={"of": about.get("id")},
        )
        return View()


def _max_regions(about: Mapping[str, Any]) -> int:
    given = about.get("max_regions")
    return given if isinstance(given, int) and given > 0 else 2
