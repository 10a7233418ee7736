"""The few calls of Label Studio's API that the jobs need, as plain async methods.

Reading is tried again when the connection fails; writing is not, because only the caller can know whether the first
attempt was kept. Knows no regions, no model and no store.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from backend.errors import LabelStudioError
from backend.jobs.errors import LabelStudioAway, NoSuchProject
from backend.label_studio import async_client
from backend.origin import created_of
from backend.settings import Settings

__all__ = ["Project", "Studio"]

_PAGE = 50
_ATTEMPTS = 4
_BACKOFF_S = 0.5
# Listing tasks with everything in them is slow on Label Studio's side, with SQLite above all.
_TIMEOUT = httpx.Timeout(120.0, connect=5.0)
_PASSING = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Project:
    """What a job needs to know of a project; `config` is the labeling config's XML.

    `model_version` is the one whose predictions Label Studio shows: a version, a backend's title, or None.
    `created`: when it was, in seconds since 1970.
    """

    id: int
    title: str
    config: str
    model_version: str | None
    shows_predictions: bool
    created: int | None = None


class Studio:
    """Label Studio as the jobs see it. An async context manager; one per job."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.label_studio_url
        self._http = async_client(settings, timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def project(self, id: int) -> Project:
        """A project by its number. Raises NoSuchProject if this key may not see it."""
        found = await self._get(f"/api/projects/{id}/")
        if found is None:
            raise NoSuchProject(
                f"there is no project {id} at {self._url} that this key may see: "
                "the number is in the project's address, …/projects/N"
            )
        return Project(
            id=int(found["id"]),
            title=str(found.get("title") or ""),
            config=str(found.get("label_config") or ""),
            model_version=found.get("model_version") or None,
            shows_predictions=bool(found.get("show_collab_predictions")),
            created=created_of(found.get("created_at")),
        )

    async def count_tasks(self, project: int) -> int:
        """How many tasks the project has."""
        page = await self._get("/api/tasks", project=project, page=1, page_size=1)
        return int((page or {}).get("total") or 0)

    async def tasks(self, project: int, *, page_size: int = _PAGE) -> AsyncIterator[dict[str, Any]]:
        """Every task of a project with its annotations and predictions, page by page, by number."""
        async for task in self._pages(project, page_size=page_size, fields="all"):
            yield task

    async def tasks_after(
        self, project: int, task: int, *, limit: int = _PAGE
    ) -> list[dict[str, Any]]:
        """The tasks with the next higher numbers, with everything in them.

        Unlike pages by number, none is left out when others are deleted meanwhile.
        """
        above = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number"}
        query = {
            "filters": {"conjunction": "and", "items": [above | {"value": task}]},
            "ordering": ["tasks:id"],
        }
        return await self._queried(project, query, limit)

    async def tasks_among(self, project: int, ids: Collection[int]) -> list[dict[str, Any]]:
        """Those of the tasks that the project has, with everything in them, as they are at this moment.

        A few hundred at most: the numbers go into the address.
        """
        query = {"selectedItems": {"all": False, "included": sorted(ids)}, "ordering": ["tasks:id"]}
        return await self._queried(project, query, len(ids))

    async def _queried(
        self, project: int, query: Mapping[str, Any], limit: int
    ) -> list[dict[str, Any]]:
        found = await self._get(
            "/api/tasks",
            project=project,
            page=1,
            page_size=limit,
            fields="all",
            resolve_uri="false",
            query=json.dumps(query, separators=(",", ":")),
        )
        return list((found or {}).get("tasks") or [])

    async def _pages(
        self, project: int, *, page_size: int, fields: str
    ) -> AsyncIterator[dict[str, Any]]:
        page = 1
        while True:
            found = await self._get(
                "/api/tasks",
                project=project,
                page=page,
                page_size=page_size,
                fields=fields,
                resolve_uri="false",
            )
            tasks = (found or {}).get("tasks") or []
            for task in tasks:
                yield task
            if len(tasks) < page_size:
                return
            page += 1

    async def task_data(self, project: int, wanted: Collection[int]) -> dict[int, dict[str, Any]]:
        """The data of the wanted tasks of a project, as far as they exist, by task number.

        Listed rather than asked one by one: asking Label Studio for a single task makes it fetch predictions.
        """
        found: dict[int, dict[str, Any]] = {}
        async for task in self._pages(project, page_size=200, fields="task_only"):
            if int(task["id"]) in wanted:
                found[int(task["id"])] = task.get("data") or {}
            if len(found) == len(wanted):
                break
        return found

    async def drafts(self, task: int) -> list[dict[str, Any]]:
        """The unsaved work of every annotator on a task, oldest first."""
        found = await self._get(f"/api/tasks/{task}/drafts")
        drafts = [draft for draft in found or [] if isinstance(draft, dict)]
        return sorted(drafts, key=lambda draft: str(draft.get("updated_at") or ""))

    async def predictions(self, task: int) -> list[dict[str, Any]]:
        """Every prediction of a task, oldest first, as Label Studio has them at this moment."""
        found = await self._get("/api/predictions/", task=task)
        return sorted(found or [], key=lambda prediction: int(prediction["id"]))

    async def annotations(self, task: int) -> list[dict[str, Any]]:
        """Every annotation of a task, as Label Studio has them at this moment."""
        return [a for a in await self._get(f"/api/tasks/{task}/annotations/") or []]

    async def annotation(self, id: int) -> dict[str, Any] | None:
        """One annotation; None if it is gone."""
        found: dict[str, Any] | None = await self._get(f"/api/annotations/{id}/")
        return found

    async def create_prediction(
        self,
        *,
        project: int,
        task: int,
        result: Sequence[Mapping[str, Any]],
        score: float | None,
        model_version: str,
    ) -> int:
        """Store a prediction; its number. Not tried again on failure."""
        body = {
            "project": project,
            "task": task,
            "result": list(result),
            "score": score,
            "model_version": model_version,
        }
        answer = await self._send("POST", "/api/predictions/", json=body)
        return int(self._json(answer)["id"])

    async def import_predictions(
        self, project: int, predictions: Sequence[Mapping[str, Any]]
    ) -> None:
        """Store many predictions (each with its `task`) in one call: all, or none if one of them is refused.

        Label Studio counts the whole project anew at every such call, so make it few large ones. Not tried again on
        failure.
        """
        path = f"/api/projects/{project}/import/predictions"
        await self._send("POST", path, json=list(predictions))

    async def views(self, project: int) -> list[dict[str, Any]]:
        """The tabs of a project's data manager."""
        return [v for v in await self._get("/api/dm/views/", project=project) or []]

    async def create_view(self, project: int, data: Mapping[str, Any]) -> None:
        """Add a tab to a project's data manager; `data` as Label Studio keeps it (title, columns, order of tasks)."""
        body = {"project": project, "data": dict(data)}
        await self._send("POST", "/api/dm/views/", json=body)

    async def delete_prediction(self, id: int) -> None:
        """Remove a prediction; one that is gone already is fine."""
        await self._send("DELETE", f"/api/predictions/{id}/", missing_ok=True)

    async def show_version(self, project: int, model_version: str) -> None:
        """Make Label Studio show annotators the predictions of this version."""
        body = {"model_version": model_version}
        await self._send("PATCH", f"/api/projects/{project}/", json=body)

    async def refresh_backends(self, project: int) -> None:
        """Make Label Studio ask the project's backends for their version now, as opening the project does."""
        await self._send("GET", "/api/ml", params={"project": project})

    async def _get(self, path: str, **params: Any) -> Any:
        """The decoded JSON, or None for 404."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._send("GET", path, params=params, missing_ok=True)
            except LabelStudioError as error:
                passing = isinstance(error.__cause__, httpx.TransportError)
                if not passing or attempt == _ATTEMPTS:
                    raise
            else:
                if answer.status_code == 404:
                    return None
                if answer.status_code not in _PASSING or attempt == _ATTEMPTS:
                    return self._json(answer)
            await asyncio.sleep(_BACKOFF_S * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _send(
        self, method: str, path: str, *, missing_ok: bool = False, **options: Any
    ) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise LabelStudioAway(
                f"Label Studio does not answer at {self._url} ({type(error).__name__}: {error})"
            ) from error
        known = answer.is_success or (missing_ok and answer.status_code == 404)
        if not known and not (method == "GET" and answer.status_code in _PASSING):
            kind = LabelStudioAway if answer.status_code in _PASSING else LabelStudioError
            raise kind(
                f"Label Studio answered {answer.status_code} to {method} {path}: {_detail(answer)}"
            )
        return answer

    def _json(self, answer: httpx.Response) -> Any:
        if not answer.is_success:
            kind = LabelStudioAway if answer.status_code in _PASSING else LabelStudioError
            raise kind(f"Label Studio answered {answer.status_code} to {answer.request.url.path}")
        try:
            return answer.json()
        except ValueError as error:
            raise LabelStudioError(
                f"{self._url} answers, but not as Label Studio does: check the address"
            ) from error


def _detail(answer: httpx.Response) -> str:
    return " ".join(answer.text.split())[:300] or answer.reason_phrase
