"""Our side of the connection: the database, the backend's process, an image of the project, the model, a caption.

Each function is the check of one hop. Knows nothing of Label Studio's settings.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image
from sqlalchemy import func, select

from backend.doctor.hop import Said
from backend.errors import BackendError, ModelError, ModelUnavailable, UnknownModel
from backend.images import Images
from backend.label_studio import image_url
from backend.label_studio_call import call
from backend.model_client import ModelClient, client_of, segmenter_of
from backend.origin import check_origin, created_of
from backend.segment import NoSegmenter, Segmenter
from backend.serving import Served, pick
from backend.settings import Settings
from backend.store import EventRow, Store
from backend.store import queries as stored
from regiontext.images import load_image
from regiontext.labelstudio.config import LabelingConfig, parse_config
from regiontext.marks.view import render
from regiontext.questions.prompt import prompt
from regiontext.questions.templates import region_questions
from regiontext.region import Region

__all__ = [
    "Sample",
    "backend",
    "caption",
    "database",
    "event_arrived",
    "image",
    "model",
    "origin",
    "sample",
    "segmenter",
]

_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Sample:
    """A task of the project to try things on."""

    task: int
    data: Mapping[str, Any]
    config: LabelingConfig


def sample(client: httpx.Client, project: int) -> Sample | None:
    """The project's first task; None if it has none."""
    config = parse_config(str(call(client, "GET", f"/api/projects/{project}/")["label_config"]))
    query = {"project": project, "page": 1, "page_size": 1, "fields": "all"}
    tasks = call(client, "GET", "/api/tasks", params=query)["tasks"]
    return Sample(int(tasks[0]["id"]), tasks[0]["data"], config) if tasks else None


def database(settings: Settings, store: Store) -> Said:
    """The database can be read and written, and what is held back is as the settings say."""
    with store.begin() as session:
        waiting = stored.count_open_events(session)
    shares = f"{settings.holdout:.0%} holdout, {settings.control:.0%} control"
    words = f"{store.engine.url.render_as_string(hide_password=True)} ({shares})"
    if waiting > 100:
        return Said(
            f"{words}; {waiting} events wait to be worked off: is the backend running?", "doubtful"
        )
    return Said(words)


def origin(store: Store, client: httpx.Client, project: int) -> Said:
    """The project is the one whose work the database keeps, not one of that number in another Label Studio."""
    created = created_of(call(client, "GET", f"/api/projects/{project}/").get("created_at"))
    if created is None:
        return Said("Label Studio does not say when the project was created", "doubtful")
    check_origin(store, project, created)
    return Said(f"project {project} is the one the database knows")


def backend(settings: Settings) -> Said:
    """The backend's process answers here, and says that it is ready."""
    url = settings.reachable_url
    try:
        health = httpx.get(f"{url}/health", timeout=5)
        found = health.json() if health.is_success else {}
        ready = httpx.get(f"{url}/ready", timeout=10)
    except (httpx.HTTPError, ValueError) as error:
        raise BackendError(
            f"{url} does not answer ({error}): start it with regiontext serve, or give the address that reaches it "
            "with REGIONTEXT_PUBLIC_URL"
        ) from None
    if not isinstance(found, dict) or found.get("model_class") != "regiontext":
        raise BackendError(
            f"{url} is answered by another program: set REGIONTEXT_PORT to a free port"
        )
    missing = ready.json().get("missing", []) if ready.status_code == 503 else []
    if missing:
        return Said(f"{url} runs, and lacks: {', '.join(missing)}", "doubtful")
    return Said(url)


def image(settings: Settings, found: Sample | None, transport: Any = None) -> Said:
    """The image of a task is fetched, with the key where it needs one, and can be read."""
    if found is None:
        return Said("the project has no task yet: import one and run this again", "unknown")
    url = image_url(found.data, found.config.image_key)
    data = asyncio.run(_fetch(settings, found, transport))
    upright = load_image(data)
    with Image.open(io.BytesIO(data)) as raw:
        turned = raw.getexif().get(_ORIENTATION, 1) not in (0, 1)
        kind = raw.format
    words = (
        f"task {found.task}: {_kind_of(url)}, {kind} of {upright.width} x {upright.height} pixels"
    )
    return Said(words + (", turned upright by its EXIF data" if turned else ""))


def model(settings: Settings, transport: Any = None) -> Said:
    """The model server announces the model that is to be asked."""
    announced = asyncio.run(_models(settings, transport))
    names = [str(m["id"]) for m in announced]
    if not names:
        raise ModelError(f"{settings.model_url} serves no model: start it with one")
    if settings.model and settings.model not in names:
        raise UnknownModel(
            f"{settings.model_url} serves {', '.join(names)}, not {settings.model}: correct REGIONTEXT_MODEL"
        )
    return Said(f"{settings.model_url} serves {', '.join(names)}")


def segmenter(settings: Settings, transport: Any = None) -> Said:
    """The server that was named for masks makes them (of nothing, here: that it finds none is an answer)."""

    async def ask() -> None:
        grey = Image.new("RGB", (64, 64), "grey")
        client = segmenter_of(settings, transport=transport)
        if client is not None:
            async with client:
                await Segmenter().mask(client, grey, "", [(0.5, 0.5)], [True], timeout=20)

    try:
        asyncio.run(ask())
    except TimeoutError:
        raise ModelUnavailable(f"{settings.segmenter_url} makes no mask in 20 s") from None
    except NoSegmenter:
        raise NoSegmenter(
            f"{settings.segmenter_url} has no segmenter: start it with --segmenter, or correct "
            "REGIONTEXT_SEGMENTER_URL"
        ) from None
    except ModelUnavailable:
        raise
    except ModelError as error:
        if "finds nothing" not in str(error):
            raise
    return Said(f"{settings.segmenter_url} makes masks")


def caption(
    settings: Settings,
    store: Store,
    found: Sample | None,
    image_transport: Any = None,
    model_transport: Any = None,
) -> Said:
    """A region in the middle of that image gets an answer, as an annotator's would; nothing is kept."""
    if found is None:
        return Said("not tried: the project has no task yet", "unknown")

    async def ask() -> Said:
        data = await _fetch(settings, found, image_transport)
        picture = await asyncio.to_thread(load_image, data)
        width, height = picture.size
        middle = (
            width // 4,
            height // 4,
            max(width // 4 + 1, 3 * width // 4),
            max(height // 4 + 1, 3 * height // 4),
        )
        region = Region.from_box("doctor", middle, picture.size)
        question = region_questions(found.config, region)[0]
        async with client_of(settings, transport=model_transport) as client:
            served = await _served(settings, store, client)
            shown = await asyncio.to_thread(render, picture, [region], served.view)
            started = time.perf_counter()
            said = await client.ask(
                shown.images,
                prompt(question, shown),
                model=served.model,
                options=question.options,
                max_tokens=settings.max_tokens,
            )
            took = time.perf_counter() - started
        sure = "" if said.confidence is None else f", {said.confidence:.0%} sure"
        words = f"{served.model} says {said.text[:80]!r} to {question.field}{sure}, in {took * 1000:.0f} ms"
        if took > settings.budget_s / 2:
            words += f": that is slow for the {settings.budget_s:g} s an annotator waits at most"
            return Said(words, "doubtful")
        return Said(words)

    return asyncio.run(ask())


def event_arrived(store: Store, action: str, since: float) -> bool:
    """Whether an event of that action came in after a time (seconds since 1970)."""
    with store.read() as session:
        newest = session.scalar(
            select(func.max(EventRow.received_at)).where(EventRow.action == action)
        )
    # Clocks of two machines may differ by a little.
    return newest is not None and newest.timestamp() >= since - 1.0


async def _fetch(settings: Settings, found: Sample, transport: Any) -> bytes:
    async with Images(settings, transport=transport) as images:
        return await images.fetch(image_url(found.data, found.config.image_key), task=found.task)


async def _models(settings: Settings, transport: Any) -> list[dict[str, Any]]:
    async with client_of(settings, transport=transport) as client:
        return await client.models()


async def _served(settings: Settings, store: Store, client: ModelClient) -> Served:
    announced = await client.models()
    with store.read() as session:
        served = pick(session, settings, announced)
    if served is None:
        raise ModelError(f"{settings.model_url} serves no model: start it with one")
    if served.adapter is not None and served.adapter_path is not None:
        await client.load_adapter(served.adapter, served.adapter_path)
    return served


def _kind_of(url: str) -> str:
    scheme, found, _ = url.partition("://")
    if url.startswith("data:"):
        return "an image in the task itself"
    if "/data/local-files/" in url:
        return "a local file of Label Studio"
    if url.startswith("/"):
        return "an upload"
    return f"an image behind {scheme}://" if found else "an image"
