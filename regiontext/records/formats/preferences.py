"""Preference pairs in the forms of TRL, LLaMA-Factory and ms-swift.

TRL: `prompt`, `chosen`, `rejected` as lists of messages, and `images`. LLaMA-Factory: `messages` up to the question,
`chosen` and `rejected` as one message each, with "ranking" in dataset_info.json. ms-swift: `messages` with the chosen
answer, `rejected_response` beside it. What makes a pair is `records.preferences`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from regiontext.records.example import Example
from regiontext.records.formats.files import (
    json_lines,
    json_list,
    per_split,
    read_json,
    read_json_lines,
)
from regiontext.records.formats.format import (
    Add,
    Carried,
    Item,
    Options,
    Unfit,
    asked_marked,
)
from regiontext.records.formats.llama_factory import LLAMA_FACTORY, write_dataset_info
from regiontext.records.formats.llava import marked_images
from regiontext.records.formats.ms_swift import MS_SWIFT, ms_swift_carried, ms_swift_item
from regiontext.records.formats.trl import TRL, message
from regiontext.records.preferences import no_pair_because, rejected_text

__all__ = ["LLAMA_FACTORY_PREFERENCES", "MS_SWIFT_PREFERENCES", "TRL_PREFERENCES"]


def _pairs(unfit: Unfit) -> Unfit:
    """Those that fit and are preference pairs."""

    def check(example: Example, options: Options) -> str | None:
        return no_pair_because(example, options.meaning_changed) or unfit(example, options)

    return check


def _trl_item(example: Example) -> dict[str, Any]:
    images = marked_images(example)
    return {
        "id": example.id,
        "images": list(images),
        "prompt": [message("user", example.question.text, len(images))],
        "chosen": [message("assistant", example.text)],
        "rejected": [message("assistant", rejected_text(example))],
    }


def _trl_carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    def text(messages: list[Any]) -> str:
        return "".join(part.get("text") or "" for part in messages[0]["content"])

    turns = [{"text": text(item["prompt"])}, {"text": text(item["chosen"])}]
    return {"marking": {"images": item["images"]}, "turns": turns}


def _llama_item(example: Example) -> dict[str, Any]:
    images = marked_images(example)
    asked = "<image>\n" * len(images) + example.question.text
    return {
        "id": example.id,
        "messages": [{"role": "user", "content": asked}],
        "chosen": {"role": "assistant", "content": example.text},
        "rejected": {"role": "assistant", "content": rejected_text(example)},
        "images": list(images),
    }


def _llama_carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    asked, images = item["messages"][0]["content"], item["images"]
    turns = asked_marked(asked, item["chosen"]["content"], len(images))
    return {"marking": {"images": images}, "turns": turns}


def _swift_item(example: Example, options: Options) -> dict[str, Any]:
    return ms_swift_item(example, options) | {"rejected_response": rejected_text(example)}


def _writer(
    name: str, opened: Callable[[Path], Any], item: Callable[[Example, Options], Any]
) -> Callable[[Path, Options], AbstractContextManager[Add]]:
    @contextmanager
    def write(folder: Path, options: Options) -> Iterator[Add]:
        with per_split(folder, name, opened) as put_of:
            yield lambda example: put_of(example.split)(item(example, options))

    return write


@contextmanager
def _write_llama(folder: Path, options: Options) -> Iterator[Add]:
    write = _writer("{split}.json", json_list, lambda example, _: _llama_item(example))
    with write(folder, options) as add:
        yield add
    columns = {
        "messages": "messages",
        "images": "images",
        "chosen": "chosen",
        "rejected": "rejected",
    }
    write_dataset_info(folder, columns, ranking=True)


def _read_lines(folder: Path, options: Options) -> Iterator[Item]:
    for split, item in read_json_lines(folder, "{split}.jsonl"):
        yield Item(item["id"], split, item)


def _read_list(folder: Path, options: Options) -> Iterator[Item]:
    for split, items in read_json(folder, "{split}.json"):
        for item in items:
            yield Item(item["id"], split, item)


TRL_PREFERENCES = replace(
    TRL,
    name="trl-preferences",
    about="TRL's preference pairs (DPO)",
    write=_writer("{split}.jsonl", json_lines, lambda example, _: _trl_item(example)),
    read=_read_lines,
    carried=_trl_carried,
    unfit=_pairs(TRL.unfit),
    holds="id, marked pictures, question, chosen and rejected text",
    preferences=True,
)

LLAMA_FACTORY_PREFERENCES = replace(
    LLAMA_FACTORY,
    name="llama-factory-preferences",
    about="LLaMA-Factory's ranking data (DPO)",
    write=_write_llama,
    read=_read_list,
    carried=_llama_carried,
    unfit=_pairs(LLAMA_FACTORY.unfit),
    holds="id, marked pictures, question, chosen and rejected text",
    preferences=True,
)

MS_SWIFT_PREFERENCES = replace(
    MS_SWIFT,
    name="ms-swift-preferences",
    about="ms-swift's rejected_response (DPO)",
    write=_writer("{split}.jsonl", json_lines, _swift_item),
    read=_read_lines,
    carried=ms_swift_carried,
    unfit=_pairs(MS_SWIFT.unfit),
    preferences=True,
)
