"""The result list inside whatever Label Studio hands out: an export, a task, an annotation, a list.

Knows the nesting of those files only; what a result means is `regiontext.labelstudio`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from regiontext.errors import MarkError
from regiontext.labelstudio.decode import is_shape

__all__ = ["find_results", "without_doubles"]

_Object = Mapping[str, Any]


def find_results(
    data: object, *, image_name: str = "", task: int | None = None, annotation: int | None = None
) -> list[_Object]:
    """The results of one annotation in parsed JSON.

    data: a list of tasks (a JSON export), a task, one or several annotations or predictions, or a
    bare result list. Of several tasks the one with the id `task` counts, else the only one whose data names a
    file that ends with `image_name`; of several annotations the one with the id `annotation`, else
    the first that was not cancelled, else, in a task without any, the prediction with that id or the first.
    MarkError says what is missing or which ids there are, also where there is nothing to choose from by `task` or
    `annotation`.
    """
    if isinstance(data, Sequence) and not isinstance(data, str):
        entries = [entry for entry in data if isinstance(entry, Mapping)]
        if entries and all(_is_task(entry) for entry in entries):
            return _of_task(_choose_task(entries, image_name, task), annotation)
        if entries and all("result" in entry for entry in entries):
            return _of_task({"annotations": _on_task(entries, task)}, annotation)
        if entries and all("type" in entry for entry in entries):
            if task is not None or annotation is not None:
                chosen = f"task {task}" if task is not None else f"annotation {annotation}"
                raise MarkError(
                    f"a bare list of results says nothing of {chosen}: leave the choice out"
                )
            return entries
    elif isinstance(data, Mapping):
        if _is_task(data):
            return _of_task(_choose_task([data], image_name, task), annotation)
        if "result" in data:
            return _of_task({"annotations": _on_task([data], task)}, annotation, or_cancelled=True)
    raise MarkError(
        "no results found: give a task of Label Studio's JSON export (not JSON-MIN), an "
        'annotation with its "result", or a list of results'
    )


def without_doubles(results: Sequence[_Object]) -> tuple[list[_Object], list[str]]:
    """The results without shapes that have the id of an earlier one on the same image, and a line for each of those.

    Label Studio's editor makes a region of the first shape of an id and never looks at the place of another. One that
    lies where the first does (a shape and its labels, by two controls) is no double.
    """
    first: dict[object, _Object] = {}
    kept: list[_Object] = []
    doubles: list[str] = []
    for result in results:
        id = result.get("id")
        if not is_shape(result) or not isinstance(id, str):
            kept.append(result)
            continue
        known = first.setdefault(id, result)
        if _place(known) == _place(result):
            kept.append(result)
        else:
            doubles.append(
                f"region {id!r}: another shape ({result.get('type')}) has its id; Label Studio shows the first "
                f"({known.get('type')})"
            )
    return kept, doubles


def _place(shape: _Object) -> object:
    value = shape.get("value")
    if not isinstance(value, Mapping):
        return value
    return {key: part for key, part in value.items() if not key.endswith("labels")}


def _is_task(entry: _Object) -> bool:
    return "annotations" in entry or "predictions" in entry


def _on_task(annotations: Sequence[_Object], task: int | None) -> Sequence[_Object]:
    fitting = [one for one in annotations if task is None or one.get("task") == task]
    if not fitting:
        raise MarkError(f"none of {len(annotations)} annotations is of task {task}")
    return fitting


def _choose_task(tasks: Sequence[_Object], image_name: str, id: int | None) -> _Object:
    if id is not None:
        fitting = [task for task in tasks if task.get("id") == id]
    elif len(tasks) == 1:
        fitting = list(tasks)
    else:
        fitting = [task for task in tasks if image_name and _names(task.get("data"), image_name)]
    if len(fitting) != 1:
        wanted = f"with id {id}" if id is not None else f"whose data names {image_name!r}"
        ids = ", ".join(str(task.get("id")) for task in tasks[:20])
        raise MarkError(
            f"{len(fitting)} of {len(tasks)} tasks {wanted}; choose one by its id, of {ids}"
            f"{', ...' if len(tasks) > 20 else ''}"
        )
    return fitting[0]


def _names(data: object, image_name: str) -> bool:
    """Whether a text anywhere in a task's data is a path or URL of that file; uploads carry a
    prefix of their own before the name.
    """
    if isinstance(data, Mapping):
        return any(_names(value, image_name) for value in data.values())
    if isinstance(data, list):
        return any(_names(value, image_name) for value in data)
    if not isinstance(data, str):
        return False
    last = PurePosixPath(unquote(data.partition("?")[0])).name
    return last == image_name or last.endswith(f"-{image_name}")


def _of_task(task: _Object, id: int | None, *, or_cancelled: bool = False) -> list[_Object]:
    found = _listed(task, "annotations") or _listed(task, "predictions")
    if id is not None:
        fitting = [one for one in found if one.get("id") == id]
    else:
        fitting = [one for one in found if or_cancelled or not one.get("was_cancelled")]
    if not fitting:
        ids = ", ".join(str(one.get("id")) for one in found) or "none"
        wanted = "that was submitted" if id is None else f"with id {id}"
        raise MarkError(f"task {task.get('id', '')} has no annotation {wanted}; it has {ids}")
    return _of_annotation(fitting[0])


def _listed(task: _Object, key: str) -> list[_Object]:
    listed = task.get(key)
    # An API answer may hold the numbers of predictions only.
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def _of_annotation(annotation: _Object) -> list[_Object]:
    result = annotation.get("result")
    if not isinstance(result, list):
        raise MarkError(
            f'annotation {annotation.get("id")} has no list of results in its "result"; '
            "export it as JSON"
        )
    return [entry for entry in result if isinstance(entry, Mapping)]
